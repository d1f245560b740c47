"""``/v3/role_assignments``: every grant there is, or - effective - every role that somebody really has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, or_, select

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.identity import models
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection, is_true
from virga.services.identity.removal import subtree

_A = models.assignment


@dataclass(frozen=True, slots=True)
class Held:
    """A role that somebody has somewhere. ``via_*`` say how it came about."""

    actor_kind: str
    actor_id: str
    target_kind: str
    target_id: str
    role_id: str
    inherited: bool = False
    via_group: str | None = None
    via_target_kind: str | None = None
    via_target: str | None = None
    via_role: str | None = None


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """The list, filtered by role, user or group, and scope."""
    asked = {key: value for key, value in req.query if value}
    subtree_wanted = is_true(req.param("include_subtree"))
    if subtree_wanted and "scope.project.id" not in asked:
        raise ValidationError("scope.project.id must be specified if include_subtree is also specified")
    effective = is_true(req.param("effective"))
    inherited = asked.get("scope.OS-INHERIT:inherited_to")
    wants_inherited = None if inherited is None else inherited == "projects"
    _check_combinations(asked, effective, wants_inherited)
    projects = None
    if "scope.project.id" in asked:
        top = asked["scope.project.id"]
        projects = {top, *subtree(tx, top)} if subtree_wanted else {top}
    held = (
        _effective(tx, asked, wants_inherited) if effective else _direct(tx, asked, wants_inherited, projects)
    )
    if effective and projects is not None:
        held = [item for item in held if item.target_kind == "project" and item.target_id in projects]
    if req.caller.domain_id:
        held = _of_domain(tx, held, req.caller.domain_id)
    names = _Names(tx, held) if is_true(req.param("include_names")) else None
    return collection(req, "role_assignments", [_view(req, item, names) for item in held])


def _check_combinations(asked: dict[str, str], effective: bool, inherited: bool | None) -> None:
    pairs = (
        ("scope.domain.id", "scope.project.id", "Specify a domain or project, not both"),
        ("scope.domain.id", "scope.system", "Specify system or domain, not both"),
        ("scope.project.id", "scope.system", "Specify system or project, not both"),
        ("user.id", "group.id", "Specify a user or group, not both"),
    )
    for one, other, sentence in pairs:
        if one in asked and other in asked:
            raise ValidationError(sentence)
    if effective and "group.id" in asked:
        raise ValidationError("Combining effective and group filter will always result in an empty list.")
    if effective and inherited and "scope.domain.id" in asked:
        raise ValidationError(
            "Combining effective, domain and inherited filters will always result in an empty list."
        )


def _all(tx: Tx, *where: ColumnElement[bool]) -> list[Held]:
    order = (_A.c.target_kind, _A.c.target_id, _A.c.actor_id, _A.c.role_id)
    return [Held(**row._mapping) for row in tx.all(select(_A).where(*where).order_by(*order))]


def _direct(tx: Tx, asked: dict[str, str], inherited: bool | None, projects: set[str] | None) -> list[Held]:
    """Grants as they were made."""
    where: list[ColumnElement[bool]] = []
    if "role.id" in asked:
        where.append(_A.c.role_id == asked["role.id"])
    for kind in ("user", "group"):
        if f"{kind}.id" in asked:
            where += [_A.c.actor_kind == kind, _A.c.actor_id == asked[f"{kind}.id"]]
    if projects is not None:
        where += [_A.c.target_kind == "project", _A.c.target_id.in_(projects)]
    if "scope.domain.id" in asked:
        where += [_A.c.target_kind == "domain", _A.c.target_id == asked["scope.domain.id"]]
    if "scope.system" in asked:
        where.append(_A.c.target_kind == "system")
    if inherited is not None:
        where.append(_A.c.inherited.is_(inherited))
    return _all(tx, *where)


def _effective(tx: Tx, asked: dict[str, str], inherited: bool | None) -> list[Held]:
    """Groups become their members, inheritance becomes the projects below, roles bring what they imply."""
    held: list[Held] = []
    for item in _by_user(tx, asked.get("user.id")):
        held += _below(tx, item) if item.inherited else [item]
    if inherited is not None:
        held = [item for item in held if (item.via_target is not None) == inherited]
    if "scope.domain.id" in asked:
        wanted = asked["scope.domain.id"]
        held = [item for item in held if item.target_kind == "domain" and item.target_id == wanted]
    if "scope.system" in asked:
        held = [item for item in held if item.target_kind == "system"]
    held = _with_implied(tx, held)
    if "role.id" in asked:
        held = [item for item in held if item.role_id == asked["role.id"]]
    return list(dict.fromkeys(held))


def _by_user(tx: Tx, user_id: str | None) -> list[Held]:
    member = models.membership
    rows = tx.all(select(member) if user_id is None else select(member).where(member.c.user_id == user_id))
    members: dict[str, list[str]] = {}
    for row in rows:
        members.setdefault(row.group_id, []).append(row.user_id)
    grants = _all(tx)
    if user_id is not None:
        grants = _all(tx, or_(_A.c.actor_id == user_id, _A.c.actor_id.in_(list(members))))
    found: list[Held] = []
    for item in grants:
        if item.actor_kind == "user":
            found.append(item)
        else:
            found += [
                replace(item, actor_kind="user", actor_id=one, via_group=item.actor_id)
                for one in members.get(item.actor_id, ())
            ]
    return found


def _below(tx: Tx, item: Held) -> list[Held]:
    return [
        replace(
            item,
            target_kind="project",
            target_id=project_id,
            inherited=False,
            via_target_kind=item.target_kind,
            via_target=item.target_id,
        )
        for project_id in subtree(tx, item.target_id)
    ]


def _with_implied(tx: Tx, held: list[Held]) -> list[Held]:
    implied: dict[str, list[str]] = {}
    for row in tx.all(select(models.implied_role)):
        implied.setdefault(row.prior_role_id, []).append(row.implied_role_id)
    of_domain = {row.id for row in tx.all(select(models.role.c.id).where(models.role.c.domain_id != ""))}
    found: list[Held] = []
    for item in held:
        seen = {item.role_id}
        waiting = [item]
        while waiting:
            current = waiting.pop(0)
            found.append(current)
            for role_id in implied.get(current.role_id, ()):
                if role_id not in seen:
                    seen.add(role_id)
                    waiting.append(replace(current, role_id=role_id, via_role=current.role_id))
    return [item for item in found if item.role_id not in of_domain]


def _of_domain(tx: Tx, held: list[Held], domain_id: str) -> list[Held]:
    table = models.project
    mine = {row.id for row in tx.all(select(table.c.id).where(table.c.domain_id == domain_id))} | {domain_id}
    return [item for item in held if item.target_kind != "system" and item.target_id in mine]


class _Names:
    """Names of everything in a list, read at once."""

    def __init__(self, tx: Tx, held: list[Held]) -> None:
        self.users = self._read(tx, models.user, {i.actor_id for i in held if i.actor_kind == "user"})
        self.groups = self._read(tx, models.group, {i.actor_id for i in held if i.actor_kind == "group"})
        self.roles = self._read(tx, models.role, {i.role_id for i in held})
        self.targets = self._read(
            tx, models.project, {i.target_id for i in held if i.target_kind != "system"}
        )
        rows = [*self.users.values(), *self.groups.values(), *self.roles.values(), *self.targets.values()]
        self.domains = self._read(tx, models.project, {row.domain_id for row in rows if row.domain_id})

    @staticmethod
    def _read(tx: Tx, table: Any, ids: Iterable[str]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        listed = list(ids)
        for start in range(0, len(listed), 500):
            part = listed[start : start + 500]
            for row in tx.all(select(table).where(table.c.id.in_(part))):
                found[row.id] = row
        return found

    def entry(self, rows: dict[str, Any], key: str) -> dict[str, Any]:
        """``{id, name, domain}``"""
        row = rows.get(key)
        if row is None:
            return {"id": key}
        shown: dict[str, Any] = {"id": key, "name": row.name}
        if row.domain_id and row.domain_id in self.domains:
            shown["domain"] = {"id": row.domain_id, "name": self.domains[row.domain_id].name}
        return shown


def _view(req: Request, item: Held, names: _Names | None) -> dict[str, Any]:
    def entry(rows: dict[str, Any] | None, key: str) -> dict[str, Any]:
        return names.entry(rows, key) if names is not None and rows is not None else {"id": key}

    scope: dict[str, Any]
    if item.target_kind == "system":
        scope, link = {"system": {"all": True}}, "/system"
    else:
        scope = {item.target_kind: entry(names.targets if names else None, item.target_id)}
        kind = item.via_target_kind or item.target_kind
        link = f"/{kind}s/{item.via_target or item.target_id}"
    links: dict[str, str] = {}
    shown: dict[str, Any] = {"links": links, "scope": scope}
    if item.actor_kind == "user":
        shown["user"] = entry(names.users if names else None, item.actor_id)
    else:
        shown["group"] = entry(names.groups if names else None, item.actor_id)
    if item.via_group is not None:
        links["membership"] = req.url(f"/v3/groups/{item.via_group}/users/{item.actor_id}")
        link += f"/groups/{item.via_group}"
    else:
        link += f"/{item.actor_kind}s/{item.actor_id}"
    shown["role"] = entry(names.roles if names else None, item.role_id)
    link += f"/roles/{item.via_role or item.role_id}"
    if item.inherited or item.via_target is not None:
        scope["OS-INHERIT:inherited_to"] = "projects"
        link = f"/OS-INHERIT{link}/inherited_to_projects"
    links["assignment"] = req.url("/v3" + link)
    if item.via_role is not None:
        links["prior_role"] = req.url(f"/v3/prior_role/{item.role_id}/implies/{item.via_role}")
    return shown
