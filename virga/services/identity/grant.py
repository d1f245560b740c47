"""Grants: a role for a user or a group, on a project, a domain or the system; inherited downwards or not.

The URL says it all: ``/v3/projects/P/users/U/roles/R``, ``/v3/OS-INHERIT/domains/D/groups/G/roles/R/inherited_to_projects``,
``/v3/system/users/U/roles/R``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, insert, select

from virga.api.faults import Forbidden, NotFound
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.identity import domain, epoch, group, models, project, role, user
from virga.services.identity.effective import SYSTEM_ID
from virga.services.identity.listing import collection

_A = models.assignment


@dataclass(frozen=True, slots=True)
class Place:
    """Who, on what, and whether only for what is below."""

    actor_kind: str
    actor_id: str
    target_kind: str
    target_id: str
    inherited: bool

    def where(self) -> ColumnElement[bool]:
        return and_(
            _A.c.actor_kind == self.actor_kind,
            _A.c.actor_id == self.actor_id,
            _A.c.target_kind == self.target_kind,
            _A.c.target_id == self.target_id,
            _A.c.inherited.is_(self.inherited),
        )


def _place(tx: Tx, req: Request, actor_must_exist: bool = True) -> Place:
    """Read from the URL; everything it names must exist. Raises ResourceNotFound."""
    params = req.path_params
    if "user_id" in params:
        actor_kind, actor_id = "user", params["user_id"]
        if actor_must_exist:
            user.get(tx, actor_id)
    else:
        actor_kind, actor_id = "group", params["group_id"]
        if actor_must_exist:
            group.get(tx, actor_id)
    inherited = req.path.startswith("/v3/OS-INHERIT/")
    if "project_id" in params:
        target_kind, target_id = "project", project.get(tx, params["project_id"]).id
    elif "domain_id" in params:
        target_kind, target_id = "domain", domain.get(tx, params["domain_id"]).id
    else:
        target_kind, target_id = "system", SYSTEM_ID
    return Place(actor_kind, actor_id, target_kind, target_id, inherited)


def _missing(place: Place, role_id: str) -> NotFound:
    return NotFound(
        f"Could not find role assignment with role: {role_id}, user or group: {place.actor_id}, project, domain, "
        f"or system: {place.target_id}."
    )


def _is_granted(tx: Tx, place: Place, role_id: str) -> bool:
    return tx.first(select(_A.c.role_id).where(place.where(), _A.c.role_id == role_id)) is not None


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Roles granted right here."""
    place = _place(tx, req)
    table = models.role
    statement = select(table).join(_A, _A.c.role_id == table.c.id).where(place.where()).order_by(table.c.id)
    return collection(req, "roles", [role.view(req, row) for row in tx.all(statement)])


def check(tx: Tx, req: Request) -> Response:
    """204 when the role is granted right here, else 404."""
    place = _place(tx, req)
    role.get(tx, req["role_id"])
    if not _is_granted(tx, place, req["role_id"]):
        raise _missing(place, req["role_id"])
    return Response(204)


def create(tx: Tx, req: Request) -> Response:
    """Grant the role. Idempotent."""
    place = _place(tx, req)
    row = role.get(tx, req["role_id"])
    _check_domain_role(tx, place, row)
    if not _is_granted(tx, place, row.id):
        tx.execute(
            insert(_A).values(
                actor_kind=place.actor_kind,
                actor_id=place.actor_id,
                target_kind=place.target_kind,
                target_id=place.target_id,
                role_id=row.id,
                inherited=place.inherited,
            )
        )
        epoch.advance(tx)
    return Response(204)


def _check_domain_role(tx: Tx, place: Place, row: Any) -> None:
    """A role of a domain is good in that domain only."""
    if not row.domain_id:
        return
    if place.target_kind == "system":
        raise Forbidden(
            f"Role {row.id} is a domain-specific role. Unable to use a domain-specific role in a system assignment."
        )
    if place.target_kind == "project":
        target_domain = project.get(tx, place.target_id).domain_id or place.target_id
    else:
        target_domain = place.target_id
    if target_domain != row.domain_id:
        raise Forbidden(
            f"Project {place.target_id} must be in the same domain as the role {row.id} being assigned."
        )


def remove(tx: Tx, req: Request) -> Response:
    """Take the role away; tokens that used it lose it at once."""
    place = _place(tx, req, actor_must_exist=False)
    role.get(tx, req["role_id"])
    if not _is_granted(tx, place, req["role_id"]):
        raise _missing(place, req["role_id"])
    tx.execute(delete(_A).where(place.where(), _A.c.role_id == req["role_id"]))
    if place.actor_kind == "user" and place.target_kind == "project":
        # They were made of the user's roles there, and must not come back to life with a new grant.
        table = models.application_credential
        mine = (table.c.user_id == place.actor_id, table.c.project_id == place.target_id)
        tx.execute(delete(table).where(*mine))
    epoch.advance(tx)
    return Response(204)
