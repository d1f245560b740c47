"""``/v3/auth``: tokens issued, shown and revoked, and what their owner could scope to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from virga.api.context import AsyncContext
from virga.api.faults import Fault, Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.identity import domain, effective, epoch
from virga.services.identity import project as projects_resource
from virga.services.identity import trust as trusts
from virga.services.identity.auth_schema import check_auth
from virga.services.identity.catalog import catalog
from virga.services.identity.effective import Scope
from virga.services.identity.faults import ResourceNotFound, TokenNotFound, expecting, unauthenticated
from virga.services.identity.listing import collection
from virga.services.identity.login import METHODS, Proof, find_domain, prove
from virga.services.identity.models import access_rule, password, project, trust, user
from virga.services.identity.project_tag import tags_of
from virga.services.identity.token import Claims, Subject, Tokens, new_audit_id, resolve


async def create(tokens: Tokens, ctx: AsyncContext, req: Request) -> Response:
    """Issue a token."""
    auth = req.body.get("auth") if isinstance(req.body, Mapping) else None
    check_auth(auth)
    assert isinstance(auth, Mapping)
    wanted = auth.get("scope")
    proofs = await prove(tokens, ctx, auth["identity"], wanted)
    trust_id = _trust_id(wanted)
    issue = _Issue(tokens, proofs, wanted, trust_id)
    subject = await (ctx.write(issue.run) if trust_id else ctx.read(issue.run))
    text = tokens.issue(subject.claims)
    include = req.param("nocatalog") is None
    body = await ctx.read(lambda tx: render(tx, subject, include))
    return Response(201, body, {"x-subject-token": text, "vary": "X-Auth-Token"})


def _trust_id(wanted: Any) -> str | None:
    if isinstance(wanted, Mapping) and "OS-TRUST:trust" in wanted:
        trust_id = wanted["OS-TRUST:trust"].get("id")
        if not trust_id:
            raise expecting("trust_id", "trust")
        return str(trust_id)
    return None


class _Issue:
    """Turns proofs and a wish for a scope into a valid subject, inside one transaction."""

    def __init__(self, tokens: Tokens, proofs: Sequence[Proof], wanted: Any, trust_id: str | None) -> None:
        self.tokens = tokens
        self.proofs = proofs
        self.wanted = wanted
        self.trust_id = trust_id
        self.user_id = proofs[0].user_id

    def run(self, tx: Tx) -> Subject:
        scope = self._scope(tx)
        life = tx.now // 1_000_000 * 1_000_000 + self.tokens.settings.token_seconds * 1_000_000
        limits = [proof.expires_at for proof in self.proofs if proof.expires_at is not None]
        chain = next((proof.chain for proof in self.proofs if proof.chain), None)
        audit_ids = (new_audit_id(), chain) if chain else (new_audit_id(),)
        credential = next(
            (p.application_credential_id for p in self.proofs if p.application_credential_id), None
        )
        methods = tuple(dict.fromkeys(name for proof in self.proofs for name in proof.methods))
        self._check_factors(tx, set(methods))
        claims = Claims(
            methods,
            self.user_id,
            scope.kind,
            scope.id,
            tx.now,
            min([life, *limits]),
            audit_ids,
            self.trust_id,
            credential,
        )
        try:
            return resolve(tx, claims)
        except TokenNotFound:
            raise unauthenticated() from None

    def _check_factors(self, tx: Tx, methods: set[str]) -> None:
        """A user may have to prove himself by several methods: one of the rules must be met in full."""
        options = tx.scalar(select(user.c.options).where(user.c.id == self.user_id)) or {}
        if not options.get("multi_factor_auth_enabled", True):
            return
        rules = [METHODS.intersection(rule) for rule in options.get("multi_factor_auth_rules") or ()]
        if any(rules) and not any(rule and rule <= methods for rule in rules):
            raise unauthenticated()

    def _scope(self, tx: Tx) -> Scope:
        bound = next((proof.project_id for proof in self.proofs if proof.project_id), None)
        if bound is not None:
            return self._bound_scope(tx, bound)
        if self.trust_id is not None:
            return self._use_trust(tx, self.trust_id)
        wanted = self.wanted
        if wanted is None:
            return self._default_scope(tx)
        if not isinstance(wanted, Mapping) or "unscoped" in wanted:
            return Scope()
        return wanted_scope(tx, wanted)

    def _bound_scope(self, tx: Tx, bound: str) -> Scope:
        """An application credential is good for its own project only."""
        if self.wanted is None:
            return Scope("project", bound)
        scope = wanted_scope(tx, self.wanted) if isinstance(self.wanted, Mapping) else Scope()
        if scope != Scope("project", bound):
            raise unauthenticated()
        return scope

    def _default_scope(self, tx: Tx) -> Scope:
        """The user's default project, if that is still of use; else no scope."""
        default = tx.scalar(select(user.c.default_project_id).where(user.c.id == self.user_id))
        if not default:
            return Scope()
        row = tx.first(select(project).where(project.c.id == default, project.c.enabled))
        if row is None or not effective.granted_ids(tx, self.user_id, Scope("project", default)):
            return Scope()
        domain = tx.first(select(project.c.enabled).where(project.c.id == (row.domain_id or row.id)))
        return Scope("project", default) if domain is not None and domain.enabled else Scope()

    def _use_trust(self, tx: Tx, trust_id: str) -> Scope:
        """Take one use of the trust. Raises Unauthorized or Forbidden."""
        try:
            row = trusts.get(tx, trust_id)
        except ResourceNotFound:
            raise unauthenticated() from None
        if row.trustee_user_id != self.user_id:
            raise Forbidden("You are not authorized to perform the requested action.")
        if row.remaining_uses is not None:
            tx.execute(
                update(trust).where(trust.c.id == trust_id).values(remaining_uses=row.remaining_uses - 1)
            )
        if not row.project_id:
            return Scope()
        return Scope("project", row.project_id)


def wanted_scope(tx: Tx, wanted: Mapping[str, Any]) -> Scope:
    """The scope that ``auth.scope`` asks for. Raises Unauthorized when it is not there or disabled."""
    if "system" in wanted:
        if not wanted["system"].get("all"):
            raise expecting("all", "system")
        return Scope("system", effective.SYSTEM_ID)
    if "project" in wanted:
        return Scope("project", _find_project(tx, wanted["project"]).id)
    if "domain" in wanted:
        return Scope("domain", find_domain(tx, wanted["domain"]).id)
    raise expecting("project, domain or system", "scope")


def _find_project(tx: Tx, wanted: Mapping[str, Any]) -> Any:
    if wanted.get("name"):
        if "domain" not in wanted:
            raise expecting("domain", "project")
        domain = find_domain(tx, wanted["domain"])
        where = [project.c.name == wanted["name"], project.c.domain_id == domain.id]
    else:
        where = [project.c.id == str(wanted.get("id"))]
    row = tx.first(select(project).where(*where))
    if row is None or not row.enabled:
        raise unauthenticated()
    return row


def render(tx: Tx, subject: Subject, include_catalog: bool) -> dict[str, Any]:
    """``{"token": …}`` as OpenStack shows it."""
    claims = subject.claims
    body: dict[str, Any] = {
        "methods": list(claims.methods),
        "user": {
            "domain": _named(subject.user_domain),
            "id": subject.user.id,
            "name": subject.user.name,
            "password_expires_at": _password_expires(tx, subject.user.id),
        },
        "audit_ids": list(claims.audit_ids),
        "expires_at": iso_micro(claims.expires_at),
        "issued_at": iso_micro(claims.issued_at // 1_000_000 * 1_000_000),
    }
    body |= _scope_part(subject)
    if include_catalog and claims.scope_kind:
        body["catalog"] = catalog(tx, subject.user.id, claims.scope_id if subject.project else None)
    if subject.application_credential is not None:
        body["application_credential"] = _credential_part(tx, subject.application_credential)
    return {"token": body}


def _named(row: Any) -> dict[str, str]:
    return {"id": row.id, "name": row.name}


def _scope_part(subject: Subject) -> dict[str, Any]:
    part: dict[str, Any] = {}
    if subject.trust is not None:
        part["OS-TRUST:trust"] = {
            "id": subject.trust.id,
            "trustor_user": {"id": subject.trust.trustor_user_id},
            "trustee_user": {"id": subject.trust.trustee_user_id},
            "impersonation": subject.trust.impersonation,
        }
    if subject.project is not None:
        part["project"] = {"domain": _named(subject.project_domain), **_named(subject.project)}
        if subject.trust is None:
            part["is_domain"] = subject.project.is_domain
    elif subject.domain is not None:
        part["domain"] = _named(subject.domain)
    elif subject.claims.scope_kind == "system":
        part["system"] = {"all": True}
    if subject.claims.scope_kind:
        part["roles"] = [{"id": item.id, "name": item.name} for item in subject.roles]
    return part


def _credential_part(tx: Tx, row: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"id": row.id, "name": row.name, "restricted": not row.unrestricted}
    if row.access_rule_ids:
        rules = tx.all(select(access_rule).where(access_rule.c.id.in_(row.access_rule_ids)))
        part["access_rules"] = [
            {"id": rule.id, "service": rule.service, "path": rule.path, "method": rule.method}
            for rule in rules
        ]
    return part


def _password_expires(tx: Tx, user_id: str) -> str | None:
    newest = (
        select(password.c.expires_at)
        .where(password.c.user_id == user_id)
        .order_by(password.c.id.desc())
        .limit(1)
    )
    return iso_micro(tx.scalar(newest))


def _subject_of(tokens: Tokens, tx: Tx, req: Request) -> Subject:
    """The token in X-Subject-Token. Raises TokenNotFound."""
    text = req.headers.get("x-subject-token", "")
    allow_expired = (req.param("allow_expired") or "").lower() in ("1", "true", "yes", "on", "t", "y")
    grace = tokens.settings.token_grace_seconds if allow_expired else 0
    return tokens.subject(tx, text, grace)


def _target(subject: Subject) -> dict[str, Any]:
    return {"target": {"token": {"user_id": subject.claims.user_id}}}


def show(tokens: Tokens, tx: Tx, req: Request) -> Response:
    """Validate the token in X-Subject-Token."""
    subject = _subject_or_refusal(tokens, tx, req, "identity:validate_token")
    body = render(tx, subject, req.param("nocatalog") is None)
    return Response(200, body, {"x-subject-token": req.headers["x-subject-token"], "vary": "X-Auth-Token"})


def check(tokens: Tokens, tx: Tx, req: Request) -> Response:
    """The same without a body."""
    subject = _subject_or_refusal(tokens, tx, req, "identity:check_token")
    body = render(tx, subject, req.param("nocatalog") is None)
    return Response(200, body, {"x-subject-token": req.headers["x-subject-token"], "vary": "X-Auth-Token"})


def _subject_or_refusal(tokens: Tokens, tx: Tx, req: Request, rule: str) -> Subject:
    """Whoever may not ask at all learns nothing about the token."""
    try:
        subject = _subject_of(tokens, tx, req)
    except TokenNotFound:
        req.enforce(rule, {"target": {"token": {"user_id": req.caller.user_id}}})
        raise
    req.enforce(rule, _target(subject))
    return subject


def delete(tokens: Tokens, tx: Tx, req: Request) -> Response:
    """Revoke the token in X-Subject-Token, with those made from it unless ``cascade=false``."""
    subject = _subject_or_refusal(tokens, tx, req, "identity:revoke_token")
    audit_ids = subject.claims.audit_ids
    cascade = (req.param("cascade") or "true").lower() not in ("0", "false", "no", "off", "f", "n")
    # Tokens made from this one carry its audit id at the end of theirs.
    own = audit_ids[0]
    epoch.revoke(tx, f"audit:{own}", *([f"chain:{own}"] if cascade else []))
    return Response(204)


def show_catalog(tx: Tx, req: Request) -> dict[str, Any]:
    """The catalog of the caller's project."""
    caller = req.caller
    if caller.project_id is None:
        raise Forbidden("You are not authorized to perform the requested action.")
    return {
        "catalog": catalog(tx, caller.user_id, caller.project_id),
        "links": {"self": req.url("/v3/auth/catalog"), "next": None, "previous": None},
    }


def projects(tx: Tx, req: Request) -> dict[str, Any]:
    """Projects that the caller could scope to."""
    found = [row for row in projects_resource.of_user(tx, req.caller.user_id) if row.enabled]
    return collection(req, "projects", projects_resource.views(tx, req, found))


def domains(tx: Tx, req: Request) -> dict[str, Any]:
    """Domains that the caller could scope to."""
    found = [row for row in projects_resource.domains_of_user(tx, req.caller.user_id) if row.enabled]
    tags = tags_of(tx, [row.id for row in found])
    return collection(req, "domains", [domain.view(req, row, tags.get(row.id, [])) for row in found])


def system(tx: Tx, req: Request) -> dict[str, Any]:
    """Whether the caller could scope to the system."""
    held = effective.granted_ids(tx, req.caller.user_id, Scope("system", effective.SYSTEM_ID))
    return {"system": [{"all": True}] if held else [], "links": {"self": req.url("/v3/auth/system")}}


def revoked(tx: Tx, req: Request) -> None:
    """The list of an older kind of token: gone."""
    raise Fault("The service you have requested is no longer available on this server.", status=410)
