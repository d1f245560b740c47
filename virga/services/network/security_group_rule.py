"""Rules of security groups, and the checks that say in one sentence what is wrong with one."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, insert, or_, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values, bump
from virga.db.tx import Tx
from virga.services.network import faults, rbac
from virga.services.network import security_group_default as default
from virga.services.network.attributes_l3 import SECURITY_GROUP_RULE
from virga.services.network.models_l3 import (
    address_group,
    default_security_group,
    security_group,
    security_group_rule,
)
from virga.services.network.standard import time

PROTOCOLS: dict[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
NAMES = (None, "any", *PROTOCOLS)
WITH_PORTS = (6, 17, 33, 132, 136)
ONLY_IPV6 = (41, 43, 44, 58, 59, 60)

InvalidEtherType = faults.refusal(
    "SecurityGroupRuleInvalidEtherType",
    400,
    "Security group rule for ethertype '{ethertype}' not supported. Allowed values are ['IPv4', 'IPv6'].",
)
InvalidProtocol = faults.refusal(
    "SecurityGroupRuleInvalidProtocol",
    400,
    "Security group rule protocol {protocol} not supported. Only protocol values {values} and integer "
    "representations [0 to 255] are supported.",
)
InvalidPortValue = faults.refusal("SecurityGroupInvalidPortValue", 400, "Invalid value for port {port}")
InvalidPortRange = faults.refusal(
    "SecurityGroupInvalidPortRange", 400, "For TCP/UDP protocols, port_range_min must be <= port_range_max"
)
InvalidIcmpValue = faults.refusal(
    "SecurityGroupInvalidIcmpValue",
    400,
    "Invalid value for ICMP {field} ({attr}) {value}. It must be 0 to 255.",
)
MissingIcmpType = faults.refusal(
    "SecurityGroupMissingIcmpType",
    400,
    "ICMP code (port-range-max) {value} is provided but ICMP type (port-range-min) is missing.",
)
ProtocolRequired = faults.refusal(
    "SecurityGroupProtocolRequiredWithPorts", 400, "Must also specify protocol if port range is given."
)
InvalidCIDR = faults.refusal("InvalidCIDR", 400, "Invalid CIDR {prefix} given as IP prefix.")
SeveralRemotes = faults.refusal(
    "SecurityGroupMultipleRemoteEntites",
    400,
    "Only one of remote_ip_prefix, remote_group_id or remote_address_group_id may be provided.",
)
ParameterConflict = faults.refusal(
    "SecurityGroupRuleParameterConflict", 400, "Conflicting value ethertype {ethertype} for CIDR {cidr}"
)
EthertypeConflict = faults.refusal(
    "SecurityGroupEthertypeConflictWithProtocol",
    400,
    "Invalid ethertype {ethertype} for protocol {protocol}.",
)
RuleExists = faults.refusal(
    "SecurityGroupRuleExists", 409, "Security group rule already exists. Rule id is {id}."
)


def render_rows(tx: Tx, rows: Sequence[Row[Any]]) -> list[Values]:
    defaults = {row.security_group_id for row in tx.all(select(default_security_group.c.security_group_id))}
    return [
        {
            "id": row.id,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "security_group_id": row.security_group_id,
            "ethertype": row.ethertype,
            "direction": row.direction,
            "protocol": row.protocol,
            "port_range_min": row.port_range_min,
            "port_range_max": row.port_range_max,
            "remote_ip_prefix": row.remote_ip_prefix,
            "remote_address_group_id": row.remote_address_group_id,
            "normalized_cidr": _normalized(row.remote_ip_prefix),
            "remote_group_id": row.remote_group_id,
            "belongs_to_default_sg": row.security_group_id in defaults,
            "description": row.description,
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
        }
        for row in rows
    ]


def _normalized(prefix: str | None) -> str | None:
    return None if prefix is None else str(ipaddress.ip_network(prefix, strict=False))


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return render_rows(tx, rows)


# --- checks, shared with the default rules


def check(values: Values) -> None:
    """Convert in place; raise what the API says of a wrong rule."""
    values["ethertype"] = _ethertype(values["ethertype"])
    values["protocol"] = _protocol(values["protocol"])
    for name in ("port_range_min", "port_range_max"):
        values[name] = _port_value(values[name])
    values["remote_ip_prefix"] = _prefix(values["remote_ip_prefix"])
    remotes = ("remote_ip_prefix", "remote_group_id", "remote_address_group_id")
    if sum(values.get(name) is not None for name in remotes) > 1:
        raise SeveralRemotes()
    _check_ports(values)
    if values["ethertype"] == "IPv4" and values["protocol"] and _number(values["protocol"]) in ONLY_IPV6:
        raise EthertypeConflict(ethertype=values["ethertype"], protocol=values["protocol"])
    prefix = values["remote_ip_prefix"]
    if prefix is not None:
        version = ipaddress.ip_interface(prefix).version
        if values["ethertype"] != f"IPv{version}":
            raise ParameterConflict(ethertype=values["ethertype"], cidr=prefix)


def _ethertype(value: Any) -> str:
    if value is None:
        return "IPv4"
    found = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(str(value).lower())
    if found is None:
        raise InvalidEtherType(ethertype=value)
    return found


def _protocol(value: Any) -> str | None:
    if value is None:
        return None
    text = str(value).lower()
    if text.isdecimal() and int(text) <= 255:
        return text
    if text not in NAMES or isinstance(value, bool):
        raise InvalidProtocol(protocol=value, values=_names_said())
    return text


def _names_said() -> str:
    return "(" + ", ".join(repr(name) for name in NAMES) + ")"


def _port_value(value: Any) -> int | None:
    if value is None:
        return None
    try:
        port = int(value)
    except (TypeError, ValueError):
        raise InvalidPortValue(port=value) from None
    if isinstance(value, bool) or not 0 <= port <= 65535:
        raise InvalidPortValue(port=value)
    return port


def _prefix(value: Any) -> str | None:
    if not value:
        return None
    try:
        if not isinstance(value, str) or not ("." in value or ":" in value):
            raise ValueError
        return str(ipaddress.ip_interface(value))
    except ValueError:
        raise InvalidCIDR(prefix=value) from None


def _number(protocol: str) -> int:
    return int(protocol) if protocol.isdecimal() else PROTOCOLS.get(protocol, 0)


def _check_ports(values: Values) -> None:
    low, high, protocol = values["port_range_min"], values["port_range_max"], values["protocol"]
    if low is None and high is None:
        return
    if protocol in (None, "any"):
        raise ProtocolRequired()
    number = _number(protocol)
    if number in WITH_PORTS:
        if low == 0 or high == 0:
            raise InvalidPortValue(port=0)
        if low is None or high is None or low > high:
            raise InvalidPortRange()
    elif number in (1, 58):
        for name, field in (("port_range_min", "type"), ("port_range_max", "code")):
            if values[name] is not None and values[name] > 255:
                raise InvalidIcmpValue(field=field, attr=name, value=values[name])
        if low is None:
            raise MissingIcmpType(value=high)
    else:
        raise faults.BadRequest(
            resource="security_group_rule", reason=f"Port range cannot be specified for protocol {protocol}"
        )


# --- verbs


def create(tx: Tx, context: Context, values: Values) -> str:
    check(values)
    group = find_group(tx, context, values["security_group_id"])
    if values["remote_group_id"] is not None:
        find_group(tx, context, values["remote_group_id"])
    address_group_id = values["remote_address_group_id"]
    if address_group_id is not None:
        _check_address_group(tx, context, address_group_id)
    row = default.rule_row(tx, group.id, values["project_id"], values)
    table = security_group_rule
    twin = tx.first(
        select(table.c.id).where(
            table.c.security_group_id == group.id, table.c.fingerprint == row["fingerprint"]
        )
    )
    if twin is not None:
        raise RuleExists(id=twin.id)
    tx.execute(insert(table).values(**row))
    bump(tx, security_group, group.id)
    tx.touch("security_group", group.id)
    return str(row["id"])


def find_group(tx: Tx, context: Context, group_id: str) -> Row[Any]:
    query = select(security_group).where(security_group.c.id == group_id)
    if not context.is_admin:
        query = query.where(rbac.visible("security_group", security_group)(context))
    row = tx.first(query)
    if row is None:
        raise faults.SecurityGroupNotFound(id=group_id)
    return row


def _check_address_group(tx: Tx, context: Context, group_id: str) -> None:
    query = select(address_group.c.id).where(address_group.c.id == group_id)
    if not context.is_admin:
        query = query.where(rbac.visible("address_group", address_group)(context))
    if tx.first(query) is None:
        raise faults.AddressGroupNotFound(id=group_id)


def delete_rule(tx: Tx, context: Context, current: Values) -> None:
    tx.execute(delete(security_group_rule).where(security_group_rule.c.id == current["id"]))
    bump(tx, security_group, current["security_group_id"])
    tx.touch("security_group", current["security_group_id"])


def target(tx: Tx, context: Context, item: Values) -> Values:
    owner = tx.scalar(
        select(security_group.c.project_id).where(security_group.c.id == item.get("security_group_id"))
    )
    return {"security_group:tenant_id": owner}


def scope(context: Context) -> ColumnElement[bool]:
    """One's own, and those of one's own groups."""
    table = security_group_rule
    own = exists(
        select(1).where(
            security_group.c.id == table.c.security_group_id,
            security_group.c.project_id == context.project_id,
        )
    )
    return or_(table.c.project_id == context.project_id, own)


def _of_default(context: Context, values: list[str]) -> ColumnElement[bool]:
    inside = security_group_rule.c.security_group_id.in_(select(default_security_group.c.security_group_id))
    wanted = {value.lower() in ("true", "1") for value in values}
    return inside if wanted == {True} else ~inside


RESOURCE = Resource(
    name="security_group_rule",
    collection="security_group_rules",
    table=security_group_rule,
    attributes=SECURITY_GROUP_RULE,
    not_found=lambda rule_id: faults.SecurityGroupRuleNotFound(id=rule_id),
    render=render,
    create=create,
    delete=delete_rule,
    scope=scope,
    target=target,
    filters={"belongs_to_default_sg": _of_default},
    quota="security_group_rule",
)
