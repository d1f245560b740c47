"""``/v3/projects``: what resources belong to, in a hierarchy under a domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, exists, insert, select, update

from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import effective, epoch, models
from virga.services.identity.bootstrap import DOMAIN_ID
from virga.services.identity.effective import Scope
from virga.services.identity.faults import ResourceConflict, ValidationError
from virga.services.identity.listing import collection, is_true, rows
from virga.services.identity.project_tag import LIST, replace_tags, tags_of
from virga.services.identity.removal import remove_project, subtree
from virga.services.identity.resource import (
    body,
    boolean,
    check_deletable,
    check_immutable,
    merged_options,
    require_same_id,
    row_or_fault,
    split,
    unique,
)
from virga.services.identity.schema import (
    FLEXIBLE_BOOLEAN,
    ID,
    OPTIONS,
    SHORT_NAME,
    Checker,
    nullable,
    wrapped,
)

_T = models.project
MAX_DEPTH = 5
FILTERS = ("domain_id", "enabled", "name", "parent_id", "is_domain")
_COLUMNS = ("name", "domain_id", "parent_id", "description", "enabled", "is_domain", "options", "tags")
_COMMON: dict[str, Any] = {
    "description": {"type": ["string", "null"]},
    "enabled": FLEXIBLE_BOOLEAN,
    "name": SHORT_NAME,
    "options": OPTIONS,
    "tags": LIST,
}
CREATE = Checker(
    wrapped(
        "project",
        {**_COMMON, "domain_id": nullable(ID), "parent_id": nullable(ID), "is_domain": FLEXIBLE_BOOLEAN},
        ("name",),
    )
)
UPDATE = Checker(wrapped("project", _COMMON))


def view(req: Request, row: Any, tags: Sequence[str]) -> dict[str, Any]:
    """A project as clients see it."""
    return {
        **row.extra,
        "id": row.id,
        "name": row.name,
        "domain_id": row.domain_id or None,
        "description": row.description,
        "enabled": row.enabled,
        "parent_id": row.parent_id,
        "is_domain": row.is_domain,
        "tags": list(tags),
        "options": row.options,
        "links": {"self": req.url(f"/v3/projects/{row.id}")},
    }


def views(tx: Tx, req: Request, found: Iterable[Any]) -> list[dict[str, Any]]:
    """Several projects, their tags read at once."""
    listed = list(found)
    tags = tags_of(tx, [row.id for row in listed])
    return [view(req, row, tags.get(row.id, ())) for row in listed]


def get(tx: Tx, project_id: str) -> Any:
    """The project's row (a domain is one too). Raises ResourceNotFound."""
    return row_or_fault(tx, _T, project_id, "project")


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Projects; domains only when asked for by ``is_domain``."""
    where: list[ColumnElement[bool]] = []
    if req.param("is_domain") is None:
        where.append(_T.c.is_domain.is_(False))
    if req.caller.domain_id:
        where.append(_T.c.domain_id == req.caller.domain_id)
    where += _tag_conditions(req)
    return collection(req, "projects", views(tx, req, rows(tx, req, _T, FILTERS, *where)))


def _tag_conditions(req: Request) -> list[ColumnElement[bool]]:
    table = models.project_tag

    def has(tag: str) -> ColumnElement[bool]:
        return exists().where(table.c.project_id == _T.c.id, table.c.name == tag)

    def words(name: str) -> list[str]:
        return [tag for text in req.params(name) for tag in text.split(",") if tag]

    found = [has(tag) for tag in words("tags")]
    if words("tags-any"):
        found.append(exists().where(table.c.project_id == _T.c.id, table.c.name.in_(words("tags-any"))))
    if words("not-tags"):
        every = has(words("not-tags")[0])
        for tag in words("not-tags")[1:]:
            every = every & has(tag)
        found.append(~every)
    if words("not-tags-any"):
        found.append(~exists().where(table.c.project_id == _T.c.id, table.c.name.in_(words("not-tags-any"))))
    return found


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One project, on request with its parents or its subtree."""
    row = get(tx, req["project_id"])
    shown = views(tx, req, [row])[0]
    asked = {name for name in _EXPANSIONS if is_true(req.param(name))}
    for one, other in (("parents_as_list", "parents_as_ids"), ("subtree_as_list", "subtree_as_ids")):
        if {one, other} <= asked:
            raise ValidationError(f"Cannot use {one} and {other} query params at the same time.")
    for name in asked:
        shown[name.partition("_")[0]] = _EXPANSIONS[name](tx, req, row)
    return {"project": shown}


def _visible(tx: Tx, req: Request, ids: list[str]) -> list[dict[str, Any]]:
    """Those of the projects that the caller has a role on."""
    mine = [
        project_id
        for project_id in ids
        if effective.granted_ids(tx, req.caller.user_id, Scope("project", project_id))
    ]
    found = {row.id: row for row in tx.all(select(_T).where(_T.c.id.in_(mine)))}
    return [{"project": shown} for shown in views(tx, req, [found[key] for key in mine if key in found])]


def _parents_as_list(tx: Tx, req: Request, row: Any) -> list[dict[str, Any]]:
    return _visible(tx, req, effective.ancestors(tx, row.id))


def _parents_as_ids(tx: Tx, req: Request, row: Any) -> Any:
    nested: dict[str, Any] | None = None
    for project_id in reversed(effective.ancestors(tx, row.id)):
        nested = {project_id: nested}
    return nested


def _subtree_as_list(tx: Tx, req: Request, row: Any) -> list[dict[str, Any]]:
    return _visible(tx, req, subtree(tx, row.id))


def _subtree_as_ids(tx: Tx, req: Request, row: Any) -> Any:
    children = tx.all(select(_T).where(_T.c.parent_id == row.id, _T.c.is_domain.is_(False)))
    return {child.id: _subtree_as_ids(tx, req, child) for child in children} or None


_EXPANSIONS = {
    "parents_as_list": _parents_as_list,
    "parents_as_ids": _parents_as_ids,
    "subtree_as_list": _subtree_as_list,
    "subtree_as_ids": _subtree_as_ids,
}


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """A new project."""
    values = body(req, "project", CREATE)
    known, extra = split(values, _COLUMNS)
    is_domain = boolean(known.get("is_domain", False))
    domain_id, parent_id = "", None
    if is_domain:
        if known.get("parent_id") or known.get("domain_id"):
            raise ValidationError("only root projects are allowed to act as domains.")
    else:
        domain_id = known.get("domain_id") or _domain_for(tx, req, known.get("parent_id"))
        parent_id = known.get("parent_id") or domain_id
        _check_place(tx, domain_id, parent_id)
    name, project_id = known["name"].strip(), new_hex()
    with unique(_taken(name, project_id, is_domain)):
        tx.execute(
            insert(_T).values(
                id=project_id,
                name=name,
                domain_id=domain_id,
                parent_id=parent_id,
                description=known.get("description") or "",
                enabled=boolean(known.get("enabled", True)),
                is_domain=is_domain,
                options=merged_options({}, known.get("options")),
                extra=extra,
            )
        )
    replace_tags(tx, project_id, known.get("tags", []))
    return {"project": views(tx, req, [get(tx, project_id)])[0]}


def _domain_for(tx: Tx, req: Request, parent_id: str | None) -> str:
    """Where a project lands that names no domain: with its parent, or where the caller is."""
    if parent_id:
        parent = tx.first(select(_T).where(_T.c.id == parent_id))
        if parent is not None:
            return str(parent.domain_id or parent.id)
    return req.caller.domain_id or req.caller.project_domain_id or DOMAIN_ID


def _check_place(tx: Tx, domain_id: str, parent_id: str) -> None:
    domain = tx.first(select(_T).where(_T.c.id == domain_id, _T.c.is_domain))
    if domain is None:
        raise ValidationError(f"Could not find domain: {domain_id}.")
    parent = tx.first(select(_T).where(_T.c.id == parent_id))
    if parent is None:
        raise ValidationError(f"Could not find project: {parent_id}.")
    if parent.is_domain and parent.id != domain_id:
        raise ValidationError(
            f"Cannot create project, the parent ({parent_id}) is acting as a domain, but this project's "
            f"domain id ({domain_id}) does not match the parent's id."
        )
    if not parent.is_domain and parent.domain_id != domain_id:
        raise ValidationError(
            f"Cannot create project, since it specifies its domain_id {domain_id}, but specifies a parent "
            f"in a different domain ({parent.domain_id})."
        )
    above = [parent_id, *effective.ancestors(tx, parent_id)]
    for row in tx.all(select(_T.c.id).where(_T.c.id.in_(above), _T.c.enabled.is_(False))):
        raise ValidationError(f"cannot create a project in a branch containing a disabled project: {row.id}")
    if len(above) > MAX_DEPTH:
        raise Forbidden(f"Max hierarchy depth reached for {parent_id} branch.")


def _taken(name: str, project_id: str, is_domain: bool) -> ResourceConflict:
    if is_domain:
        return ResourceConflict(
            "project",
            f"it is not permitted to have two projects acting as domains with the same name: {name}",
        )
    return ResourceConflict(
        "project",
        "it is not permitted to have two projects with either the same name or same id in the same domain: "
        f"name is {name}, project id {project_id}",
    )


def change(tx: Tx, req: Request) -> dict[str, Any]:
    """Rename, describe, tag, enable or disable."""
    project_id = req["project_id"]
    row = get(tx, project_id)
    values = body(req, "project", UPDATE)
    require_same_id(values, project_id)
    check_immutable(row.options, values.get("options"), "domain" if row.is_domain else "project", project_id)
    _check_fixed(row, values)
    known, extra = split(values, _COLUMNS)
    changed: dict[str, Any] = {name: known[name] for name in ("name", "description") if name in known}
    if "enabled" in known:
        changed["enabled"] = boolean(known["enabled"])
        _check_switch(tx, row, changed["enabled"])
    if "options" in known:
        changed["options"] = merged_options(row.options, known["options"])
    if extra:
        changed["extra"] = {**row.extra, **extra}
    if changed:
        with unique(_taken(changed.get("name", row.name), project_id, row.is_domain)):
            tx.execute(update(_T).where(_T.c.id == project_id).values(**changed))
    if "tags" in known:
        replace_tags(tx, project_id, known["tags"])
    if row.enabled and changed.get("enabled") is False:
        epoch.revoke(tx, f"project:{project_id}", f"domain:{project_id}")
    epoch.advance(tx)
    return {"project": views(tx, req, [get(tx, project_id)])[0]}


def _check_fixed(row: Any, values: dict[str, Any]) -> None:
    if "parent_id" in values and values["parent_id"] != row.parent_id:
        raise Forbidden("Update of `parent_id` is not allowed.")
    if "is_domain" in values and boolean(values["is_domain"]) != row.is_domain:
        raise ValidationError("Update of `is_domain` is not allowed.")
    if "domain_id" in values and (values["domain_id"] or "") != row.domain_id:
        raise ValidationError("Cannot change Domain ID")


def _check_switch(tx: Tx, row: Any, enabled: bool) -> None:
    """A project is enabled under enabled ones, and disabled above disabled ones."""
    if enabled and not row.enabled:
        above = effective.ancestors(tx, row.id)
        if tx.first(select(_T.c.id).where(_T.c.id.in_(above), _T.c.enabled.is_(False))) is not None:
            raise Forbidden(f"Cannot enable project {row.id} since it has disabled parents")
    if not enabled and row.enabled and not row.is_domain:
        below = subtree(tx, row.id)
        if tx.first(select(_T.c.id).where(_T.c.id.in_(below), _T.c.enabled)) is not None:
            raise Forbidden(f"Cannot disable project {row.id} since its subtree contains enabled projects.")


def remove(tx: Tx, req: Request) -> Response:
    """Delete a project that has none below it."""
    project_id = req["project_id"]
    row = get(tx, project_id)
    check_deletable(row.options, "project", project_id)
    if row.is_domain and row.enabled:
        raise ValidationError(
            f"cannot delete an enabled project acting as a domain. Please disable the project {project_id} first."
        )
    if tx.first(select(_T.c.id).where(_T.c.parent_id == project_id)) is not None:
        raise Forbidden(
            f"Cannot delete the project {project_id} since it is not a leaf in the hierarchy. Use the cascade "
            "option if you want to delete a whole subtree."
        )
    remove_project(tx, project_id)
    return Response(204)


def of_user(tx: Tx, user_id: str) -> list[Any]:
    """Rows of all projects that the user has a role on, whatever way."""
    return _held(tx, user_id, domains=False)


def domains_of_user(tx: Tx, user_id: str) -> list[Any]:
    """Rows of all domains that the user has a role on directly."""
    return _held(tx, user_id, domains=True)


def _held(tx: Tx, user_id: str, domains: bool) -> list[Any]:
    table = models.assignment
    groups = effective.groups_of(tx, user_id)
    mine = ((table.c.actor_kind == "user") & (table.c.actor_id == user_id)) | (
        (table.c.actor_kind == "group") & table.c.actor_id.in_(groups)
    )
    kind = "domain" if domains else "project"
    grants = tx.all(select(table.c.target_kind, table.c.target_id, table.c.inherited).where(mine))
    ids = {row.target_id for row in grants if row.target_kind == kind and not row.inherited}
    if not domains:
        for row in grants:
            if row.inherited:
                ids.update(subtree(tx, row.target_id))
    return list(tx.all(select(_T).where(_T.c.id.in_(ids)).order_by(_T.c.id)))
