"""``/v3/groups``: users that get roles together."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update

from virga.api.faults import NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import epoch, models, user
from virga.services.identity.bootstrap import DOMAIN_ID
from virga.services.identity.domain import get as get_domain
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection, filtered, rows
from virga.services.identity.removal import remove_group
from virga.services.identity.resource import body, duplicate, require_same_id, row_or_fault, split, unique
from virga.services.identity.schema import ID, NAME, Checker, wrapped

_T = models.group
_M = models.membership
_COLUMNS = ("name", "domain_id", "description")
_PROPERTIES: dict[str, Any] = {"description": {"type": ["string", "null"]}, "name": NAME}
CREATE = Checker(wrapped("group", {"domain_id": ID, **_PROPERTIES}, ("name",)))
UPDATE = Checker(wrapped("group", _PROPERTIES, minProperties=1))


def view(req: Request, row: Any) -> dict[str, Any]:
    """A group as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id,
        "description": row.description,
        "links": {"self": req.url(f"/v3/groups/{row.id}")},
    }


def get(tx: Tx, group_id: str) -> Any:
    """The group's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, group_id, "group")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Groups; somebody scoped to a domain sees those of the domain."""
    where: list[ColumnElement[bool]] = []
    if req.caller.domain_id:
        where.append(_T.c.domain_id == req.caller.domain_id)
    found = rows(tx, req, _T, ("domain_id", "name"), *where)
    return collection(req, "groups", [view(req, row) for row in found])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One group."""
    return {"group": view(req, get(tx, req["group_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new group."""
    known, extra = split(body(req, "group", CREATE), _COLUMNS)
    domain_id = known.get("domain_id") or req.caller.domain_id or DOMAIN_ID
    get_domain(tx, domain_id)
    name, group_id = known["name"].strip(), new_hex()
    with unique(duplicate("group", name, domain_id)):
        tx.execute(
            insert(_T).values(
                id=group_id,
                name=name,
                domain_id=domain_id,
                description=known.get("description") or "",
                extra=extra,
            )
        )
    return {"group": view(req, get(tx, group_id))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Rename or describe."""
    group_id = req["group_id"]
    row = get(tx, group_id)
    values = body(req, "group", UPDATE)
    require_same_id(values, group_id)
    known, extra = split(values, _COLUMNS)
    if known.get("domain_id", row.domain_id) != row.domain_id:
        raise ValidationError("Cannot change Domain ID")
    changed: dict[str, Any] = {k: known[k] for k in ("name", "description") if k in known}
    if extra:
        changed["extra"] = {**row.extra, **extra}
    if changed:
        with unique(duplicate("group", changed.get("name"), row.domain_id)):
            tx.execute(update(_T).where(_T.c.id == group_id).values(**changed))
    return {"group": view(req, get(tx, group_id))}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the group; the members stay."""
    get(tx, req["group_id"])
    remove_group(tx, req["group_id"])
    return Response(204)


def users(tx: Tx, req: Request) -> dict[str, Any]:
    """The members."""
    get(tx, req["group_id"])
    table = models.user
    statement = select(table).join(_M, _M.c.user_id == table.c.id).where(_M.c.group_id == req["group_id"])
    shown = user.views(tx, req, tx.all(statement.order_by(table.c.id)))
    return collection(req, "users", filtered(req, shown, ("domain_id", "enabled", "name")))


def of_user(tx: Tx, req: Request) -> dict[str, Any]:
    """Groups the user is in."""
    user.get(tx, req["user_id"])
    statement = select(_T).join(_M, _M.c.group_id == _T.c.id).where(_M.c.user_id == req["user_id"])
    shown = [view(req, row) for row in tx.all(statement.order_by(_T.c.id))]
    return collection(req, "groups", filtered(req, shown, ("name",)))


def _both(tx: Tx, req: Request) -> tuple[str, str]:
    return user.get(tx, req["user_id"]).id, get(tx, req["group_id"]).id


def add_user(tx: Tx, req: Request) -> Response:
    """Make the user a member. Idempotent."""
    user_id, group_id = _both(tx, req)
    if not _is_member(tx, user_id, group_id):
        tx.execute(insert(_M).values(user_id=user_id, group_id=group_id))
        epoch.advance(tx)
    return Response(204)


def _is_member(tx: Tx, user_id: str, group_id: str) -> bool:
    same = (_M.c.user_id == user_id, _M.c.group_id == group_id)
    return tx.first(select(_M).where(*same)) is not None


def _require_member(tx: Tx, user_id: str, group_id: str) -> None:
    if not _is_member(tx, user_id, group_id):
        raise NotFound(f"User '{user_id}' not found in group '{group_id}'")


def check_user(tx: Tx, req: Request) -> Response:
    """204 for a member, 404 for anybody else."""
    _require_member(tx, *_both(tx, req))
    return Response(204)


def remove_user(tx: Tx, req: Request) -> Response:
    """No longer a member."""
    user_id, group_id = _both(tx, req)
    _require_member(tx, user_id, group_id)
    tx.execute(delete(_M).where(_M.c.user_id == user_id, _M.c.group_id == group_id))
    epoch.advance(tx)
    return Response(204)
