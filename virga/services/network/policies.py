"""Who may do what in the Network service by default: Neutron's rules of today, under Neutron's names."""

from __future__ import annotations

ADMIN = "rule:admin_only"
READER = "role:reader and project_id:%(project_id)s"
MEMBER = "role:member and project_id:%(project_id)s"
MANAGER = "role:manager and project_id:%(project_id)s"
ADMIN_OR_READER = f"({ADMIN}) or ({READER})"
ADMIN_OR_MEMBER = f"({ADMIN}) or ({MEMBER})"
ADMIN_OR_MANAGER = f"({ADMIN}) or ({MANAGER})"
SERVICE = "rule:service_api"
ADMIN_OR_SERVICE = f"({ADMIN}) or ({SERVICE})"
NET_OWNER_MEMBER = "role:member and rule:network_owner"
NET_OWNER_READER = "role:reader and rule:network_owner"
NET_OWNER_MANAGER = "role:manager and rule:network_owner"
PARENT_OWNER_READER = "role:reader and rule:ext_parent_owner"
PARENT_OWNER_MEMBER = "role:member and rule:ext_parent_owner"
PARENT_OWNER_MANAGER = "role:manager and rule:ext_parent_owner"

BASE = {
    "context_is_admin": "role:admin",
    "admin_only": "rule:context_is_admin",
    "service_api": "role:service",
    "context_is_advsvc": "role:advsvc or rule:service_api",
    "network_owner": "project_id:%(network:tenant_id)s",
    "ext_parent_owner": "project_id:%(ext_parent:tenant_id)s",
    "sg_owner": "project_id:%(security_group:tenant_id)s",
    "shared": "field:networks:shared=True",
    "external": "field:networks:router:external=True",
    "shared_object": "field:any:shared=True",
    "network_device": "field:port:device_owner=~^network:",
    "default": ADMIN_OR_READER,
}


def _crud(name: str, get: str = ADMIN_OR_READER, write: str = ADMIN_OR_MEMBER) -> dict[str, str]:
    return {
        f"create_{name}": write,
        f"get_{name}": get,
        f"update_{name}": write,
        f"delete_{name}": write,
    }


def _admin_parts(prefix: str, actions: str, *parts: str) -> dict[str, str]:
    return {f"{action}_{prefix}:{part}": ADMIN for action in actions.split() for part in parts}


NETWORK = {
    **_crud("network", f"{ADMIN_OR_READER} or rule:shared or rule:external or rule:context_is_advsvc"),
    "create_network:shared": ADMIN,
    "update_network:shared": ADMIN,
    **_admin_parts("network", "create update", "router:external", "is_default", "segments"),
    **_admin_parts(
        "network",
        "create update get",
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
    ),
    "get_network:segments": ADMIN,
    "create_network:port_security_enabled": ADMIN_OR_MEMBER,
    "update_network:port_security_enabled": ADMIN_OR_MEMBER,
    "get_networks_tags": f"{ADMIN_OR_READER} or rule:shared or rule:external",
    "create_networks_tags": ADMIN_OR_MEMBER,
    "update_networks_tags": ADMIN_OR_MEMBER,
    "delete_networks_tags": ADMIN_OR_MEMBER,
}

SUBNET = {
    "create_subnet": f"({ADMIN}) or ({NET_OWNER_MEMBER})",
    "get_subnet": f"{ADMIN_OR_READER} or rule:shared or rule:external or {NET_OWNER_READER}",
    "update_subnet": f"{ADMIN_OR_MEMBER} or {NET_OWNER_MEMBER}",
    "delete_subnet": f"{ADMIN_OR_MEMBER} or {NET_OWNER_MEMBER}",
    **_admin_parts("subnet", "create update", "segment_id"),
    "get_subnet:segment_id": ADMIN,
    "get_subnets_tags": f"{ADMIN_OR_READER} or rule:shared or {NET_OWNER_READER}",
    "create_subnets_tags": f"{ADMIN_OR_MEMBER} or {NET_OWNER_MEMBER}",
    "update_subnets_tags": f"{ADMIN_OR_MEMBER} or {NET_OWNER_MEMBER}",
    "delete_subnets_tags": f"{ADMIN_OR_MEMBER} or {NET_OWNER_MEMBER}",
}

NOT_A_DEVICE = (
    f"not rule:network_device or {ADMIN_OR_SERVICE} or rule:context_is_advsvc or {NET_OWNER_MEMBER}"
)
NET_ONLY = f"{ADMIN_OR_SERVICE} or rule:context_is_advsvc or {NET_OWNER_MEMBER}"

PORT = {
    "create_port": f"{ADMIN_OR_MEMBER} or {SERVICE}",
    "create_port:device_id": f"{ADMIN_OR_MEMBER} or {SERVICE}",
    "create_port:device_owner": NOT_A_DEVICE,
    "create_port:mac_address": NET_ONLY,
    "create_port:fixed_ips": f"{NET_ONLY} or rule:shared",
    "create_port:fixed_ips:ip_address": NET_ONLY,
    "create_port:fixed_ips:subnet_id": f"{NET_ONLY} or rule:shared",
    "create_port:port_security_enabled": NET_ONLY,
    "create_port:binding:host_id": ADMIN_OR_SERVICE,
    "create_port:binding:profile": SERVICE + " or " + ADMIN,
    "create_port:binding:vnic_type": f"{ADMIN_OR_MEMBER} or {SERVICE}",
    "create_port:allowed_address_pairs": f"({ADMIN}) or ({NET_OWNER_MEMBER})",
    "get_port": f"{ADMIN_OR_READER} or {SERVICE} or rule:context_is_advsvc or {NET_OWNER_READER}",
    "get_port:binding:vif_type": ADMIN_OR_SERVICE,
    "get_port:binding:vif_details": ADMIN_OR_SERVICE,
    "get_port:binding:host_id": ADMIN_OR_SERVICE,
    "get_port:binding:profile": ADMIN_OR_SERVICE,
    "update_port": f"{ADMIN_OR_MEMBER} or {SERVICE} or rule:context_is_advsvc",
    "update_port:device_id": f"{ADMIN_OR_MEMBER} or {SERVICE}",
    "update_port:device_owner": NOT_A_DEVICE,
    "update_port:mac_address": f"{ADMIN_OR_SERVICE} or rule:context_is_advsvc",
    "update_port:fixed_ips": NET_ONLY,
    "update_port:fixed_ips:ip_address": NET_ONLY,
    "update_port:fixed_ips:subnet_id": f"{NET_ONLY} or rule:shared",
    "update_port:port_security_enabled": NET_ONLY,
    "update_port:binding:host_id": ADMIN_OR_SERVICE,
    "update_port:binding:profile": SERVICE + " or " + ADMIN,
    "update_port:binding:vnic_type": f"{ADMIN_OR_MEMBER} or {SERVICE} or rule:context_is_advsvc",
    "update_port:allowed_address_pairs": f"({ADMIN}) or ({NET_OWNER_MEMBER})",
    "delete_port": f"{ADMIN_OR_MEMBER} or {SERVICE} or rule:context_is_advsvc or {NET_OWNER_MEMBER}",
    "get_ports_tags": f"{ADMIN_OR_READER} or {NET_OWNER_READER}",
    "create_ports_tags": ADMIN_OR_MEMBER,
    "update_ports_tags": ADMIN_OR_MEMBER,
    "delete_ports_tags": ADMIN_OR_MEMBER,
}

SECURITY_GROUP = {
    **_crud("security_group", f"{ADMIN_OR_READER} or rule:shared_object"),
    "get_security_group_rule": f"{ADMIN_OR_READER} or (role:reader and rule:sg_owner)",
    "create_security_group_rule": ADMIN_OR_MEMBER,
    "delete_security_group_rule": f"{ADMIN_OR_MEMBER} or (role:member and rule:sg_owner)",
    "create_default_security_group_rule": ADMIN,
    "get_default_security_group_rule": "@",
    "delete_default_security_group_rule": ADMIN,
    **{
        f"get_{kind}_tags": ADMIN_OR_READER
        for kind in ("security_groups", "routers", "floatingips", "trunks")
    },
    **{
        f"{action}_{kind}_tags": ADMIN_OR_MEMBER
        for kind in ("security_groups", "routers", "floatingips", "trunks")
        for action in ("create", "update", "delete")
    },
}

ROUTER = {
    **_crud("router"),
    **_admin_parts("router", "create update get", "distributed", "ha"),
    "create_router:external_gateway_info": ADMIN_OR_MEMBER,
    "create_router:external_gateway_info:network_id": ADMIN_OR_MEMBER,
    "create_router:external_gateway_info:enable_snat": ADMIN,
    "create_router:external_gateway_info:external_fixed_ips": ADMIN,
    "update_router:external_gateway_info": ADMIN_OR_MEMBER,
    "update_router:external_gateway_info:network_id": ADMIN_OR_MEMBER,
    "update_router:external_gateway_info:enable_snat": ADMIN,
    "update_router:external_gateway_info:external_fixed_ips": ADMIN,
    **{
        f"{verb}": ADMIN_OR_MEMBER
        for verb in (
            "add_router_interface",
            "remove_router_interface",
            "add_extraroutes",
            "remove_extraroutes",
            "add_external_gateways",
            "update_external_gateways",
            "remove_external_gateways",
        )
    },
    **_admin_parts("router", "create update", "enable_default_route_ecmp", "enable_default_route_bfd"),
    **{
        f"{action}_external_gateways:external_gateways:{part}": ADMIN
        for action in ("add", "update")
        for part in ("enable_snat", "external_fixed_ips")
    },
    **_crud("floatingip"),
    "create_floatingip:floating_ip_address": ADMIN,
    "get_floatingip_pool": ADMIN_OR_READER,
    "create_floatingip_port_forwarding": f"({ADMIN}) or ({PARENT_OWNER_MEMBER})",
    "get_floatingip_port_forwarding": f"({ADMIN}) or ({PARENT_OWNER_READER})",
    "update_floatingip_port_forwarding": f"({ADMIN}) or ({PARENT_OWNER_MEMBER})",
    "delete_floatingip_port_forwarding": f"({ADMIN}) or ({PARENT_OWNER_MEMBER})",
}

OTHERS = {
    **_crud("subnetpool", f"{ADMIN_OR_READER} or rule:shared_object"),
    "create_subnetpool:shared": ADMIN,
    "create_subnetpool:is_default": ADMIN,
    "update_subnetpool:is_default": ADMIN,
    "onboard_network_subnets": ADMIN_OR_MEMBER,
    "add_prefixes": ADMIN_OR_MEMBER,
    "remove_prefixes": ADMIN_OR_MEMBER,
    "get_subnetpools_tags": ADMIN_OR_READER,
    "create_subnetpools_tags": ADMIN_OR_MEMBER,
    "update_subnetpools_tags": ADMIN_OR_MEMBER,
    "delete_subnetpools_tags": ADMIN_OR_MEMBER,
    **_crud("address_scope", f"{ADMIN_OR_READER} or rule:shared_object"),
    "create_address_scope:shared": ADMIN,
    "update_address_scope:shared": ADMIN,
    **_crud("address_group", f"{ADMIN_OR_READER} or rule:shared_object"),
    **_crud("rbac_policy"),
    "create_rbac_policy:target_tenant": f"{ADMIN} or (not field:rbac_policy:target_tenant=* and "
    "not field:rbac_policy:target_project=*)",
    "update_rbac_policy:target_tenant": f"{ADMIN} or (not field:rbac_policy:target_tenant=* and "
    "not field:rbac_policy:target_project=*)",
    **_crud("trunk"),
    "get_subports": ADMIN_OR_READER,
    "add_subports": ADMIN_OR_MEMBER,
    "remove_subports": ADMIN_OR_MEMBER,
    **_crud("segment", ADMIN, ADMIN),
    **_crud("network_segment_range", ADMIN, ADMIN),
    "get_agent": ADMIN,
    "update_agent": ADMIN,
    "delete_agent": ADMIN,
    "create_dhcp-network": ADMIN,
    "get_dhcp-networks": ADMIN,
    "delete_dhcp-network": ADMIN,
    "create_l3-router": ADMIN,
    "get_l3-routers": ADMIN,
    "delete_l3-router": ADMIN,
    "get_dhcp-agents": ADMIN,
    "get_l3-agents": ADMIN,
    "get_availability_zone": "@",
    "get_network_ip_availability": ADMIN,
    "get_auto_allocated_topology": ADMIN_OR_READER,
    "delete_auto_allocated_topology": ADMIN_OR_MEMBER,
    "get_quota": f"({ADMIN}) or (role:manager and project_id:%(project_id)s)",
    "update_quota": ADMIN,
    "delete_quota": ADMIN,
    "get_service_provider": "@",
    **_crud("flavor", "@", ADMIN),
    **_crud("metering_label", f"{ADMIN_OR_READER} or rule:shared_object", ADMIN),
    **_crud("metering_label_rule", "@", ADMIN),
    **_crud("service_profile", ADMIN, ADMIN),
    "create_flavor_service_profile": ADMIN,
    "delete_flavor_service_profile": ADMIN,
}

QOS_RULES = [
    f"{prefix}_{kind}_rule"
    for prefix in ("policy", "alias")
    for kind in (
        "bandwidth_limit",
        "packet_rate_limit",
        "dscp_marking",
        "minimum_bandwidth",
        "minimum_packet_rate",
    )
]
QOS = {
    "shared_qos_policy": "field:policies:shared=True",
    **_crud("policy", f"{ADMIN_OR_READER} or rule:shared_qos_policy", ADMIN_OR_MANAGER),
    "get_rule_type": "@",
    "get_rule_type:drivers": ADMIN,
    **{
        f"get_{name}": f"({ADMIN}) or ({PARENT_OWNER_READER}) or rule:shared_qos_policy" for name in QOS_RULES
    },
    **{
        f"{action}_{name}": f"({ADMIN}) or ({PARENT_OWNER_MANAGER})"
        for name in QOS_RULES
        for action in ("create", "update", "delete")
    },
    "get_policies_tags": f"{ADMIN_OR_READER} or rule:shared_qos_policy",
    "create_policies_tags": ADMIN_OR_MANAGER,
    "update_policies_tags": ADMIN_OR_MANAGER,
    "delete_policies_tags": ADMIN_OR_MANAGER,
}

POLICIES: dict[str, str] = {**BASE, **NETWORK, **SUBNET, **PORT, **SECURITY_GROUP, **ROUTER, **OTHERS, **QOS}
