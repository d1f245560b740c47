"""os-security-groups as it was before Network had them: up to 2.35, answered by Network's verbs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.resource import Context, Resource, fill
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.ids import is_uuid_like
from virga.services.compute import networking
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.networking import caller_context
from virga.services.compute.schema import (
    ANYTHING,
    NON_NEGATIVE,
    TEXT,
    always,
    check_body,
    check_query,
    obj,
    several,
)
from virga.services.compute.server import Server, on_server
from virga.services.network import quota
from virga.services.network.models_l3 import security_group as table
from virga.services.network.security_group import RESOURCE as GROUP
from virga.services.network.security_group_default import ensure
from virga.services.network.security_group_rule import RESOURCE as RULE
from virga.settings import Settings

POLICY = "os_compute_api:os-security-groups:"
LAST = (2, 35)
_TEXT = {"type": "string", "minLength": 0, "maxLength": 255}
GROUP_BODY = always(
    obj(
        {"security_group": obj({"name": _TEXT, "description": _TEXT}, ["name", "description"], extra=True)},
        ["security_group"],
        extra=True,
    )
)
_RULE = {
    "group_id": {"type": ["string", "null"], "format": "uuid"},
    "parent_group_id": {"type": "string", "format": "uuid"},
    **dict.fromkeys(("to_port", "from_port", "ip_protocol", "cidr"), ANYTHING),
}
RULE_BODY = always(
    obj(
        {"security_group_rule": obj(_RULE, ["parent_group_id"], extra=True)},
        ["security_group_rule"],
        extra=True,
    )
)
LIST = always(
    obj(
        {"limit": several(NON_NEGATIVE), "offset": several(NON_NEGATIVE), "all_tenants": several(TEXT)},
        extra=True,
    )
)


def _worded(fault: Fault, req: Request) -> Fault:
    """Network's refusals as Compute passes them on."""
    message = f"{fault.message}\nNeutron server returns request_ids: ['{req.request_id}']"
    if fault.status == 404:
        return NotFoundHere(message)
    if "quota" in fault.message.lower():
        return Refused(message)
    return Invalid(message)


def _find(tx: Tx, req: Request, context: Context, resource: Resource, ident: str) -> dict[str, Any]:
    if not is_uuid_like(ident):
        raise Invalid("Security group id should be uuid")
    try:
        return resource.find(tx, context, ident)
    except Fault as fault:
        raise _worded(fault, req) from None


def _names(tx: Tx, groups: list[dict[str, Any]]) -> dict[str, dict[str, str]]:
    wanted = {
        rule["remote_group_id"]
        for g in groups
        for rule in g["security_group_rules"]
        if rule["remote_group_id"]
    }
    rows = tx.all(select(table.c.id, table.c.name, table.c.project_id).where(table.c.id.in_(wanted)))
    return {row.id: {"name": row.name, "tenant_id": row.project_id} for row in rows}


def _view(group: dict[str, Any], names: dict[str, dict[str, str]]) -> dict[str, Any]:
    rules = [
        _rule_view(rule, names) for rule in group["security_group_rules"] if rule["direction"] == "ingress"
    ]
    return {
        "id": group["id"],
        "description": group["description"],
        "name": group["name"],
        "tenant_id": group["project_id"],
        "rules": rules,
    }


def _rule_view(rule: dict[str, Any], names: dict[str, dict[str, str]]) -> dict[str, Any]:
    low, high = rule["port_range_min"], rule["port_range_max"]
    protocol = rule["protocol"]
    if protocol and low is None:
        low, high = (-1, -1) if protocol.startswith("icmp") else (1, 65535)
    if protocol and protocol.startswith("icmp") and high is None:
        high = -1
    remote = rule["remote_group_id"]
    body: dict[str, Any] = {
        "id": rule["id"],
        "parent_group_id": rule["security_group_id"],
        "ip_protocol": protocol,
        "from_port": low,
        "to_port": high,
        "group": names.get(remote, {}) if remote else {},
        "ip_range": {},
    }
    if not remote:
        any_address = "0.0.0.0/0" if rule["ethertype"] == "IPv4" else "::/0"
        body["ip_range"] = {"cidr": rule["remote_ip_prefix"] or any_address}
    return body


def index(tx: Tx, req: Request) -> Any:
    asked = check_query(req, LIST)
    req.enforce(POLICY + "get")
    context = caller_context(req.caller)
    statement = select(table)
    if not (req.caller.is_admin and "all_tenants" in asked):
        statement = statement.where(table.c.project_id == req.caller.project_id)
    groups = sorted(GROUP.render(tx, context, tx.all(statement)), key=lambda g: (g["project_id"], g["name"]))
    offset = int(asked.get("offset", ["0"])[-1] or 0)
    limit = int(asked.get("limit", ["0"])[-1] or 0) or len(groups)
    groups = groups[offset : offset + limit]
    names = _names(tx, groups)
    return {"security_groups": [_view(group, names) for group in groups]}


def show(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "show")
    group = _find(tx, req, caller_context(req.caller), GROUP, req["group_id"])
    return {"security_group": _view(group, _names(tx, [group]))}


def create(tx: Tx, req: Request) -> Any:
    asked = check_body(req, GROUP_BODY)["security_group"]
    req.enforce(POLICY + "create")
    context = caller_context(req.caller)
    assert GROUP.create is not None
    ensure(tx, req.caller.project_id or "")
    try:
        values = fill(GROUP, context, {"name": asked["name"], "description": asked["description"]})
        quota.check(tx, context, GROUP, [values])
        group_id = GROUP.create(tx, context, values)
    except Fault as fault:
        raise _worded(fault, req) from None
    group = GROUP.find(tx, context, group_id)
    return {"security_group": _view(group, _names(tx, [group]))}


def change(tx: Tx, req: Request) -> Any:
    asked = check_body(req, GROUP_BODY)["security_group"]
    req.enforce(POLICY + "update")
    context = caller_context(req.caller)
    group = _find(tx, req, context, GROUP, req["group_id"])
    assert GROUP.update is not None
    try:
        GROUP.update(tx, context, group, {"name": asked["name"], "description": asked["description"]})
    except Fault as fault:
        raise _worded(fault, req) from None
    group = GROUP.find(tx, context, group["id"])
    return {"security_group": _view(group, _names(tx, [group]))}


def remove(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "delete")
    context = caller_context(req.caller)
    group = _find(tx, req, context, GROUP, req["group_id"])
    assert GROUP.delete is not None
    try:
        GROUP.delete(tx, context, group)
    except Fault as fault:
        raise _worded(fault, req) from None
    return Response(202)


# --- rules ---------------------------------------------------------------------------------------------


def _integer(value: Any) -> int | None:
    if value is None:
        return None
    try:
        return int(value)
    except (TypeError, ValueError):
        raise Invalid(
            f"Invalid port range {value}:{value}. Valid TCP ports should be between 1-65535"
        ) from None


def create_rule(tx: Tx, req: Request) -> Any:
    asked = check_body(req, RULE_BODY)["security_group_rule"]
    req.enforce(POLICY + "rule:create")
    context = caller_context(req.caller)
    parent = _find(tx, req, context, GROUP, asked["parent_group_id"])
    remote = _find(tx, req, context, GROUP, asked["group_id"]) if asked.get("group_id") else None
    item: dict[str, Any] = {"security_group_id": parent["id"], "direction": "ingress"}
    protocol = asked.get("ip_protocol")
    low, high = _integer(asked.get("from_port")), _integer(asked.get("to_port"))
    _check_rule(protocol, low, high, remote is not None)
    if protocol is not None:
        item["protocol"] = str(protocol).lower()
        if low is not None and low != -1:
            item["port_range_min"] = low
            item["port_range_max"] = None if high == -1 else high
    cidr = None if remote else str(asked.get("cidr") or "0.0.0.0/0")
    if remote:
        item["remote_group_id"] = remote["id"]
        item["ethertype"] = "IPv4"
    else:
        item |= {"remote_ip_prefix": cidr, "ethertype": "IPv6" if ":" in (cidr or "") else "IPv4"}
    assert RULE.create is not None
    try:
        values = fill(RULE, context, item)
        quota.check(tx, context, RULE, [values])
        rule_id = RULE.create(tx, context, values)
    except Fault as fault:
        raise _worded(fault, req) from None
    rule = RULE.find(tx, context, rule_id)
    names = {remote["id"]: {"name": remote["name"], "tenant_id": remote["project_id"]}} if remote else {}
    return {"security_group_rule": _rule_view(rule, names)}


def _check_rule(protocol: Any, low: int | None, high: int | None, grouped: bool) -> None:
    if (
        protocol is not None
        and str(protocol).upper() not in ("TCP", "UDP", "ICMP")
        and not str(protocol).lstrip("-").isdecimal()
    ):
        raise Invalid(f"Invalid IP protocol {protocol}.", type="InvalidIpProtocol")
    if protocol is None:
        if not grouped:
            raise Invalid("Not enough parameters to build a valid rule.")
        return
    name = str(protocol).upper()
    if low is None or high is None:
        if grouped:
            return
        raise Invalid("Not enough parameters to build a valid rule.")
    if name == "ICMP":
        if not (-1 <= low <= 255 and -1 <= high <= 255):
            raise Invalid(
                f"Invalid port range {low}:{high}. For ICMP, the type:code must be valid",
                type="InvalidPortRange",
            )
        return
    if low > high:
        raise Invalid(f"Invalid port range {low}:{high}. Former value cannot be greater than the later")
    if low < 1 or high > 65535:
        raise Invalid(f"Invalid port range {low}:{high}. Valid {name} ports should be between 1-65535")


def remove_rule(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "rule:delete")
    context = caller_context(req.caller)
    rule = _find(tx, req, context, RULE, req["rule_id"])
    assert RULE.delete is not None
    try:
        RULE.delete(tx, context, rule)
    except Fault as fault:
        raise _worded(fault, req) from None
    return Response(202)


def of_server(tx: Tx, req: Request, row: Server) -> Any:
    ids = {group for vif in networking.vifs_of(tx, [row.id]).get(row.id, []) for group in vif.security_groups}
    rows = tx.all(select(table).where(table.c.id.in_(ids)))
    groups = sorted(
        GROUP.render(tx, networking.service_context(), rows), key=lambda g: (g["project_id"], g["name"])
    )
    names = _names(tx, groups)
    return {"security_groups": [_view(group, names) for group in groups]}


def routes(settings: Settings) -> list[Route]:
    at, rules = "/v2.1/os-security-groups", "/v2.1/os-security-group-rules"
    one = at + "/{group_id}"

    def route(method: str, path: str, handler: Any) -> Route:
        return Route(method, path, handler, AUTHENTICATED, max_version=LAST)

    return [
        route("GET", at, index),
        route("POST", at, create),
        route("GET", one, show),
        route("PUT", one, change),
        route("DELETE", one, remove),
        route("POST", rules, create_rule),
        route("DELETE", rules + "/{rule_id}", remove_rule),
        Route(
            "GET",
            "/v2.1/servers/{server_id}/os-security-groups",
            on_server("os-security-groups:list", of_server),
            AUTHENTICATED,
        ),
    ]
