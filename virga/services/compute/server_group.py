"""Server groups: servers that must, should, must not or should not share a host."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like, new_uuid
from virga.services.compute import limit_table
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.models import server
from virga.services.compute.models import server_group as table
from virga.services.compute.models import server_group_member as member
from virga.services.compute.schema import (
    NAME,
    NON_NEGATIVE,
    POSITIVE,
    TEXT,
    V21,
    Versioned,
    check_body,
    check_query,
    obj,
    several,
    wrapped,
)
from virga.settings import Settings

POLICY = "os_compute_api:os-server-groups:"


_OLD = ["anti-affinity", "affinity"]
_ALL = ["anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity"]
_CREATE_264 = wrapped(
    "server_group",
    obj(
        {
            "name": NAME,
            "policy": {"type": "string", "enum": _ALL},
            "rules": obj({"max_server_per_host": POSITIVE}),
        },
        ["name", "policy"],
    ),
)


def _policy_list(names: list[str]) -> dict[str, Any]:
    """One policy in a list, as it was before 2.64."""
    policies = {
        "type": "array",
        "items": {"type": "string", "enum": names},
        "minItems": 1,
        "maxItems": 1,
        "uniqueItems": True,
    }
    return wrapped("server_group", obj({"name": NAME, "policies": policies}, ["name", "policies"]))


CREATE = Versioned((V21, _policy_list(_OLD)), ((2, 15), _policy_list(_ALL)), ((2, 64), _CREATE_264))
_QUERY = {"all_projects": several(TEXT), "limit": several(NON_NEGATIVE), "offset": several(NON_NEGATIVE)}
LIST = Versioned((V21, obj(_QUERY, extra=True)), ((2, 75), obj(_QUERY)))


def find(tx: Tx, group_id: str, caller: Any) -> Row[Any] | None:
    row = tx.first(select(table).where(table.c.id == group_id))
    if row is None or not (caller.is_admin or row.project_id == caller.project_id):
        return None
    return row


def get(tx: Tx, req: Request, rule: str) -> Row[Any]:
    row = find(tx, req["group_id"], req.caller)
    if row is None:
        raise NotFoundHere(
            f"Instance group {req['group_id']} could not be found.", type="InstanceGroupNotFound"
        )
    req.enforce(POLICY + rule, {"project_id": row.project_id})
    return row


def check_hint(tx: Tx, caller: Any, hints: dict[str, Any], count: int) -> str | None:
    """The group that a create names; it must exist and have room."""
    group_id = hints.get("group")
    if isinstance(group_id, list):
        group_id = group_id[0] if group_id else None
    if not group_id:
        return None
    if not is_uuid_like(group_id):
        raise Invalid("Server group scheduler hint must be a UUID.")
    row = find(tx, group_id, caller)
    if row is None:
        raise Invalid(f"Instance group {group_id} could not be found.", type="InstanceGroupNotFound")
    limit = limit_table.limits_of(tx, caller.project_id, caller.user_id)["server_group_members"]
    if 0 <= limit < limit_table.members_of(tx, group_id) + count:
        raise Refused("Quota exceeded, too many servers in group", type="OverQuota")
    return str(group_id)


def join(tx: Tx, group_id: str, server_id: str) -> None:
    tx.execute(insert(member).values(group_id=group_id, server_id=server_id))


def leave(tx: Tx, server_id: str) -> None:
    tx.execute(sql_delete(member).where(member.c.server_id == server_id))


def _view(tx: Tx, req: Request, row: Row[Any]) -> dict[str, Any]:
    members = tx.all(
        select(member.c.server_id)
        .join(server, server.c.id == member.c.server_id)
        .where(member.c.group_id == row.id, server.c.deleted.is_(False))
        .order_by(server.c.number)
    )
    body: dict[str, Any] = {"id": row.id, "name": row.name}
    version = req.microversion
    if version >= (2, 64):
        body |= {"policy": row.policy, "rules": row.rules}
    else:
        body |= {"policies": [row.policy], "metadata": {}}
    body["members"] = [m.server_id for m in members]
    if version >= (2, 13):
        body |= {"project_id": row.project_id, "user_id": row.user_id}
    return body


def create(tx: Tx, req: Request) -> Any:
    caller = req.caller
    asked = check_body(req, CREATE)["server_group"]
    req.enforce(POLICY + "create")
    policy = asked.get("policy") or asked["policies"][0]
    rules = asked.get("rules") or {}
    if rules and policy != "anti-affinity":
        raise Invalid("Only anti-affinity policy supports rules.")
    limit = limit_table.limits_of(tx, caller.project_id, caller.user_id)["server_groups"]
    used = (
        tx.scalar(select(func.count()).select_from(table).where(table.c.project_id == caller.project_id)) or 0
    )
    if 0 <= limit <= used:
        raise Refused("Quota exceeded, too many server groups.", type="ServerGroupLimitExceeded")
    group_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=group_id,
            project_id=caller.project_id or "",
            user_id=caller.user_id,
            name=asked["name"].strip(),
            policy=policy,
            rules={k: int(v) for k, v in rules.items()},
            created_at=tx.now,
        )
    )
    row = find(tx, group_id, caller)
    assert row is not None
    return {"server_group": _view(tx, req, row)}


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    asked = check_query(req, LIST)
    req.enforce(POLICY + "index")
    statement = select(table).order_by(table.c.number)
    if "all_projects" in asked and req.caller.is_admin:
        req.enforce(POLICY + "index:all_projects")
    else:
        statement = statement.where(table.c.project_id == req.caller.project_id)
    offset = int(asked.get("offset", ["0"])[-1] or 0)
    limit = min(int(asked.get("limit", [str(page_limit)])[-1] or page_limit), page_limit)
    rows = tx.all(statement.offset(offset).limit(limit))
    return {"server_groups": [_view(tx, req, row) for row in rows]}


def show(tx: Tx, req: Request) -> Any:
    return {"server_group": _view(tx, req, get(tx, req, "show"))}


def remove(tx: Tx, req: Request) -> Any:
    row = get(tx, req, "delete")
    tx.execute(sql_delete(member).where(member.c.group_id == row.id))
    tx.execute(sql_delete(table).where(table.c.id == row.id))
    return Response(204)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/os-server-groups"
    return [
        Route("GET", at, partial(index, page_limit=settings.page_limit), AUTHENTICATED),
        Route("POST", at, create, AUTHENTICATED),
        Route("GET", at + "/{group_id}", show, AUTHENTICATED),
        Route("DELETE", at + "/{group_id}", remove, AUTHENTICATED),
    ]
