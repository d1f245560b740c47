"""Lists of servers: filters, order, pages. What SQL cannot say portably (regular expressions) is said in Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Select, and_, func, not_, or_, select

from virga.api.faults import Forbidden
from virga.api.request import Request
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.clock import parse_iso
from virga.services.compute import networking, server_view, states
from virga.services.compute.faults import Invalid
from virga.services.compute.models import server as table
from virga.services.compute.models import server_tag
from virga.services.compute.page import limit_of, marker_not_found, next_link
from virga.services.compute.schema import check_query, truth
from virga.services.compute.server import Server
from virga.services.compute.server_schema import IGNORED_SORT_KEYS, JOINED, LIST
from virga.settings import Settings

POLICY = "os_compute_api:servers:"
Asked = dict[str, list[str]]
Test = Callable[[Server], bool]

MEMBER_FILTERS: tuple[tuple[tuple[int, int], str], ...] = (
    ((2, 1), "reservation_id name status image flavor ip changes-since all_tenants"),
    ((2, 5), "ip6"),
    ((2, 26), "tags tags-any not-tags not-tags-any"),
    ((2, 66), "changes-before"),
    ((2, 73), "locked"),
    (
        (2, 83),
        "availability_zone config_drive key_name created_at launched_at terminated_at power_state task_state "
        "vm_state progress user_id",
    ),
    ((2, 90), "hostname"),
)
_COLUMNS = {
    "display_name": "name",
    "display_description": "description",
    "uuid": "id",
    "image_ref": "image_id",
    "instance_type_id": "flavor_id",
    "node": "host",
    "image": "image_id",
    "locked": "locked_by",
}
EXACT = [
    "user_id",
    "project_id",
    "tenant_id",
    "image",
    "image_ref",
    "vm_state",
    "task_state",
    "uuid",
    "host",
    "power_state",
    "launch_index",
]
PATTERNS = [
    "name",
    "display_name",
    "description",
    "display_description",
    "hostname",
    "key_name",
    "node",
    "kernel_id",
    "ramdisk_id",
    "reservation_id",
    "availability_zone",
    "locked_by",
    "root_device_name",
    "config_drive",
    "access_ip_v4",
    "access_ip_v6",
    "progress",
]
CHUNK = 1000
# What lists neither show nor test; some of it is long.
_UNSHOWN = ("key_data", "personality", "requested_networks", "tried_hosts", "other_flavor", "source_disk")
_SHOWN = [column for column in table.columns if column.name not in _UNSHOWN]


class _Nothing(Exception):
    """The filters cannot be met by any server."""


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    rows = _page(tx, req, page_limit, detail=False)
    return _listed(req, "/v2.1/servers", rows, [server_view.brief(req, r) for r in rows], page_limit)


def detail(tx: Tx, req: Request, *, page_limit: int) -> Any:
    rows = _page(tx, req, page_limit, detail=True)
    look = server_view.Look.of(req)
    found = server_view.belongings(tx, rows, req.microversion)
    items = [server_view.full(req, r, found, look) for r in rows]
    return _listed(req, "/v2.1/servers/detail", rows, items, page_limit)


def _listed(req: Request, path: str, rows: Sequence[Server], items: list[Any], page_limit: int) -> Any:
    body: dict[str, Any] = {"servers": items}
    if more := next_link(req, path, [r.id for r in rows], page_limit):
        body["servers_links"] = more
    return body


def _page(tx: Tx, req: Request, page_limit: int, detail: bool) -> list[Server]:
    asked = check_query(req, LIST)
    limit = limit_of(req, page_limit)
    try:
        statement, tests = _selection(tx, req, _allowed(req, asked), detail)
    except _Nothing:
        return []
    order = _order(req, asked)
    if marker := req.param("marker"):
        statement = _beyond(tx, req, statement, order, marker)
    for column, descending in order:
        statement = statement.order_by(column.desc() if descending else column.asc())
    if limit == 0:
        return []
    if not tests:
        return list(tx.all(statement.limit(limit)))
    return _tested(tx, statement, tests, limit)


def _tested(tx: Tx, statement: Select[Any], tests: list[Test], limit: int) -> list[Server]:
    found: list[Server] = []
    offset = 0
    while len(found) < limit:
        rows = tx.all(statement.limit(CHUNK).offset(offset))
        found += [row for row in rows if all(test(row) for test in tests)]
        if len(rows) < CHUNK:
            break
        offset += CHUNK
    return found[:limit]


# --- filters -------------------------------------------------------------------------------------------


def _allowed(req: Request, asked: Asked) -> dict[str, str]:
    """The filters that this caller may use, last value of each; 'status' keeps all its values in the request."""
    single = {name: values[-1] for name, values in asked.items()}
    for name in ("limit", "marker", "sort_key", "sort_dir"):
        single.pop(name, None)
    if not req.allows(POLICY + "allow_all_filters"):
        names = {n for since, text in MEMBER_FILTERS if since <= req.microversion for n in text.split()}
        single = {name: value for name, value in single.items() if name in names}
    for name in single:
        if name in JOINED or name.startswith("_"):
            raise Invalid(f"Invalid filter field: {name}.")
    return single


def _selection(tx: Tx, req: Request, asked: dict[str, str], detail: bool) -> tuple[Select[Any], list[Test]]:
    statement = _scope(req, asked, select(*_SHOWN), detail)
    statement = _states(req, asked, statement)
    statement = _times(asked, statement)
    for name in EXACT:
        if name in asked and not (name in ("vm_state", "task_state") and "status" in asked):
            column = table.c[_COLUMNS.get(name, "project_id" if name == "tenant_id" else name)]
            statement = statement.where(column == _typed(column, asked[name]))
    if "flavor" in asked:
        statement = statement.where(table.c.flavor_id == asked["flavor"])
    if "auto_disk_config" in asked:
        statement = statement.where(table.c.auto_disk_config.is_(truth(asked["auto_disk_config"])))
    if "locked" in asked:
        statement = _locked(asked["locked"], statement)
    statement = _tags(asked, statement)
    tests = [_matches(_COLUMNS.get(name, name), asked[name]) for name in PATTERNS if name in asked]
    for name, version in (("ip", 4), ("ip6", 6)):
        if name in asked:
            statement = statement.where(
                table.c.id.in_(networking.servers_with_address(tx, asked[name], version))
            )
    return statement, tests


def _typed(column: Any, text: str) -> Any:
    if column.name in ("power_state", "launch_index"):
        try:
            return int(text)
        except ValueError:
            raise _Nothing from None
    return text


def _scope(req: Request, asked: dict[str, str], statement: Select[Any], detail: bool) -> Select[Any]:
    caller = req.caller
    text = asked.pop("all_tenants", None)
    if text is not None and _all_tenants(text):
        req.enforce(POLICY + ("detail" if detail else "index") + ":get_all_tenants")
        return statement
    asked.pop("tenant_id", None)
    asked.pop("project_id", None)
    if caller.project_id:
        return statement.where(table.c.project_id == caller.project_id)
    return statement.where(table.c.user_id == caller.user_id)


def _all_tenants(text: str) -> bool:
    if text == "":
        return True
    if text.lower() in {"1", "t", "true", "on", "y", "yes"}:
        return True
    if text.lower() in {"0", "f", "false", "off", "n", "no"}:
        return False
    raise Invalid(
        f"Unrecognized value '{text}', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', 'off', "
        "'on', 't', 'true', 'y', 'yes'"
    )


def _states(req: Request, asked: dict[str, str], statement: Select[Any]) -> Select[Any]:
    shows_deleted = "changes-since" in asked or "changes-before" in asked
    deleted: bool | None = None if shows_deleted else False
    if "deleted" in asked:
        deleted = truth(asked["deleted"])
    if "status" in asked:
        vm_states, tasks = states.states_of(req.params("status"))
        if not vm_states:
            if req.microversion >= (2, 38):
                raise Invalid("Invalid status value")
            raise _Nothing
        if vm_states == [states.DELETED]:
            if not req.caller.is_admin:
                raise Forbidden("Only administrators may list deleted instances")
            deleted = True
        else:
            statement = statement.where(table.c.vm_state.in_(vm_states))
        if tasks is not None:
            statement = statement.where(table.c.task_state.in_(tasks))
    if "soft_deleted" in asked and not truth(asked["soft_deleted"]) and deleted:
        statement = statement.where(table.c.vm_state != states.SOFT_DELETED)
    if deleted is not None:
        statement = statement.where(table.c.deleted.is_(deleted))
    return statement


def _times(asked: dict[str, str], statement: Select[Any]) -> Select[Any]:
    since = parse_iso(asked["changes-since"]) if "changes-since" in asked else None
    before = parse_iso(asked["changes-before"]) if "changes-before" in asked else None
    if since is not None and before is not None and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    changed = func.coalesce(table.c.updated_at, table.c.created_at)
    if since is not None:
        statement = statement.where(changed >= since)
    if before is not None:
        statement = statement.where(changed <= before)
    for name in ("created_at", "launched_at", "terminated_at"):
        if name in asked:
            try:
                at = parse_iso(asked[name])
            except ValueError:
                raise _Nothing from None
            statement = statement.where(table.c[name] >= at, table.c[name] < at + 1_000_000)
    return statement


def _locked(text: str, statement: Select[Any]) -> Select[Any]:
    words = {"true", "false", "1", "0", "t", "f", "y", "n", "yes", "no", "on", "off"}
    if text.lower() not in words:
        raise Invalid(
            f"Unrecognized value '{text}', acceptable values are: '0', '1', 'f', 'false', 'n', 'no', "
            "'off', 'on', 't', 'true', 'y', 'yes'"
        )
    return statement.where(table.c.locked_by.is_not(None) if truth(text) else table.c.locked_by.is_(None))


def _tags(asked: dict[str, str], statement: Select[Any]) -> Select[Any]:
    def has(tag: str) -> Any:
        return table.c.id.in_(select(server_tag.c.server_id).where(server_tag.c.tag == tag))

    def words(name: str) -> list[Any]:
        return [has(tag) for tag in asked[name].split(",")]

    if "tags" in asked:
        statement = statement.where(and_(*words("tags")))
    if "tags-any" in asked:
        statement = statement.where(or_(*words("tags-any")))
    if "not-tags" in asked:
        statement = statement.where(not_(and_(*words("not-tags"))))
    if "not-tags-any" in asked:
        statement = statement.where(not_(or_(*words("not-tags-any"))))
    return statement


def _matches(column: str, pattern: str) -> Test:
    try:
        expression = re.compile(pattern)
    except re.error:
        raise Invalid(f"Invalid filter field: {column}.") from None
    return lambda row: (
        expression.search(str(getattr(row, column) if getattr(row, column) is not None else "")) is not None
    )


# --- order ---------------------------------------------------------------------------------------------


def _order(req: Request, asked: Asked) -> list[tuple[Any, bool]]:
    """Columns and whether they descend; the row number always breaks ties."""
    keys = [key.strip() for key in asked.get("sort_key", [])] or ["created_at"]
    directions = [d.strip().lower() for d in asked.get("sort_dir", [])]
    default = directions[0] if directions else "desc"
    found: list[tuple[Any, bool]] = []
    for position, key in enumerate(keys):
        direction = directions[position] if position < len(directions) else default
        if direction not in ("asc", "desc"):
            raise Invalid("Unknown sort direction, must be 'desc' or 'asc'")
        if key in ("host", "node") and not req.caller.is_admin:
            raise Forbidden(f"Only administrators can sort servers by {key}")
        if key in IGNORED_SORT_KEYS and not (key == "locked" and req.microversion >= (2, 73)):
            continue
        found.append((table.c[_COLUMNS.get(key, key)], direction == "desc"))
    return [*found, (table.c.number, default == "desc")]


def _beyond(
    tx: Tx, req: Request, statement: Select[Any], order: list[tuple[Any, bool]], marker: str
) -> Select[Any]:
    """Only what comes after the marker in this order."""
    row = tx.first(select(table).where(table.c.id == marker))
    if row is None or not (req.caller.is_admin or row.project_id == req.caller.project_id):
        raise marker_not_found(marker)
    branches = []
    equal: list[Any] = []
    for column, descending in order:
        value = getattr(row, column.name)
        if value is None:
            after = None if descending else column.is_not(None)
            same = column.is_(None)
        else:
            after = or_(column < value, column.is_(None)) if descending else column > value
            same = column == value
        if after is not None:
            branches.append(and_(*equal, after))
        equal.append(same)
    return statement.where(or_(*branches))


def routes(settings: Settings) -> list[Route]:
    limit = settings.page_limit
    return [
        Route("GET", "/v2.1/servers", partial(index, page_limit=limit), POLICY + "index"),
        Route("GET", "/v2.1/servers/detail", partial(detail, page_limit=limit), POLICY + "detail"),
    ]
