"""Allocation candidates: which providers could take a request, and how much each of them has."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.placement import claim, provider
from virga.services.placement.faults import bad
from virga.services.placement.inventory_api import known_classes, known_traits
from virga.services.placement.models import resource_provider as table
from virga.services.placement.provider_api import member_of, parse_resources, passes_traits


def _groups(req: Request) -> dict[str, dict[str, Any]]:
    """Suffix to what that group asks: ``resources``, ``required``, ``member_of``, ``in_tree``."""
    found: dict[str, dict[str, Any]] = {}
    for name, value in req.query:
        for word in ("resources", "required", "member_of", "in_tree"):
            if name.startswith(word):
                suffix = name[len(word) :]
                if suffix and req.microversion < (1, 25):
                    raise bad(
                        f"Invalid query string parameters: Additional properties are not allowed ('{name}' was "
                        "unexpected)",
                        "placement.query.bad_value",
                    )
                group = found.setdefault(suffix, {"required": [], "member_of": []})
                if word == "resources":
                    group["resources"] = parse_resources(value)
                elif word == "in_tree":
                    group["in_tree"] = value
                else:
                    group[word].append(value)
                break
    if not any("resources" in group for group in found.values()):
        raise bad(
            "Invalid query string parameters: 'resources' is a required property",
            "placement.query.missing_value",
        )
    return {suffix: group for suffix, group in found.items() if "resources" in group}


def _check_words(tx: Tx, groups: dict[str, dict[str, Any]]) -> None:
    classes, traits = known_classes(tx), known_traits(tx)
    for group in groups.values():
        for name in group["resources"]:
            if name not in classes:
                raise bad(f"Invalid resource class in resources parameter: No such resource class {name}.")
        names = {
            n.lstrip("!") for text in group["required"] for n in text.removeprefix("in:").split(",") if n
        }
        unknown = sorted(names - traits)
        if unknown:
            raise bad(f"No such trait(s): {', '.join(unknown)}.")


def _fitting(tx: Tx, room: Any, group: dict[str, Any]) -> list[Any]:
    statement = select(table).order_by(table.c.name)
    for text in group["member_of"]:
        statement = statement.where(member_of(text))
    if group.get("in_tree"):
        root = tx.scalar(select(table.c.root_id).where(table.c.id == group["in_tree"]))
        statement = statement.where(table.c.root_id == root)
    return [
        row
        for row in tx.all(statement)
        if all(
            n in room.get(row.id, {}) and room[row.id][n][0].fits(a, room[row.id][n][1])
            for n, a in group["resources"].items()
        )
        and all(passes_traits(tx, row.id, text) for text in group["required"])
    ]


def index(tx: Tx, req: Request) -> Any:
    groups = _groups(req)
    _check_words(tx, groups)
    room = claim.room(tx)
    limit = req.param("limit") if req.microversion >= (1, 16) else None
    if limit is not None and (not limit.isdecimal() or int(limit) < 1):
        raise bad(
            f"Invalid query string parameters: '{limit}' does not match '^[1-9][0-9]*$'",
            "placement.query.bad_value",
        )
    choices: list[dict[str, Any]] = [{}]
    for suffix, group in groups.items():
        fitting = _fitting(tx, room, group)
        choices = [
            {**choice, suffix: row}
            for choice in choices
            for row in fitting
            if all(other.root_id == row.root_id for other in choice.values())
        ]
    if req.param("group_policy") == "isolate":
        choices = [c for c in choices if len({r.id for s, r in c.items() if s}) == sum(1 for s in c if s)]
    requests: list[dict[str, Any]] = []
    seen: dict[str, Any] = {}
    for choice in choices:
        taken = _together(choice, groups)
        if not all(
            room[p][n][0].fits(a, room[p][n][1])
            for p, resources in taken.items()
            for n, a in resources.items()
        ):
            continue
        requests.append(_request(req, choice, taken))
        seen |= {row.id: row for row in choice.values()}
        if limit is not None and len(requests) >= int(limit):
            break
    roots = {row.root_id for row in seen.values()}
    if req.microversion >= (1, 29) and roots:
        seen |= {row.id: row for row in tx.all(select(table).where(table.c.root_id.in_(roots)))}
    return {
        "allocation_requests": requests,
        "provider_summaries": {ident: _summary(tx, req, row, room, groups) for ident, row in seen.items()},
    }


def _together(choice: dict[str, Any], groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    taken: dict[str, dict[str, int]] = {}
    for suffix, row in choice.items():
        mine = taken.setdefault(row.id, {})
        for name, amount in groups[suffix]["resources"].items():
            mine[name] = mine.get(name, 0) + amount
    return taken


def _request(req: Request, choice: dict[str, Any], taken: dict[str, dict[str, int]]) -> dict[str, Any]:
    if req.microversion < (1, 12):
        return {"allocations": [{"resource_provider": {"uuid": p}, "resources": r} for p, r in taken.items()]}
    body: dict[str, Any] = {"allocations": {p: {"resources": r} for p, r in taken.items()}}
    if req.microversion >= (1, 34):
        body["mappings"] = {suffix: [row.id] for suffix, row in choice.items()}
    return body


def _summary(tx: Tx, req: Request, row: Any, room: Any, groups: dict[str, dict[str, Any]]) -> dict[str, Any]:
    wanted = {name for group in groups.values() for name in group["resources"]}
    there = room.get(row.id, {})
    shown = there if req.microversion >= (1, 27) else {n: v for n, v in there.items() if n in wanted}
    body: dict[str, Any] = {
        "resources": {name: {"capacity": item.capacity, "used": used} for name, (item, used) in shown.items()}
    }
    if req.microversion >= (1, 17):
        body["traits"] = provider.traits_of(tx, row.id)
    if req.microversion >= (1, 29):
        body |= {"parent_provider_uuid": row.parent_id, "root_provider_uuid": row.root_id}
    return body


def routes() -> list[Route]:
    return [
        Route(
            "GET",
            "/allocation_candidates",
            index,
            "placement:allocation_candidates:list",
            min_version=(1, 10),
        )
    ]
