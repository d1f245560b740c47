"""``/v3/OS-TRUST/trusts``: one user lends roles on a project to another, for a while or for some uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_hex
from virga.services.identity import effective, epoch, models, project, role, user
from virga.services.identity.effective import Scope
from virga.services.identity.expiry import parse
from virga.services.identity.faults import ForbiddenAction, ResourceNotFound, ValidationError
from virga.services.identity.listing import collection
from virga.services.identity.resource import body
from virga.services.identity.schema import ID, NAME, Checker, wrapped

_T = models.trust
MAX_DEPTH = 3
_ROLE = {
    "type": "object",
    "properties": {"id": ID, "name": NAME},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
CREATE = Checker(
    wrapped(
        "trust",
        {
            "trustor_user_id": {"type": "string"},
            "trustee_user_id": {"type": "string"},
            "impersonation": {"type": "boolean"},
            "project_id": {"type": ["string", "null"]},
            "remaining_uses": {"type": ["integer", "null"], "minimum": 1},
            "expires_at": {"type": ["null", "string"]},
            "allow_redelegation": {"type": ["boolean", "null"]},
            "redelegation_count": {"type": ["integer", "null"], "minimum": 0},
            "redelegated_trust_id": {"type": ["string", "null"]},
            "roles": {"type": "array", "items": _ROLE},
        },
        ("trustor_user_id", "trustee_user_id", "impersonation"),
    )
)


def _view(tx: Tx, req: Request, row: Any, with_roles: bool = True) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if with_roles:
        found = {
            item.id: item for item in tx.all(select(models.role).where(models.role.c.id.in_(row.role_ids)))
        }
        shown["roles"] = [role.view(req, found[key]) for key in row.role_ids if key in found]
    shown |= {
        "id": row.id,
        "trustor_user_id": row.trustor_user_id,
        "trustee_user_id": row.trustee_user_id,
        "project_id": row.project_id,
        "impersonation": row.impersonation,
        "expires_at": iso_micro(row.expires_at),
        "remaining_uses": row.remaining_uses,
        "deleted_at": iso_micro(row.deleted_at),
        "redelegated_trust_id": row.redelegated_trust_id,
        "redelegation_count": row.redelegation_count,
    }
    if with_roles:
        roles = req.url(f"/v3/{row.id}/roles")
        shown["roles_links"] = {"self": roles, "next": None, "previous": None}
    shown["links"] = {"self": req.url(f"/v3/OS-TRUST/trusts/{row.id}")}
    return shown


def get(tx: Tx, trust_id: str) -> Any:
    """A trust that can still be used. Raises ResourceNotFound, or 403 when it was used up."""
    row = tx.first(select(_T).where(_T.c.id == trust_id, _T.c.deleted_at.is_(None)))
    if row is None or (row.expires_at is not None and row.expires_at < tx.now):
        raise ResourceNotFound("trust", trust_id)
    if row.remaining_uses is not None and row.remaining_uses <= 0:
        raise Forbidden(f"No remaining uses for trust: {trust_id}.")
    return row


def _refuse_delegated(req: Request) -> None:
    if req.caller.application_credential_id:
        raise ForbiddenAction("Delegated tokens cannot manage trusts.")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Trusts given by somebody, given to somebody, or all."""
    trustor, trustee = req.param("trustor_user_id"), req.param("trustee_user_id")
    rule, target = "identity:list_trusts", {}
    statement = select(_T).where(_T.c.deleted_at.is_(None)).order_by(_T.c.id)
    if trustor:
        rule, target = "identity:list_trusts_for_trustor", {"trustor_user_id": trustor}
        statement = statement.where(_T.c.trustor_user_id == trustor)
    elif trustee:
        rule, target = "identity:list_trusts_for_trustee", {"trustee_user_id": trustee}
        statement = statement.where(_T.c.trustee_user_id == trustee)
    req.enforce(rule, {**req.own_target(), "target": {"trust": target}})
    _refuse_delegated(req)
    shown = [_view(tx, req, row, with_roles=False) for row in tx.all(statement)]
    return collection(req, "trusts", shown, "/v3/OS-TRUST/trusts")


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One trust."""
    _refuse_delegated(req)
    return {"trust": _view(tx, req, get(tx, req["trust_id"]))}


def roles(tx: Tx, req: Request) -> dict[str, Any]:
    """The roles it lends."""
    shown = _view(tx, req, get(tx, req["trust_id"]))
    return {"roles": shown["roles"], "links": shown["roles_links"]}


def _lent_role(tx: Tx, req: Request) -> Any:
    row = get(tx, req["trust_id"])
    if req["role_id"] not in row.role_ids:
        raise ResourceNotFound("role", req["role_id"])
    return role.get(tx, req["role_id"])


def show_role(tx: Tx, req: Request) -> dict[str, Any]:
    """One of them."""
    return {"role": role.view(req, _lent_role(tx, req))}


def check_role(tx: Tx, req: Request) -> Response:
    """Whether it lends this one."""
    _lent_role(tx, req)
    return Response(200)


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """Lend roles; only their owner can."""
    values = body(req, "trust", CREATE)
    req.enforce("identity:create_trust", {**req.own_target(), "target": {"trust": values}})
    _refuse_delegated(req)
    if values.get("project_id") and not values.get("roles"):
        raise ForbiddenAction("At least one role should be specified")
    if req.caller.user_id != values["trustor_user_id"]:
        raise ForbiddenAction("The authenticated user should match the trustor")
    user.get(tx, values["trustee_user_id"])
    above = get(tx, req.caller.trust_id) if req.caller.trust_id else None
    role_ids = [_role_id(tx, item) for item in values.get("roles", [])]
    _require_held(tx, values, role_ids, above)
    expires_at = parse(tx, values.get("expires_at"))
    depth, uses = _limits(values)
    if above is not None:
        expires_at, depth = _under(tx, above, values, role_ids, expires_at, depth)
    trust_id = new_hex()
    tx.execute(
        insert(_T).values(
            id=trust_id,
            trustor_user_id=values["trustor_user_id"],
            trustee_user_id=values["trustee_user_id"],
            project_id=values.get("project_id"),
            impersonation=values["impersonation"],
            expires_at=expires_at,
            remaining_uses=uses,
            redelegated_trust_id=above.id if above is not None else None,
            redelegation_count=MAX_DEPTH if depth is None else depth,
            role_ids=role_ids,
            extra={},
        )
    )
    return {"trust": _view(tx, req, get(tx, trust_id))}


def _role_id(tx: Tx, item: Mapping[str, str]) -> str:
    if "id" in item:
        return item["id"]
    table = models.role
    found = tx.all(select(table.c.id).where(table.c.name == item["name"], table.c.domain_id == ""))
    if not found:
        raise ResourceNotFound("role", item["name"])
    return str(found[0].id)


def _require_held(tx: Tx, values: Mapping[str, Any], role_ids: list[str], above: Any) -> None:
    """Nobody lends what the first lender does not have."""
    first = above
    while first is not None and first.redelegated_trust_id:
        first = get(tx, first.redelegated_trust_id)
    owner = first.trustor_user_id if first is not None else values["trustor_user_id"]
    held: set[str] = set()
    if values.get("project_id"):
        project.get(tx, values["project_id"])
        scope = Scope("project", values["project_id"])
        held = effective.with_implied(tx, effective.granted_ids(tx, owner, scope))
    for role_id in role_ids:
        if role_id not in held:
            raise ResourceNotFound("role", role_id)


def _limits(values: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Depth to which it may be lent on, and number of uses."""
    wanted, uses = values.get("redelegation_count"), values.get("remaining_uses")
    if not (values.get("allow_redelegation") and wanted != 0):
        return 0, uses
    if wanted and wanted > MAX_DEPTH:
        raise Forbidden("You are not authorized to perform the requested action.")
    if uses is not None:
        raise ValidationError("remaining_uses must not be set if redelegation is allowed")
    return wanted, None


def _under(
    tx: Tx,
    above: Any,
    values: Mapping[str, Any],
    role_ids: list[str],
    expires_at: int | None,
    depth: int | None,
) -> tuple[int | None, int | None]:
    """A trust lent on: never more than the one above. Expiry and depth, or 403."""
    refused = Forbidden("You are not authorized to perform the requested action.")
    remaining = above.redelegation_count - 1
    if depth and depth != remaining:
        raise refused
    current: Any = above
    while current is not None:
        if not 0 < current.redelegation_count <= MAX_DEPTH or values.get("remaining_uses") is not None:
            raise refused
        if expires_at is None:
            expires_at = current.expires_at
        elif current.expires_at is not None and current.expires_at < expires_at:
            raise refused
        if not set(role_ids) <= set(current.role_ids):
            raise refused
        if values["impersonation"] and not current.impersonation:
            raise refused
        parent = current.redelegated_trust_id
        current = tx.first(select(_T).where(_T.c.id == parent)) if parent else None
    return expires_at, depth if depth == 0 else remaining


def remove(tx: Tx, req: Request) -> Response:
    """End it, and all that were made of it."""
    _refuse_delegated(req)
    row = tx.first(select(_T).where(_T.c.id == req["trust_id"], _T.c.deleted_at.is_(None)))
    if row is None:
        raise ResourceNotFound("trust", req["trust_id"])
    gone = [row.id]
    for current in gone:
        gone += [item.id for item in tx.all(select(_T.c.id).where(_T.c.redelegated_trust_id == current))]
    tx.execute(update(_T).where(_T.c.id.in_(gone)).values(deleted_at=tx.now))
    epoch.revoke(tx, *(f"trust:{trust_id}" for trust_id in gone))
    return Response(204)
