"""``/v3/roles``: roles, of the cloud or of one domain, and which of them imply others."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.faults import Fault, Forbidden, NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import epoch, models
from virga.services.identity.access import own_domain
from virga.services.identity.domain import get as get_domain
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection, rows
from virga.services.identity.resource import (
    body,
    check_deletable,
    check_immutable,
    duplicate,
    merged_options,
    require_same_id,
    row_or_fault,
    split,
    unique,
)
from virga.services.identity.schema import ID, NAME, OPTIONS, Checker, nullable, wrapped

_T = models.role
_I = models.implied_role
_COLUMNS = ("name", "domain_id", "description", "options")
_PROPERTIES: dict[str, Any] = {
    "name": NAME,
    "description": {"type": ["string", "null"]},
    "domain_id": nullable(ID),
    "options": OPTIONS,
}
CREATE = Checker(wrapped("role", _PROPERTIES, ("name",)))
UPDATE = Checker(wrapped("role", _PROPERTIES, minProperties=1))
NEVER_IMPLIED = ("admin",)
"""Roles that nobody may get by way of another one."""


def view(req: Request, row: Any) -> dict[str, Any]:
    """A role as clients see it."""
    return {**plain(row), "links": {"self": req.url(f"/v3/roles/{row.id}")}}


def plain(row: Any) -> dict[str, Any]:
    """The same without links, as it is part of other things."""
    return {
        **row.extra,
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id or None,
        "description": row.description,
        "options": row.options,
    }


def get(tx: Tx, role_id: str) -> Any:
    """The role's row. Raises ResourceNotFound."""
    return row_or_fault(tx, _T, role_id, "role")


def _enforce(tx: Tx, req: Request, verb: str, row: Any, domain_id: str | None) -> None:
    """Roles of a domain have rules of their own."""
    kind = "domain_role" if domain_id else "role"
    target = {"role": plain(row) if row is not None else {}, **own_domain(tx, req)}
    req.enforce(f"identity:{verb}_{kind}", {**req.own_target(), "target": target})


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Roles of the cloud, or of one domain when that is asked for."""
    domain_id = req.param("domain_id")
    req.enforce("identity:list_domain_roles" if domain_id else "identity:list_roles")
    where = [] if domain_id else [_T.c.domain_id == ""]
    found = rows(tx, req, _T, ("name", "domain_id"), *where)
    if not domain_id and not req.allows("identity:create_role") and not req.caller.system_scope:
        # A domain's manager sees the roles that a manager may give.
        found = [row for row in found if row.name in ("manager", "member", "reader")] or found
    return collection(req, "roles", [view(req, row) for row in found])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One role."""
    row = tx.first(select(_T).where(_T.c.id == req["role_id"]))
    _enforce(tx, req, "get", row, row.domain_id if row is not None else None)
    return {"role": view(req, get(tx, req["role_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new role."""
    known, extra = split(body(req, "role", CREATE), _COLUMNS)
    domain_id = known.get("domain_id") or ""
    _enforce(tx, req, "create", None, domain_id)
    if domain_id:
        get_domain(tx, domain_id)
    name, role_id = known["name"].strip(), new_hex()
    with unique(duplicate("role", name, domain_id)):
        tx.execute(
            insert(_T).values(
                id=role_id,
                name=name,
                domain_id=domain_id,
                description=known.get("description"),
                options=merged_options({}, known.get("options")),
                extra=extra,
            )
        )
    return {"role": view(req, get(tx, role_id))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Rename or describe."""
    role_id = req["role_id"]
    row = tx.first(select(_T).where(_T.c.id == role_id))
    _enforce(tx, req, "update", row, row.domain_id if row is not None else None)
    row = get(tx, role_id)
    values = body(req, "role", UPDATE)
    require_same_id(values, role_id)
    check_immutable(row.options, values.get("options"), "role", role_id)
    known, extra = split(values, _COLUMNS)
    if (known.get("domain_id", row.domain_id) or "") != row.domain_id:
        raise ValidationError("Cannot change Domain ID")
    changed: dict[str, Any] = {k: known[k] for k in ("name", "description") if k in known}
    if "options" in known:
        changed["options"] = merged_options(row.options, known["options"])
    if extra:
        changed["extra"] = {**row.extra, **extra}
    if changed:
        with unique(duplicate("role", changed.get("name"), row.domain_id)):
            tx.execute(update(_T).where(_T.c.id == role_id).values(**changed))
    epoch.advance(tx)
    return {"role": view(req, get(tx, role_id))}


def remove(tx: Tx, req: Request) -> Response:
    """Delete the role; whoever had it has it no longer."""
    role_id = req["role_id"]
    row = tx.first(select(_T).where(_T.c.id == role_id))
    _enforce(tx, req, "delete", row, row.domain_id if row is not None else None)
    check_deletable(get(tx, role_id).options, "role", role_id)
    tx.execute(delete(models.assignment).where(models.assignment.c.role_id == role_id))
    tx.execute(delete(_I).where((_I.c.prior_role_id == role_id) | (_I.c.implied_role_id == role_id)))
    tx.execute(delete(_T).where(_T.c.id == role_id))
    epoch.advance(tx)
    return Response(204)


def _linked(req: Request, row: Any) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": {"self": req.url(f"/v3/roles/{row.id}")}}


def _implication(tx: Tx, req: Request) -> dict[str, Any]:
    prior, implied = get(tx, req["prior_role_id"]), get(tx, req["implied_role_id"])
    same = (_I.c.prior_role_id == prior.id, _I.c.implied_role_id == implied.id)
    if tx.first(select(_I).where(*same)) is None:
        raise NotFound(f"{prior.id} does not imply {implied.id}.")
    return {
        "role_inference": {"prior_role": _linked(req, prior), "implies": _linked(req, implied)},
        "links": {"self": req.url(f"/v3/roles/{prior.id}/implies/{implied.id}")},
    }


def implied(tx: Tx, req: Request) -> dict[str, Any]:
    """What the role implies directly."""
    prior = get(tx, req["prior_role_id"])
    statement = select(_T).join(_I, _I.c.implied_role_id == _T.c.id).where(_I.c.prior_role_id == prior.id)
    found = tx.all(statement.order_by(_T.c.id))
    return {
        "role_inference": {
            "prior_role": _linked(req, prior),
            "implies": [_linked(req, row) for row in found],
        },
        "links": {"self": req.url(f"/v3/roles/{prior.id}/implies")},
    }


def show_implied(tx: Tx, req: Request) -> dict[str, Any]:
    """One implication."""
    return _implication(tx, req)


def check_implied(tx: Tx, req: Request) -> Response:
    """204 when it is so."""
    _implication(tx, req)
    return Response(204)


def imply(tx: Tx, req: Request) -> dict[str, Any]:
    """From now on the first implies the second. Idempotent."""
    prior, other = get(tx, req["prior_role_id"]), get(tx, req["implied_role_id"])
    if other.name in NEVER_IMPLIED:
        raise Forbidden(f"{other.id} cannot be an implied roles.")
    if prior.domain_id == "" and other.domain_id != "":
        raise _no_domain_role(other.id)
    same = (_I.c.prior_role_id == prior.id, _I.c.implied_role_id == other.id)
    if tx.first(select(_I).where(*same)) is None:
        tx.execute(insert(_I).values(prior_role_id=prior.id, implied_role_id=other.id))
        epoch.advance(tx)
    return _implication(tx, req)


def _no_domain_role(role_id: str) -> Fault:
    return Forbidden(f"{role_id} cannot be an implied roles.")


def no_longer_imply(tx: Tx, req: Request) -> Response:
    """The implication ends."""
    _implication(tx, req)
    same = (_I.c.prior_role_id == req["prior_role_id"], _I.c.implied_role_id == req["implied_role_id"])
    tx.execute(delete(_I).where(*same))
    epoch.advance(tx)
    return Response(204)


def inferences(tx: Tx, req: Request) -> dict[str, Any]:
    """All implications."""
    by_id = {row.id: row for row in tx.all(select(_T))}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in tx.all(select(_I).order_by(_I.c.prior_role_id, _I.c.implied_role_id)):
        found.setdefault(row.prior_role_id, []).append(_linked(req, by_id[row.implied_role_id]))
    return {
        "role_inferences": [
            {"prior_role": _linked(req, by_id[key]), "implies": implied} for key, implied in found.items()
        ],
        "links": {"self": req.url("/v3/role_inferences")},
    }
