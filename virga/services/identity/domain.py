"""``/v3/domains``: containers of users, groups and projects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, delete, insert, select, update

from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import epoch, models
from virga.services.identity.bootstrap import DOMAIN_ID
from virga.services.identity.faults import ResourceConflict, ResourceNotFound
from virga.services.identity.listing import collection, rows
from virga.services.identity.project_tag import NAME as TAG
from virga.services.identity.project_tag import replace_tags, tags_of
from virga.services.identity.removal import remove_group, remove_project, remove_user
from virga.services.identity.resource import (
    body,
    boolean,
    check_deletable,
    check_immutable,
    merged_options,
    require_same_id,
    unique,
)
from virga.services.identity.schema import FLEXIBLE_BOOLEAN, ID, OPTIONS, SHORT_NAME, Checker, wrapped

_T = models.project
_PROPERTIES: dict[str, Any] = {
    "description": {"type": ["string", "null"], "maxLength": 255},
    "enabled": FLEXIBLE_BOOLEAN,
    "name": SHORT_NAME,
    "options": OPTIONS,
    "tags": {"type": "array", "items": TAG, "maxItems": 80, "uniqueItems": True},
}
CREATE = Checker(wrapped("domain", {"explicit_domain_id": ID, **_PROPERTIES}, ("name",)))
UPDATE = Checker(wrapped("domain", _PROPERTIES, minProperties=1))


def view(req: Request, row: Any, tags: list[str]) -> dict[str, Any]:
    """A domain as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "enabled": row.enabled,
        "tags": tags,
        "options": row.options,
        "links": {"self": req.url(f"/v3/domains/{row.id}")},
    }


def get(tx: Tx, domain_id: str) -> Any:
    """The domain's row. Raises ResourceNotFound."""
    row = tx.first(select(_T).where(_T.c.id == domain_id, _T.c.is_domain))
    if row is None:
        raise ResourceNotFound("domain", domain_id)
    return row


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All domains; somebody scoped to one sees that one."""
    where: list[ColumnElement[bool]] = [_T.c.is_domain.is_(True)]
    if req.caller.domain_id:
        where.append(_T.c.id == req.caller.domain_id)
    found = rows(tx, req, _T, ("name", "enabled"), *where)
    tags = tags_of(tx, [row.id for row in found])
    return collection(req, "domains", [view(req, row, tags.get(row.id, [])) for row in found])


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One domain."""
    row = get(tx, req["domain_id"])
    return {"domain": view(req, row, tags_of(tx, [row.id]).get(row.id, []))}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new domain."""
    values = body(req, "domain", CREATE)
    domain_id = values.pop("explicit_domain_id", None) or new_hex()
    name = values.pop("name").strip()
    conflict = ResourceConflict("domain", f"Duplicate entry found with name {name}")
    with unique(conflict):
        tx.execute(
            insert(_T).values(
                id=domain_id,
                name=name,
                domain_id="",
                parent_id=None,
                description=values.get("description") or "",
                enabled=boolean(values.get("enabled", True)),
                is_domain=True,
                options=merged_options({}, values.get("options")),
                extra={},
            )
        )
    replace_tags(tx, domain_id, values.get("tags", []))
    row = get(tx, domain_id)
    return {"domain": view(req, row, values.get("tags", []))}


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Rename, describe, enable or disable; disabling ends all tokens of the domain."""
    domain_id = req["domain_id"]
    row = get(tx, domain_id)
    values = body(req, "domain", UPDATE)
    require_same_id(values, domain_id)
    check_immutable(row.options, values.get("options"), "domain", domain_id)
    changed: dict[str, Any] = {name: values[name] for name in ("name", "description") if name in values}
    if "enabled" in values:
        changed["enabled"] = boolean(values["enabled"])
    if "options" in values:
        changed["options"] = merged_options(row.options, values["options"])
    if changed:
        conflict = ResourceConflict("domain", f"Duplicate entry found with name {changed.get('name')}")
        with unique(conflict):
            tx.execute(update(_T).where(_T.c.id == domain_id).values(**changed))
    if "tags" in values:
        replace_tags(tx, domain_id, values["tags"])
    if changed.get("enabled") is False and row.enabled:
        epoch.revoke(tx, f"domain:{domain_id}")
    epoch.advance(tx)
    return show(tx, req)


def remove(tx: Tx, req: Request) -> Response:
    """Delete the domain with all that is in it; it must have been disabled."""
    domain_id = req["domain_id"]
    row = get(tx, domain_id)
    check_deletable(row.options, "domain", domain_id)
    if row.enabled:
        raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
    if domain_id == DOMAIN_ID:
        raise Forbidden("You are not authorized to perform the requested action: delete the default domain.")
    for user in tx.all(select(models.user.c.id).where(models.user.c.domain_id == domain_id)):
        remove_user(tx, user.id)
    for group in tx.all(select(models.group.c.id).where(models.group.c.domain_id == domain_id)):
        remove_group(tx, group.id)
    for item in tx.all(select(_T.c.id).where(_T.c.domain_id == domain_id)):
        remove_project(tx, item.id)
    for role in tx.all(select(models.role.c.id).where(models.role.c.domain_id == domain_id)):
        tx.execute(delete(models.assignment).where(models.assignment.c.role_id == role.id))
        tx.execute(delete(models.role).where(models.role.c.id == role.id))
    remove_project(tx, domain_id)
    return Response(204)
