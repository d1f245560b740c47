"""The wire contract of networks, subnets, ports and what shares them: each attribute once."""

from __future__ import annotations

import ipaddress
from typing import Any

from virga.api.resource import REQUIRED, UNSET, Attribute
from virga.api.validators import (
    Invalid,
    allocation_pools,
    anything,
    between,
    boolean,
    cidr,
    dns_domain,
    dns_name,
    fixed_ips,
    host_routes,
    integer,
    ip_address,
    list_of,
    mac_address,
    mapping,
    nameservers,
    none_to,
    one_of,
    or_none,
    text,
    uuid,
)
from virga.api.validators import tags as tag_list

IPV6_MODES = ["dhcpv6-stateful", "dhcpv6-stateless", "slaac"]
NETWORK_TYPES = ["flat", "geneve", "gre", "local", "vlan", "vxlan"]
VNIC_TYPES = [
    "normal",
    "direct",
    "macvtap",
    "baremetal",
    "direct-physical",
    "virtio-forwarder",
    "smart-nic",
    "vdpa",
    "remote-managed",
]

ID = Attribute("id")
PROJECT = Attribute("project_id", text(), post=True, default=UNSET)
NAME = Attribute("name", text(), post=True, put=True, default="")
DESCRIPTION = Attribute("description", text(), post=True, put=True, default="")
TAGS = Attribute("tags", tag_list, post=True, default=UNSET)
TIMES = (Attribute("created_at"), Attribute("updated_at"), Attribute("revision_number"))
STANDARD = (ID, PROJECT, Attribute("tenant_id", column="project_id"), NAME, DESCRIPTION, *TIMES)
ADMIN_STATE = Attribute("admin_state_up", boolean, post=True, put=True, default=True)
STATUS = Attribute("status")
SHARED = Attribute("shared", boolean, post=True, put=True, default=False)


def both(name: str, validate: Any, default: Any = None, column: str | None = None) -> Attribute:
    return Attribute(name, validate, post=True, put=True, default=default, column=column)


def once(name: str, validate: Any, default: Any = None, column: str | None = None) -> Attribute:
    return Attribute(name, validate, post=True, default=default, column=column)


def segments(value: Any) -> Any:
    if not isinstance(value, list) or not value:
        raise Invalid(f"'{value}' is not a list")
    for item in value:
        mapping(item)
    return value


def ip_version(value: Any) -> int:
    return int(one_of([4, 6])(integer(value)))


def prefix(value: Any) -> str:
    """A range of a pool; host bits go."""
    try:
        if not isinstance(value, str):
            raise ValueError
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP subnet") from None


NETWORK = (
    *STANDARD,
    TAGS,
    ADMIN_STATE,
    STATUS,
    SHARED,
    Attribute("subnets"),
    both("mtu", between(0, None), default=0),
    both("router:external", boolean, default=False, column="external"),
    both("is_default", boolean, default=False),
    both("port_security_enabled", boolean, default=True),
    both("dns_domain", dns_domain, default=""),
    once("availability_zone_hints", list_of(text()), default=[]),
    Attribute("availability_zones"),
    Attribute("ipv4_address_scope"),
    Attribute("ipv6_address_scope"),
    Attribute("l2_adjacency"),
    both("provider:network_type", one_of(NETWORK_TYPES), default=UNSET),
    both("provider:physical_network", text(64), default=UNSET),
    both("provider:segmentation_id", between(0, None), default=UNSET),
    both("segments", segments, default=UNSET),
    both("qos_policy_id", or_none(uuid)),
)

SUBNET = (
    *STANDARD,
    TAGS,
    once("network_id", uuid, default=REQUIRED),
    once("ip_version", ip_version, default=REQUIRED),
    once("cidr", or_none(cidr), default=UNSET),
    once("subnetpool_id", or_none(anything), default=UNSET),
    once("prefixlen", between(0, None), default=UNSET),
    once("use_default_subnetpool", boolean, default=False),
    both("gateway_ip", or_none(ip_address), default=UNSET),
    both("enable_dhcp", boolean, default=True),
    once("ipv6_ra_mode", or_none(one_of(IPV6_MODES)), default=None),
    once("ipv6_address_mode", or_none(one_of(IPV6_MODES)), default=None),
    both("allocation_pools", none_to([], allocation_pools), default=UNSET),
    both("dns_nameservers", none_to([], nameservers), default=[]),
    both("host_routes", none_to([], host_routes), default=[]),
    both("service_types", none_to([], list_of(text())), default=[]),
    both("segment_id", or_none(uuid), default=None),
    Attribute("router:external"),
)


def address_pairs(value: Any) -> list[dict[str, str]]:
    """``[{"ip_address", "mac_address"}]``: an address or a CIDR, the port's own MAC unless given."""
    if not isinstance(value, list):
        raise Invalid(f"Allowed address pairs must be a list.")  # noqa: F541
    result: list[dict[str, str]] = []
    for pair in value:
        if not isinstance(pair, dict) or "ip_address" not in pair:
            raise Invalid("AllowedAddressPair must contain ip_address")
        extra = sorted(set(pair) - {"ip_address", "mac_address"})
        if extra:
            raise Invalid(f"Unrecognized attribute(s) '{', '.join(extra)}'")
        item = {"ip_address": _pair_address(pair["ip_address"])}
        if pair.get("mac_address") is not None:
            item["mac_address"] = mac_address(pair["mac_address"])
        if item in result:
            raise Invalid(
                "Request contains duplicate address pair: mac_address "
                f"{item.get('mac_address')} ip_address {item['ip_address']}."
            )
        result.append(item)
    return result


def _pair_address(value: Any) -> str:
    try:
        if not isinstance(value, str):
            raise ValueError
        if "/" in value:
            network = ipaddress.ip_network(value, strict=False)
            if network.is_multicast:
                raise Invalid(f"'{value}' is a multicast address")
            return value
        address = ipaddress.ip_address(value)
        if address.is_multicast:
            raise Invalid(f"'{value}' is a multicast address")
        return str(address)
    except Invalid:
        raise
    except ValueError:
        raise Invalid(f"'{value}' is not a valid IP address") from None


def dhcp_options(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise Invalid(f"'{value}' is not a list")
    seen: set[tuple[str, int]] = set()
    result = []
    for option in value:
        if not isinstance(option, dict) or "opt_name" not in option or "opt_value" not in option:
            raise Invalid(f"Invalid data format for extra_dhcp_opts: '{option}'")
        name = text()(option["opt_name"])
        if not name.strip():
            raise Invalid(f"'{name}' Blank strings are not permitted")
        version = option.get("ip_version")
        version = 4 if version is None else one_of([4, 6])(integer(version))
        if (name, version) in seen:
            raise Invalid(f"Duplicate item of extra_dhcp_opts: {name}")
        seen.add((name, version))
        content = option["opt_value"]
        result.append(
            {"opt_name": name, "opt_value": None if content is None else str(content), "ip_version": version}
        )
    return result


def mac_or_generated(value: Any) -> Any:
    return UNSET if value is None else mac_address(value)


PORT = (
    *STANDARD,
    TAGS,
    ADMIN_STATE,
    STATUS,
    once("network_id", uuid, default=REQUIRED),
    both("mac_address", mac_or_generated, default=UNSET),
    both("fixed_ips", fixed_ips, default=UNSET),
    both("device_id", none_to("", text()), default=""),
    both("device_owner", none_to("", text()), default=""),
    both("port_security_enabled", boolean, default=UNSET),
    both("security_groups", none_to([], list_of(uuid)), default=UNSET),
    both("allowed_address_pairs", none_to([], address_pairs), default=UNSET),
    both("extra_dhcp_opts", none_to([], dhcp_options), default=[]),
    both("dns_name", dns_name, default=""),
    both("dns_domain", dns_domain, default=""),
    Attribute("dns_assignment"),
    both("propagate_uplink_status", boolean, default=True),
    both("binding:host_id", none_to("", text()), default="", column="host_id"),
    both("binding:vnic_type", one_of(VNIC_TYPES), default="normal", column="vnic_type"),
    both("binding:profile", none_to({}, mapping), default={}, column="profile"),
    Attribute("binding:vif_type", column="vif_type"),
    Attribute("binding:vif_details"),
    Attribute("ip_allocation"),
    Attribute("trunk_details"),
    both("qos_policy_id", or_none(uuid)),
    Attribute("qos_network_policy_id"),
)

SUBNETPOOL = (
    *STANDARD,
    TAGS,
    both("prefixes", list_of(prefix), default=REQUIRED),
    both("default_quota", or_none(between(0, None)), default=None),
    Attribute("ip_version"),
    both("default_prefixlen", between(0, None), default=UNSET),
    both("min_prefixlen", between(0, None), default=UNSET),
    both("max_prefixlen", between(0, None), default=UNSET),
    both("is_default", boolean, default=False),
    both("address_scope_id", or_none(uuid), default=None),
    once("shared", boolean, default=False),
)

ADDRESS_SCOPE = (
    ID,
    PROJECT,
    Attribute("tenant_id", column="project_id"),
    NAME,
    once("ip_version", ip_version, default=REQUIRED),
    SHARED,
)
