"""``/v3/users``: who can log in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update

from virga.api.context import AsyncContext
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.lib.ids import new_hex
from virga.services.identity import epoch, models, project
from virga.services.identity import password as hashing
from virga.services.identity.bootstrap import DOMAIN_ID
from virga.services.identity.domain import get as get_domain
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection, filtered, rows
from virga.services.identity.removal import remove_user
from virga.services.identity.resource import (
    body,
    boolean,
    duplicate,
    merged_options,
    require_same_id,
    row_or_fault,
    split,
    unique,
)
from virga.services.identity.schema import FLEXIBLE_BOOLEAN, ID, NAME, Checker, wrapped
from virga.services.identity.user_password import check_rules, store

_T = models.user
FILTERS = ("domain_id", "enabled", "name")
_COLUMNS = (
    "name",
    "domain_id",
    "enabled",
    "default_project_id",
    "options",
    "password",
    "password_expires_at",
)
_FLAG = {"type": ["boolean", "null"]}
USER_OPTIONS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "ignore_change_password_upon_first_use": _FLAG,
        "ignore_password_expiry": _FLAG,
        "ignore_lockout_failure_attempts": _FLAG,
        "lock_password": _FLAG,
        "ignore_user_inactivity": _FLAG,
        "multi_factor_auth_enabled": _FLAG,
        "multi_factor_auth_rules": {
            "type": ["array", "null"],
            "items": {"type": "array", "items": {"type": "string"}, "minItems": 1, "uniqueItems": True},
            "uniqueItems": True,
        },
    },
    "additionalProperties": False,
}
_PROPERTIES: dict[str, Any] = {
    "default_project_id": {"type": ["string", "null"]},
    "description": {"type": ["string", "null"]},
    "domain_id": ID,
    "enabled": FLEXIBLE_BOOLEAN,
    "federated": {"type": "array"},
    "name": NAME,
    "password": {"type": ["string", "null"]},
    "options": USER_OPTIONS,
}
CREATE = Checker(wrapped("user", _PROPERTIES, ("name",)))
UPDATE = Checker(wrapped("user", _PROPERTIES, minProperties=1))


def views(tx: Tx, req: Request, found: Iterable[Any]) -> list[dict[str, Any]]:
    """Users as clients see them; the newest passwords' expiry is read at once."""
    listed = list(found)
    expiry = _expiry(tx, [row.id for row in listed])
    return [_view(req, row, expiry.get(row.id)) for row in listed]


def _view(req: Request, row: Any, expires_at: int | None) -> dict[str, Any]:
    shown = {**row.extra, "id": row.id, "name": row.name, "domain_id": row.domain_id, "enabled": row.enabled}
    if row.default_project_id is not None:
        shown["default_project_id"] = row.default_project_id
    return {
        **shown,
        "password_expires_at": iso_micro(expires_at),
        "options": row.options,
        "links": {"self": req.url(f"/v3/users/{row.id}")},
    }


def _expiry(tx: Tx, ids: list[str]) -> dict[str, int | None]:
    table = models.password
    found: dict[str, int | None] = {}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        newest = select(func.max(table.c.id)).where(table.c.user_id.in_(part)).group_by(table.c.user_id)
        for row in tx.all(select(table.c.user_id, table.c.expires_at).where(table.c.id.in_(newest))):
            found[row.user_id] = row.expires_at
    return found


def get(tx: Tx, user_id: str) -> Any:
    """The user's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, user_id, "user")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Users; somebody scoped to a domain sees those of the domain."""
    where: list[ColumnElement[bool]] = []
    if req.caller.domain_id:
        where.append(_T.c.domain_id == req.caller.domain_id)
    shown = views(tx, req, rows(tx, req, _T, FILTERS, *where))
    for text in req.params("password_expires_at"):
        shown = [item for item in shown if _expires(item["password_expires_at"], text)]
    return collection(req, "users", shown)


_OPERATORS = ("lt", "lte", "gt", "gte", "eq", "neq")


def _expires(shown: str | None, wanted: str) -> bool:
    """``lt:2016-12-08T22:02:00Z``"""
    operator, colon, text = wanted.partition(":")
    if not colon or operator not in _OPERATORS:
        operator, text = "eq", wanted
    try:
        moment = parse_iso(text)
    except ValueError:
        raise ValidationError(
            "Timestamp not in expected format. The server could not comply with the request since it is either "
            "malformed or otherwise incorrect. The client is assumed to be in error."
        ) from None
    if shown is None:
        return False
    actual = parse_iso(shown)
    return {
        "lt": actual < moment,
        "lte": actual <= moment,
        "gt": actual > moment,
        "gte": actual >= moment,
        "eq": actual == moment,
        "neq": actual != moment,
    }[operator]


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One user."""
    return {"user": views(tx, req, [get(tx, req["user_id"])])[0]}


async def create(ctx: AsyncContext, req: Request) -> Response:
    """A new user; the password is hashed before the transaction begins."""
    values = body(req, "user", CREATE)
    hashed = await _hash(ctx, values.get("password"))
    made = await ctx.write(lambda tx: _create(tx, ctx, req, values, hashed))
    return Response(201, made)


async def _hash(ctx: AsyncContext, password: str | None) -> str | None:
    if password is None:
        return None
    check_rules(ctx.settings, password)
    return await ctx.thread(lambda: hashing.hash_secret(password, ctx.settings.password_hash_rounds))


def _create(
    tx: Tx, ctx: AsyncContext, req: Request, values: dict[str, Any], hashed: str | None
) -> dict[str, Any]:
    known, extra = split(values, _COLUMNS)
    domain_id = known.get("domain_id") or req.caller.domain_id or DOMAIN_ID
    get_domain(tx, domain_id)
    _check_default_project(tx, known.get("default_project_id"))
    name, user_id = known["name"].strip(), new_hex()
    with unique(duplicate("user", name, domain_id)):
        tx.execute(
            insert(_T).values(
                id=user_id,
                name=name,
                domain_id=domain_id,
                enabled=boolean(known.get("enabled", True)),
                default_project_id=known.get("default_project_id"),
                options=merged_options({}, known.get("options")),
                extra=extra,
                created_at=tx.now,
                failed_auth_count=0,
            )
        )
    if hashed is not None:
        store(tx, ctx.settings, user_id, hashed, self_service=False)
    return {"user": views(tx, req, [get(tx, user_id)])[0]}


def _check_default_project(tx: Tx, project_id: str | None) -> None:
    if not project_id:
        return
    row = tx.first(select(models.project).where(models.project.c.id == project_id))
    if row is not None and row.is_domain:
        raise ValidationError("User's default project ID cannot be a domain ID: " + project_id)


async def change(ctx: AsyncContext, req: Request) -> dict[str, Any]:
    """Change attributes; a new password or a disabled user ends the user's tokens."""
    values = body(req, "user", UPDATE)
    hashed = await _hash(ctx, values.get("password"))
    return await ctx.write(lambda tx: _change(tx, ctx, req, values, hashed))


def _change(
    tx: Tx, ctx: AsyncContext, req: Request, values: dict[str, Any], hashed: str | None
) -> dict[str, Any]:
    user_id = req["user_id"]
    row = get(tx, user_id)
    require_same_id(values, user_id)
    known, extra = split(values, _COLUMNS)
    if known.get("domain_id", row.domain_id) != row.domain_id:
        raise ValidationError("Cannot change Domain ID")
    changed: dict[str, Any] = {k: known[k] for k in ("name", "default_project_id") if k in known}
    if "default_project_id" in changed:
        _check_default_project(tx, changed["default_project_id"])
    if "name" in changed:
        changed["name"] = changed["name"].strip()
    if "enabled" in known:
        changed["enabled"] = boolean(known["enabled"])
    if "options" in known:
        changed["options"] = merged_options(row.options, known["options"])
    if extra:
        changed["extra"] = {**row.extra, **extra}
    if changed.get("enabled") or hashed is not None:
        changed |= {"failed_auth_count": 0, "failed_auth_at": None}
    if changed:
        with unique(duplicate("user", changed.get("name", row.name), row.domain_id)):
            tx.execute(update(_T).where(_T.c.id == user_id).values(**changed))
    if hashed is not None:
        store(tx, ctx.settings, user_id, hashed, self_service=False)
    if hashed is not None or (row.enabled and changed.get("enabled") is False):
        epoch.revoke(tx, f"user:{user_id}")
    epoch.advance(tx)
    return {"user": views(tx, req, [get(tx, user_id)])[0]}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the user; tokens end at once."""
    get(tx, req["user_id"])
    remove_user(tx, req["user_id"])
    return Response(204)


def projects(tx: Tx, req: Request) -> dict[str, Any]:
    """Projects the user has a role on."""
    get(tx, req["user_id"])
    shown = project.views(tx, req, project.of_user(tx, req["user_id"]))
    return collection(req, "projects", filtered(req, shown, ("domain_id", "enabled", "name")))


def revoke_tokens(tx: Tx, req: Request) -> Response:
    """End all tokens of the user."""
    get(tx, req["user_id"])
    epoch.revoke(tx, f"user:{req['user_id']}")
    return Response(204)
