"""The wire contract of security groups, address groups, routers, floating IPs and trunks."""

from __future__ import annotations

from typing import Any

from virga.api.resource import REQUIRED, UNSET, Attribute
from virga.api.validators import (
    Invalid,
    anything,
    between,
    boolean,
    dns_domain,
    dns_name,
    fixed_ips,
    ip_address,
    list_of,
    mapping_of,
    none_to,
    one_of,
    or_none,
    routes,
    text,
    uuid,
)
from virga.services.network.attributes import (
    ADMIN_STATE,
    DESCRIPTION,
    ID,
    PROJECT,
    STANDARD,
    STATUS,
    TAGS,
    TIMES,
    both,
    once,
)

TENANT = Attribute("tenant_id", column="project_id")

SECURITY_GROUP = (
    *(a for a in STANDARD if a.name != "name"),
    TAGS,
    both("name", text(), default=""),
    both("stateful", boolean, default=True),
    Attribute("security_group_rules"),
    Attribute("shared"),
)

RULE_CORE = (
    once("direction", one_of(["ingress", "egress"]), default=REQUIRED),
    once("ethertype", anything, default="IPv4"),
    once("protocol", anything),
    once("port_range_min", anything),
    once("port_range_max", anything),
    once("remote_ip_prefix", anything),
    once("remote_group_id", anything),
    once("remote_address_group_id", or_none(uuid)),
)

SECURITY_GROUP_RULE = (
    ID,
    PROJECT,
    TENANT,
    once("description", text(), default=""),
    *TIMES,
    once("security_group_id", anything, default=REQUIRED),
    *RULE_CORE,
    Attribute("normalized_cidr"),
    Attribute("belongs_to_default_sg"),
)

DEFAULT_RULE = (
    ID,
    once("description", text(), default=""),
    *TIMES,
    *RULE_CORE,
    once("used_in_default_sg", boolean, default=False),
    once("used_in_non_default_sg", boolean, default=True),
)


def group_addresses(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Invalid(f"'{value}' is not a list")
    return list(dict.fromkeys(_address(item) for item in value))


def _address(value: Any) -> str:
    """A range with its length; host bits go."""
    import ipaddress

    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP subnet") from None


ADDRESS_GROUP = (*STANDARD, once("addresses", group_addresses, default=[]), Attribute("shared"))

GATEWAY = or_none(
    mapping_of(
        {
            "network_id": uuid,
            "enable_snat": boolean,
            "external_fixed_ips": none_to([], fixed_ips),
        },
        closed=True,
    )
)

ROUTER = (
    *STANDARD,
    TAGS,
    ADMIN_STATE,
    STATUS,
    both("external_gateway_info", GATEWAY, default=None),
    Attribute("external_gateways"),
    once("flavor_id", or_none(uuid)),
    both("enable_default_route_ecmp", or_none(boolean)),
    both("enable_default_route_bfd", or_none(boolean)),
    Attribute("routes", none_to([], routes), put=True),
    once("availability_zone_hints", list_of(text()), default=[]),
    Attribute("availability_zones"),
    both("distributed", boolean, default=UNSET),
    both("ha", boolean, default=UNSET),
)

FLOATING_IP = (
    ID,
    PROJECT,
    TENANT,
    DESCRIPTION,
    *TIMES,
    TAGS,
    STATUS,
    once("floating_network_id", uuid, default=REQUIRED),
    once("floating_ip_address", or_none(ip_address), default=None),
    once("subnet_id", or_none(uuid), default=None),
    both("port_id", or_none(uuid), default=None),
    both("fixed_ip_address", or_none(ip_address), default=None),
    both("router_id", or_none(uuid), default=None),
    Attribute("port_details"),
    Attribute("port_forwardings"),
    once("dns_name", dns_name, default=""),
    once("dns_domain", dns_domain, default=""),
)

PORT_FORWARDING = (
    ID,
    both("description", text(), default=""),
    both("external_port", or_none(between(1, 65535)), default=None),
    both("internal_port", or_none(between(1, 65535)), default=None),
    both("external_port_range", or_none(text()), default=None),
    both("internal_port_range", or_none(text()), default=None),
    both("internal_ip_address", ip_address, default=REQUIRED),
    both("protocol", one_of(["tcp", "udp", "icmp", "icmp6", "sctp", "dccp"]), default=REQUIRED),
    both("internal_port_id", uuid, default=REQUIRED),
)

SUB_PORT = mapping_of(
    {"port_id": uuid, "segmentation_type": text(), "segmentation_id": anything}, required=("port_id",)
)

TRUNK = (
    *STANDARD,
    TAGS,
    ADMIN_STATE,
    STATUS,
    once("port_id", uuid, default=REQUIRED),
    once("sub_ports", list_of(SUB_PORT), default=[]),
)
