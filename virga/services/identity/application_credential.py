"""``/v3/users/{id}/application_credentials`` and ``access_rules``: secrets for programs, with some of the user's roles."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.context import AsyncContext
from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_hex
from virga.services.identity import effective, epoch, models, role, user
from virga.services.identity import password as hashing
from virga.services.identity.expiry import parse
from virga.services.identity.faults import ForbiddenAction, ResourceNotFound, ValidationError
from virga.services.identity.listing import collection, filtered
from virga.services.identity.resource import body, duplicate, row_or_fault, unique
from virga.services.identity.schema import ID, NAME, Checker, wrapped

_T = models.application_credential
_R = models.access_rule
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_RULE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": ID,
        "path": {"type": "string", "minLength": 0, "maxLength": 225, "pattern": r"^/\.*"},
        "service": ID,
        "method": {"type": "string", "enum": list(METHODS)},
    },
    "additionalProperties": False,
}
CREATE = Checker(
    wrapped(
        "application_credential",
        {
            "id": {"type": "string"},
            "name": NAME,
            "description": {"type": ["string", "null"]},
            "secret": {"type": ["string", "null"]},
            "expires_at": {"type": ["string", "null"]},
            "project_id": {"type": "string"},
            "unrestricted": {"type": ["boolean", "null"]},
            "system": {"type": ["string", "null"]},
            "roles": {
                "type": "array",
                "items": {"type": "object", "properties": {"id": ID, "name": NAME}, "minProperties": 1},
            },
            "access_rules": {"type": "array", "items": _RULE},
        },
        ("name",),
        additionalProperties=False,
    )
)


def _refuse_lent(req: Request) -> None:
    """A token that came through a trust does not reach the lender's secrets."""
    if req.caller.trust_id:
        raise ForbiddenAction("Delegated tokens cannot manage application credentials.")


def _refuse_restricted(tx: Tx, req: Request) -> None:
    """A program's token makes no further ones, unless that was allowed."""
    mine = req.caller.application_credential_id
    if mine is None:
        return
    row = tx.first(select(_T.c.unrestricted).where(_T.c.id == mine))
    if row is None or not row.unrestricted:
        raise ForbiddenAction(
            "Using method 'application_credential' is not allowed for managing additional application credentials."
        )


def _view(tx: Tx, req: Request, row: Any) -> dict[str, Any]:
    found = {item.id: item for item in tx.all(select(models.role).where(models.role.c.id.in_(row.role_ids)))}
    shown = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "system": None,
        "expires_at": iso_micro(row.expires_at, ""),
        "unrestricted": row.unrestricted,
        "roles": [role.plain(found[key]) for key in row.role_ids if key in found],
    }
    if row.access_rule_ids:
        rules = tx.all(select(_R).where(_R.c.id.in_(row.access_rule_ids)))
        shown["access_rules"] = [_rule(rule) for rule in rules]
    shown["links"] = {"self": req.url(f"/v3/application_credentials/{row.id}")}
    return shown


def _rule(row: Any) -> dict[str, Any]:
    return {"id": row.id, "service": row.service, "path": row.path, "method": row.method}


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Those of the user."""
    _refuse_lent(req)
    user.get(tx, req["user_id"])
    rows = tx.all(select(_T).where(_T.c.user_id == req["user_id"]).order_by(_T.c.id))
    shown = [_view(tx, req, row) for row in rows]
    return collection(req, "application_credentials", filtered(req, shown, ("name",)))


def _get(tx: Tx, req: Request) -> Any:
    row = row_or_fault(tx, _T, req["application_credential_id"], "Application Credential")
    if row.user_id != req["user_id"] and not req.caller.is_admin:
        raise ForbiddenAction("identity:get_application_credential")
    return row


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One of them, without the secret."""
    _refuse_lent(req)
    return {"application_credential": _view(tx, req, _get(tx, req))}


async def create(ctx: AsyncContext, req: Request) -> Response:
    """A new one; the answer is the only place where the secret is ever seen."""
    values = body(req, "application_credential", CREATE)
    secret = values.get("secret") or base64.urlsafe_b64encode(secrets.token_bytes(64)).rstrip(b"=").decode()
    hashed = await ctx.thread(lambda: hashing.hash_secret(secret, ctx.settings.password_hash_rounds))
    shown = await ctx.write(lambda tx: _create(tx, req, values, hashed))
    links = shown.pop("links")
    return Response(201, {"application_credential": {**shown, "secret": secret, "links": links}})


def _create(tx: Tx, req: Request, values: dict[str, Any], hashed: str) -> dict[str, Any]:
    _refuse_lent(req)
    _refuse_restricted(tx, req)
    user_id = req["user_id"]
    if req.caller.user_id != user_id:
        raise ForbiddenAction("Cannot create an application credential for another user.")
    if req.caller.project_id is None:
        raise Forbidden("You are not authorized to perform the requested action.")
    credential_id = new_hex()
    with unique(duplicate("application_credential", values["name"])):
        tx.execute(
            insert(_T).values(
                id=credential_id,
                name=values["name"],
                secret_hash=hashed,
                user_id=user_id,
                project_id=req.caller.project_id,
                description=values.get("description"),
                expires_at=parse(tx, values.get("expires_at")),
                unrestricted=values.get("unrestricted"),
                role_ids=_role_ids(tx, req, values.get("roles")),
                access_rule_ids=[_rule_id(tx, user_id, rule) for rule in values.get("access_rules") or ()],
            )
        )
    return _view(tx, req, tx.first(select(_T).where(_T.c.id == credential_id)))


def _role_ids(tx: Tx, req: Request, wanted: list[dict[str, str]] | None) -> list[str]:
    """The roles asked for with what they imply, all of them the caller's; by default all the caller has."""
    held = list(req.caller.role_ids)
    if not wanted:
        return held
    found: list[str] = []
    for item in wanted:
        if item.get("id"):
            found.append(role.get(tx, item["id"]).id)
            continue
        table = models.role
        row = tx.first(select(table).where(table.c.name == item["name"], table.c.domain_id == ""))
        if row is None:
            raise ResourceNotFound("role", item["name"])
        found.append(row.id)
    found = sorted(effective.with_implied(tx, found))
    if not set(found) <= set(held):
        raise ValidationError(
            "Invalid application credential: Cannot create an application credential with unassigned role"
        )
    return found


def _rule_id(tx: Tx, user_id: str, rule: dict[str, str]) -> str:
    """An existing rule by id or by content, or a new one."""
    if set(rule) == {"id"}:
        row = row_or_fault(tx, _R, rule["id"], "Access Rule")
        if row.user_id != user_id:
            raise ResourceNotFound("Access Rule", rule["id"])
        return str(row.id)
    values = {name: rule.get(name, "") for name in ("service", "path", "method")}
    if not all(values.values()):
        raise ValidationError("Invalid application credential: an access rule needs service, path and method")
    same = [_R.c[name] == value for name, value in values.items()]
    row = tx.first(select(_R).where(_R.c.user_id == user_id, *same))
    if row is not None:
        return str(row.id)
    rule_id = rule.get("id") or new_hex()
    with unique(duplicate("access_rule", None)):
        tx.execute(insert(_R).values(id=rule_id, user_id=user_id, **values))
    return rule_id


def remove(tx: Tx, req: Request) -> Response:
    """End it, and its tokens."""
    _refuse_lent(req)
    _refuse_restricted(tx, req)
    row = _get(tx, req)
    tx.execute(delete(_T).where(_T.c.id == row.id))
    epoch.revoke(tx, f"application_credential:{row.id}")
    return Response(204)


def _rule_view(req: Request, row: Any) -> dict[str, Any]:
    url = req.url(f"/v3/users/{row.user_id}/access_rules/{row.id}")
    return {**_rule(row), "links": {"self": url}}


def rules(tx: Tx, req: Request) -> dict[str, Any]:
    """Access rules of the user."""
    _refuse_lent(req)
    rows = tx.all(select(_R).where(_R.c.user_id == req["user_id"]).order_by(_R.c.id))
    shown = [_rule_view(req, row) for row in rows]
    return collection(req, "access_rules", filtered(req, shown, ("service", "path", "method")))


def _get_rule(tx: Tx, req: Request) -> Any:
    row = tx.first(select(_R).where(_R.c.id == req["access_rule_id"], _R.c.user_id == req["user_id"]))
    if row is None:
        raise ResourceNotFound("Access Rule", req["access_rule_id"])
    return row


def show_rule(tx: Tx, req: Request) -> dict[str, Any]:
    """One rule."""
    _refuse_lent(req)
    return {"access_rule": _rule_view(req, _get_rule(tx, req))}


def remove_rule(tx: Tx, req: Request) -> Response:
    """Delete a rule that no credential uses."""
    _refuse_lent(req)
    _refuse_restricted(tx, req)
    row = _get_rule(tx, req)
    used = tx.all(select(_T.c.access_rule_ids).where(_T.c.user_id == row.user_id))
    if any(row.id in item.access_rule_ids for item in used):
        raise Forbidden(
            "You are not authorized to perform the requested action: Access rule "
            f"{row.id} is in use by an application credential."
        )
    tx.execute(delete(_R).where(_R.c.id == row.id))
    return Response(204)
