"""Who is it? The authentication methods: password, token and application credential.

Rows are read in a transaction, hashes are compared outside of one (they are slow on purpose), and only
what changed - a failed attempt, the end of a series of them - is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from virga.api.context import AsyncContext
from virga.api.faults import Unauthorized
from virga.db.tx import Tx
from virga.services.identity import password as hashing
from virga.services.identity.faults import ForbiddenAction, ResourceNotFound, expecting, unauthenticated
from virga.services.identity.models import application_credential, project, user
from virga.services.identity.models import password as password_table
from virga.services.identity.token import Claims, Tokens

METHODS = frozenset({"password", "token", "application_credential"})


@dataclass(frozen=True, slots=True)
class Proof:
    """What one method proved. ``chain``: audit id of the first token of a chain of rescoped ones."""

    user_id: str
    methods: tuple[str, ...]
    expires_at: int | None = None
    chain: str | None = None
    project_id: str | None = None
    """The only project that the proof may be used for."""
    application_credential_id: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who claims to be a user, before the secret was compared."""

    user_id: str
    hashed: str
    created_at: int
    expires_at: int | None
    options: Mapping[str, Any]
    failed_count: int
    failed_at: int | None


async def prove(tokens: Tokens, ctx: AsyncContext, identity: Mapping[str, Any], wanted: Any) -> list[Proof]:
    """A proof for each method named, all of the same user. Raises Unauthorized."""
    proofs = []
    for name in identity["methods"]:
        if name not in METHODS:
            raise Unauthorized("Attempted to authenticate with an unsupported method.")
        data = identity.get(name)
        if not isinstance(data, Mapping):
            raise expecting(name, "identity")
        if name == "password":
            proofs.append(await _by_password(ctx, data))
        elif name == "token":
            proofs.append(await _by_token(tokens, ctx, data, wanted))
        else:
            proofs.append(await _by_application_credential(ctx, data))
    if not proofs or len({proof.user_id for proof in proofs}) != 1:
        raise unauthenticated()
    return proofs


async def _by_token(tokens: Tokens, ctx: AsyncContext, data: Mapping[str, Any], wanted: Any) -> Proof:
    if "id" not in data:
        raise expecting("id", "token")
    subject = await ctx.read(lambda tx: tokens.subject(tx, str(data["id"])))
    claims = subject.claims
    _check_exchange(claims, wanted)
    methods = tuple(dict.fromkeys(("token", *claims.methods)))
    return Proof(claims.user_id, methods, claims.expires_at, claims.audit_ids[-1])


def _check_exchange(claims: Claims, wanted: Any) -> None:
    """A token that was lent, or is of the system, is not exchanged for another one: it could only gain."""
    if claims.trust_id:
        raise ForbiddenAction(
            "Using trust-scoped token to create another token. Create a new trust-scoped token instead"
        )
    if claims.application_credential_id:
        raise ForbiddenAction("Using a delegated token to create another token is not allowed.")
    narrower = isinstance(wanted, Mapping) and ("project" in wanted or "domain" in wanted)
    if claims.scope_kind == "system" and narrower:
        raise ForbiddenAction(
            "Using a system-scoped token to create a project-scoped or domain-scoped token is not allowed."
        )


async def _by_password(ctx: AsyncContext, data: Mapping[str, Any]) -> Proof:
    claimed = data.get("user")
    if not isinstance(claimed, Mapping):
        raise expecting("user", "password")
    secret = claimed.get("password")
    if not isinstance(secret, str):
        raise expecting("password", "user")
    candidate = await ctx.read(lambda tx: find_candidate(tx, claimed))
    await check_password(ctx, candidate, secret)
    return Proof(candidate.user_id if candidate else "", ("password",))


async def check_password(
    ctx: AsyncContext, candidate: Candidate | None, secret: str, may_be_expired: bool = False
) -> None:
    """Raise Unauthorized unless the secret is the candidate's; counts failures and locks out after too many."""
    settings = ctx.settings
    if candidate is None:
        await ctx.thread(lambda: hashing.spend_time(secret, settings.password_hash_rounds))
        raise unauthenticated()
    now = await ctx.read(lambda tx: tx.now)
    counts = settings.lockout_attempts > 0 and not candidate.options.get("ignore_lockout_failure_attempts")
    if counts and candidate.failed_count >= settings.lockout_attempts:
        if now < (candidate.failed_at or 0) + settings.lockout_seconds * 1_000_000:
            raise Unauthorized(f"The account is locked for user: {candidate.user_id}.")
        await ctx.write(lambda tx: _count(tx, candidate.user_id, 0))
    if not await ctx.thread(lambda: hashing.matches(secret, candidate.hashed)):
        if counts:
            await ctx.write(lambda tx: _count(tx, candidate.user_id, None))
        raise unauthenticated()
    if candidate.failed_count:
        await ctx.write(lambda tx: _count(tx, candidate.user_id, 0))
    if not may_be_expired and candidate.expires_at is not None and candidate.expires_at <= now:
        raise Unauthorized(f"The password is expired and needs to be changed for user: {candidate.user_id}.")


def _count(tx: Tx, user_id: str, failures: int | None) -> None:
    """Set the number of failures, or add one."""
    value = user.c.failed_auth_count + 1 if failures is None else failures
    moment = tx.now if failures is None else None
    tx.execute(
        update(user).where(user.c.id == user_id).values(failed_auth_count=value, failed_auth_at=moment)
    )


def find_domain(tx: Tx, wanted: Mapping[str, Any]) -> Any:
    """The enabled domain of this id or name. Raises Unauthorized."""
    if wanted.get("name"):
        where = (project.c.name == wanted["name"], project.c.domain_id == "")
    elif wanted.get("id"):
        where = (project.c.id == wanted["id"], project.c.domain_id == "")
    else:
        raise expecting("id or name", "domain")
    row = tx.first(select(project).where(*where))
    if row is None or not row.enabled:
        raise unauthenticated()
    return row


def find_user(tx: Tx, wanted: Mapping[str, Any]) -> Any:
    """The enabled user of this id, or name and domain; None when there is none."""
    if wanted.get("name"):
        if not isinstance(wanted.get("domain"), Mapping):
            raise expecting("domain", "user")
        domain = find_domain(tx, wanted["domain"])
        row = tx.first(select(user).where(user.c.name == wanted["name"], user.c.domain_id == domain.id))
    elif wanted.get("id"):
        row = tx.first(select(user).where(user.c.id == wanted["id"]))
        if row is not None:
            find_domain(tx, {"id": row.domain_id})
    else:
        raise expecting("id or name", "user")
    return row if row is not None and row.enabled else None


def find_candidate(tx: Tx, wanted: Mapping[str, Any]) -> Candidate | None:
    """The user of this id or name with the newest password hash; None when nobody can log in by that."""
    row = find_user(tx, wanted)
    if row is None:
        return None
    newest = tx.first(
        select(password_table)
        .where(password_table.c.user_id == row.id)
        .order_by(password_table.c.id.desc())
        .limit(1)
    )
    if newest is None:
        return None
    expires_at = None if row.options.get("ignore_password_expiry") else newest.expires_at
    return Candidate(
        row.id,
        newest.hash,
        newest.created_at,
        expires_at,
        row.options,
        row.failed_auth_count,
        row.failed_auth_at,
    )


def _find_credential(tx: Tx, data: Mapping[str, Any]) -> Any:
    table = application_credential
    if data.get("id"):
        row = tx.first(select(table).where(table.c.id == str(data["id"])))
        if row is None:
            raise ResourceNotFound("Application Credential", str(data["id"]))
        owner = find_user(tx, {"id": row.user_id})
    elif data.get("name"):
        if not isinstance(data.get("user"), Mapping):
            raise expecting("user", "application_credential")
        owner = find_user(tx, data["user"])
        if owner is None:
            return None
        row = tx.first(select(table).where(table.c.name == data["name"], table.c.user_id == owner.id))
    else:
        raise expecting("id or name", "application credential")
    return row if owner is not None else None


async def _by_application_credential(ctx: AsyncContext, data: Mapping[str, Any]) -> Proof:
    row = await ctx.read(lambda tx: _find_credential(tx, data))
    secret = data.get("secret")
    if row is None or not isinstance(secret, str):
        raise unauthenticated()
    now = await ctx.read(lambda tx: tx.now)
    if row.expires_at is not None and row.expires_at <= now:
        raise unauthenticated()
    if not await ctx.thread(lambda: hashing.matches(secret, row.secret_hash)):
        raise unauthenticated()
    return Proof(row.user_id, ("application_credential",), row.expires_at, None, row.project_id, row.id)
