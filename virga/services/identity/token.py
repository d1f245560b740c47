"""Fernet tokens: everything a token says is inside it, sealed; what it is worth today is read from the tables."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import select

from virga.api.access_rules import AccessRule
from virga.api.faults import Unauthorized
from virga.api.request import Caller
from virga.db.tx import Tx
from virga.lib.keys import TOKEN_KEYS, InvalidToken, KeyRing
from virga.services.identity import effective, epoch
from virga.services.identity.effective import RoleName, Scope
from virga.services.identity.faults import UNAUTHENTICATED, TokenNotFound
from virga.services.identity.models import access_rule, application_credential, project, trust, user
from virga.settings import Settings

CACHE_SIZE = 20_000


class Claims(msgspec.Struct, frozen=True, array_like=True):
    """What is sealed in a token. The fields are positions: add new ones at the end, with a default."""

    methods: tuple[str, ...]
    user_id: str
    scope_kind: str
    scope_id: str
    issued_at: int
    expires_at: int
    audit_ids: tuple[str, ...]
    trust_id: str | None = None
    application_credential_id: str | None = None

    @property
    def scope(self) -> Scope:
        return Scope(self.scope_kind, self.scope_id)


class Subject(msgspec.Struct, frozen=True):
    """A valid token with the rows it speaks of. ``user`` is who acts: the trustor where a trust impersonates."""

    claims: Claims
    user: Any
    user_domain: Any
    project: Any
    project_domain: Any
    domain: Any
    trust: Any
    application_credential: Any
    roles: tuple[RoleName, ...]
    access_rules: tuple[AccessRule, ...] | None = None


class Tokens:
    """Issues and reads tokens of one cloud. Decoded ones stay in memory until something changes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = KeyRing(settings.state_dir / TOKEN_KEYS)
        self._cache: dict[str, tuple[int, Caller]] = {}

    def issue(self, claims: Claims) -> str:
        """The sealed text of a token."""
        return self.keys.seal(msgspec.msgpack.encode(claims)).rstrip(b"=").decode()

    def claims(self, text: str) -> Claims:
        """What the token says. Raises TokenNotFound unless we sealed it."""
        try:
            sealed = text.encode("ascii")
            content = self.keys.open(sealed + b"=" * (-len(sealed) % 4))
            return msgspec.msgpack.decode(content, type=Claims)
        except (InvalidToken, UnicodeEncodeError, msgspec.DecodeError, ValueError):
            raise TokenNotFound from None

    def subject(self, tx: Tx, text: str, expired_for_s: int = 0) -> Subject:
        """The token with its rows. Raises TokenNotFound when it is worth nothing (any more)."""
        claims = self.claims(text)
        if tx.now >= claims.expires_at + expired_for_s * 1_000_000:
            raise TokenNotFound
        if epoch.is_revoked(tx, _subjects(claims), claims.issued_at):
            raise TokenNotFound
        return resolve(tx, claims)

    def authenticate(self, tx: Tx, text: str) -> Caller:
        """Whom the token speaks for. Raises Unauthorized."""
        now_epoch = epoch.current(tx)
        known = self._cache.get(text)
        if known is not None and known[0] == now_epoch:
            if tx.now < known[1].expires_at:
                return known[1]
            raise Unauthorized(UNAUTHENTICATED)
        try:
            caller = caller_of(self.subject(tx, text), text)
        except TokenNotFound:
            self._cache.pop(text, None)
            raise Unauthorized(UNAUTHENTICATED) from None
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        self._cache[text] = (now_epoch, caller)
        return caller


def authenticator(settings: Settings) -> Callable[[Tx, str], Caller]:
    """The function by which every service's edge learns who is calling."""
    return Tokens(settings).authenticate


def new_audit_id() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def _subjects(claims: Claims) -> list[str]:
    """Under which names the token may have been revoked."""
    subjects = [f"user:{claims.user_id}", f"audit:{claims.audit_ids[0]}", f"chain:{claims.audit_ids[-1]}"]
    if claims.scope_kind:
        subjects.append(f"{claims.scope_kind}:{claims.scope_id}")
        subjects.append(f"user:{claims.user_id}:{claims.scope_kind}:{claims.scope_id}")
    if claims.trust_id:
        subjects.append(f"trust:{claims.trust_id}")
    if claims.application_credential_id:
        subjects.append(f"application_credential:{claims.application_credential_id}")
    return subjects


def _row(tx: Tx, table: Any, key: str) -> Any:
    row = tx.first(select(table).where(table.c.id == key))
    if row is None:
        raise TokenNotFound
    return row


def _enabled(tx: Tx, table: Any, key: str) -> Any:
    row = _row(tx, table, key)
    if not row.enabled:
        raise TokenNotFound
    return row


def resolve(tx: Tx, claims: Claims) -> Subject:
    """The rows a token speaks of, all of them enabled, with the roles of today. Raises TokenNotFound."""
    subject_user = _enabled(tx, user, claims.user_id)
    user_domain = _enabled(tx, project, subject_user.domain_id)
    scope_project = project_domain = domain = trust_row = credential = None
    if claims.scope_kind == "project":
        scope_project = _enabled(tx, project, claims.scope_id)
        project_domain = _enabled(tx, project, scope_project.domain_id or scope_project.id)
    elif claims.scope_kind == "domain":
        domain = _enabled(tx, project, claims.scope_id)
    if claims.application_credential_id:
        credential = _row(tx, application_credential, claims.application_credential_id)
    roles = _roles(tx, claims, credential)
    if claims.trust_id:
        trust_row = _row(tx, trust, claims.trust_id)
        if trust_row.deleted_at is not None:
            raise TokenNotFound
        roles = trust_roles(tx, trust_row)
        trustor = _enabled(tx, user, trust_row.trustor_user_id)
        trustor_domain = _enabled(tx, project, trustor.domain_id)
        if trust_row.impersonation:
            subject_user, user_domain = trustor, trustor_domain
    if claims.scope_kind and not roles:
        raise TokenNotFound
    return Subject(
        claims,
        subject_user,
        user_domain,
        scope_project,
        project_domain,
        domain,
        trust_row,
        credential,
        tuple(roles),
        _access_rules(tx, credential),
    )


def _roles(tx: Tx, claims: Claims, credential: Any) -> list[RoleName]:
    if not claims.scope_kind or claims.trust_id:
        return []
    roles = effective.roles_of(tx, claims.user_id, claims.scope)
    if credential is not None:
        return [item for item in roles if item.id in credential.role_ids]
    return roles


def _access_rules(tx: Tx, credential: Any) -> tuple[AccessRule, ...] | None:
    if credential is None or not credential.access_rule_ids:
        return None
    rows = tx.all(select(access_rule).where(access_rule.c.id.in_(credential.access_rule_ids)))
    return tuple(AccessRule(row.service, row.method, row.path) for row in rows)


def trust_roles(tx: Tx, row: Any) -> list[RoleName]:
    """What the trust delegates, while the (first) trustor still has all of it; else nothing."""
    first = row
    while first.redelegated_trust_id:
        above = tx.first(select(trust).where(trust.c.id == first.redelegated_trust_id))
        if above is None:
            break
        first = above
    delegated = effective.with_implied(tx, row.role_ids)
    scope = Scope("project", row.project_id or "")
    held = effective.with_implied(tx, effective.granted_ids(tx, first.trustor_user_id, scope))
    return effective.names_of(tx, delegated) if delegated <= held else []


def caller_of(subject: Subject, text: str) -> Caller:
    """The subject as policies and services see it."""
    claims, scope_project = subject.claims, subject.project
    domain, project_domain = subject.domain, subject.project_domain
    return Caller(
        user_id=subject.user.id,
        user_name=subject.user.name,
        user_domain_id=subject.user_domain.id,
        user_domain_name=subject.user_domain.name,
        project_id=scope_project.id if scope_project else None,
        project_name=scope_project.name if scope_project else None,
        project_domain_id=project_domain.id if project_domain else None,
        project_domain_name=project_domain.name if project_domain else None,
        domain_id=domain.id if domain else None,
        domain_name=domain.name if domain else None,
        system_scope="all" if claims.scope_kind == "system" else None,
        roles=frozenset(item.name.lower() for item in subject.roles),
        role_ids=tuple(item.id for item in subject.roles),
        token=text,
        audit_ids=claims.audit_ids,
        methods=claims.methods,
        trust_id=claims.trust_id,
        application_credential_id=claims.application_credential_id,
        access_rules=subject.access_rules,
        expires_at=claims.expires_at,
    )
