"""``/v3/registered_limits`` and ``/v3/limits``: how much of something a project or domain may have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from virga.api.faults import Forbidden, NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import models
from virga.services.identity.faults import ResourceConflict, ValidationError
from virga.services.identity.listing import collection, filtered
from virga.services.identity.resource import unique
from virga.services.identity.schema import ID, NAME, Checker, nullable, wrapped

_R = models.registered_limit
_L = models.limit
_NUMBER = {"type": "integer", "minimum": -1, "maximum": 0x7FFFFFFF}
_UUID = {"type": "string", "format": "uuid"}
_REGION = {"type": ["string", "null"], "minLength": 1, "maxLength": 255}
_TEXT = {"type": ["string", "null"], "maxLength": 255}
_REGISTERED: dict[str, Any] = {
    "service_id": _UUID,
    "region_id": _REGION,
    "resource_name": NAME,
    "default_limit": _NUMBER,
    "description": _TEXT,
}
_LIMIT: dict[str, Any] = {
    "service_id": _UUID,
    "region_id": _REGION,
    "resource_name": NAME,
    "resource_limit": _NUMBER,
    "description": _TEXT,
    "project_id": nullable(ID),
    "domain_id": nullable(ID),
}


def _many(key: str, properties: dict[str, Any], required: tuple[str, ...], **rules: Any) -> Checker:
    item = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": list(required),
        **rules,
    }
    return Checker(
        {
            "type": "object",
            "properties": {key: {"type": "array", "items": item, "minItems": 1}},
            "required": [key],
            "additionalProperties": False,
        }
    )


CREATE_REGISTERED = _many("registered_limits", _REGISTERED, ("service_id", "resource_name", "default_limit"))
UPDATE_REGISTERED = Checker(wrapped("registered_limit", _REGISTERED, additionalProperties=False))
CREATE = _many(
    "limits",
    _LIMIT,
    ("service_id", "resource_name", "resource_limit"),
    oneOf=[{"required": ["project_id"]}, {"required": ["domain_id"]}],
)
UPDATE = Checker(
    wrapped("limit", {"resource_limit": _NUMBER, "description": _TEXT}, additionalProperties=False)
)
MODEL = {
    "model": {
        "name": "flat",
        "description": "Limit enforcement and validation does not take project hierarchy into consideration.",
    }
}


def _registered_view(req: Request, row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "service_id": row.service_id,
        "region_id": row.region_id or None,
        "resource_name": row.resource_name,
        "default_limit": row.default_limit,
        "description": row.description,
        "links": {"self": req.url(f"/v3/registered_limits/{row.id}")},
    }


def _get_registered(tx: Tx, key: str) -> Any:
    row = tx.first(select(_R).where(_R.c.id == key))
    if row is None:
        raise NotFound(f"Could not find registered limit for {key}.")
    return row


def registered_index(tx: Tx, req: Request) -> dict[str, Any]:
    """All registered limits."""
    shown = [_registered_view(req, row) for row in tx.all(select(_R).order_by(_R.c.id))]
    return collection(
        req, "registered_limits", filtered(req, shown, ("service_id", "region_id", "resource_name"))
    )


def registered_show(tx: Tx, req: Request) -> dict[str, Any]:
    """One of them."""
    return {"registered_limit": _registered_view(req, _get_registered(tx, req["registered_limit_id"]))}


def _check_place(tx: Tx, service_id: str, region_id: str | None) -> None:
    table = models.service
    if tx.first(select(table.c.id).where(table.c.id == service_id)) is None:
        raise ValidationError(f"Could not find service: {service_id}.")
    if region_id and tx.first(select(models.region.c.id).where(models.region.c.id == region_id)) is None:
        raise ValidationError(f"Could not find region: {region_id}.")


def registered_create(tx: Tx, req: Request) -> dict[str, Any]:
    """Several at once, all or none."""
    CREATE_REGISTERED.check(req.body if req.body is not None else {})
    made = []
    for item in req.body["registered_limits"]:
        _check_place(tx, item["service_id"], item.get("region_id"))
        limit_id = new_hex()
        with unique(ResourceConflict("registered_limit", "Duplicate entry")):
            tx.execute(
                insert(_R).values(
                    id=limit_id,
                    service_id=item["service_id"],
                    region_id=item.get("region_id") or "",
                    resource_name=item["resource_name"],
                    default_limit=item["default_limit"],
                    description=item.get("description"),
                )
            )
        made.append(_registered_view(req, _get_registered(tx, limit_id)))
    return {"registered_limits": made, "links": {"self": req.url(req.path), "next": None, "previous": None}}


def _is_used(tx: Tx, row: Any) -> bool:
    return tx.first(select(_L.c.id).where(_L.c.registered_limit_id == row.id)) is not None


def _in_use(row: Any) -> Forbidden:
    return Forbidden(
        f"Unable to update or delete registered limit {row.id} because there are project limits associated with it."
    )


def registered_change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change one; what limits hang on stays as it is."""
    row = _get_registered(tx, req["registered_limit_id"])
    UPDATE_REGISTERED.check(req.body if req.body is not None else {})
    values = dict(req.body["registered_limit"])
    if _is_used(tx, row) and set(values) & {"service_id", "region_id", "resource_name"}:
        raise _in_use(row)
    if "region_id" in values:
        values["region_id"] = values["region_id"] or ""
    _check_place(tx, values.get("service_id", row.service_id), values.get("region_id"))
    if values:
        with unique(ResourceConflict("registered_limit", "Duplicate entry")):
            tx.execute(update(_R).where(_R.c.id == row.id).values(**values))
    return registered_show(tx, req)


def registered_remove(tx: Tx, req: Request) -> Response:
    """Delete one that no limit hangs on."""
    row = _get_registered(tx, req["registered_limit_id"])
    if _is_used(tx, row):
        raise _in_use(row)
    tx.execute(delete(_R).where(_R.c.id == row.id))
    return Response(204)


def _view(req: Request, row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "project_id": row.project_id or None,
        "domain_id": row.domain_id or None,
        "service_id": row.service_id,
        "region_id": row.region_id or None,
        "resource_name": row.resource_name,
        "resource_limit": row.resource_limit,
        "description": row.description,
        "links": {"self": req.url(f"/v3/limits/{row.id}")},
    }


_JOINED = select(_L, _R.c.service_id, _R.c.region_id, _R.c.resource_name).join(
    _R, _R.c.id == _L.c.registered_limit_id
)


def _get(tx: Tx, key: str) -> Any:
    row = tx.first(_JOINED.where(_L.c.id == key))
    if row is None:
        raise NotFound(f"Could not find limit for {key}.")
    return row


def model(tx: Tx, req: Request) -> dict[str, Any]:
    """How limits are enforced."""
    return MODEL


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Limits; those of the caller's own scope, or all for who may see all."""
    caller = req.caller
    statement = _JOINED.order_by(_L.c.id)
    if not caller.is_admin and not caller.system_scope:
        if caller.domain_id:
            statement = statement.where(_L.c.domain_id == caller.domain_id)
        else:
            statement = statement.where(_L.c.project_id == (caller.project_id or "-"))
    shown = [_view(req, row) for row in tx.all(statement)]
    names = ("service_id", "region_id", "resource_name", "project_id", "domain_id")
    return collection(req, "limits", filtered(req, shown, names))


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One limit."""
    return {"limit": _view(req, _get(tx, req["limit_id"]))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """Several at once, all or none."""
    CREATE.check(req.body if req.body is not None else {})
    made = []
    for item in req.body["limits"]:
        registered = tx.first(
            select(_R).where(
                _R.c.service_id == item["service_id"],
                _R.c.region_id == (item.get("region_id") or ""),
                _R.c.resource_name == item["resource_name"],
            )
        )
        if registered is None:
            raise Forbidden("Unable to create a limit that has no corresponding registered limit.")
        limit_id = new_hex()
        with unique(ResourceConflict("limit", "Duplicate entry")):
            tx.execute(
                insert(_L).values(
                    id=limit_id,
                    registered_limit_id=registered.id,
                    project_id=item.get("project_id") or "",
                    domain_id=item.get("domain_id") or "",
                    resource_limit=item["resource_limit"],
                    description=item.get("description"),
                )
            )
        made.append(_view(req, _get(tx, limit_id)))
    return {"limits": made, "links": {"self": req.url(req.path), "next": None, "previous": None}}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Change the number."""
    row = _get(tx, req["limit_id"])
    UPDATE.check(req.body if req.body is not None else {})
    if req.body["limit"]:
        tx.execute(update(_L).where(_L.c.id == row.id).values(**req.body["limit"]))
    return show(tx, req)


def remove(tx: Tx, req: Request) -> Response:
    """Back to the registered default."""
    row = _get(tx, req["limit_id"])
    tx.execute(delete(_L).where(_L.c.id == row.id))
    return Response(204)
