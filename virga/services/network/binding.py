"""Which host realises a port, and how it will be plugged there: what an agent said decides."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Row

from virga.api.resource import Context, Values
from virga.db.tx import Tx
from virga.services.network.models import agent, network_segment

OVS_AGENT = "Open vSwitch agent"
DHCP_AGENT = "DHCP agent"
L3_AGENT = "L3 agent"
METADATA_AGENT = "Metadata agent"

_AGENT = select(agent).where(agent.c.agent_type == bindparam("type"), agent.c.host == bindparam("host"))
_SEGMENTS = select(network_segment).where(network_segment.c.network_id == bindparam("network"))

UNBOUND = "unbound"
FAILED = "binding_failed"


def agent_on(tx: Tx, agent_type: str, host: str) -> Row[Any] | None:
    return tx.first(_AGENT, {"type": agent_type, "host": host})


def is_alive(tx: Tx, context: Context, row: Row[Any]) -> bool:
    """Heard of lately enough."""
    return bool(tx.now - row.heartbeat_timestamp < context.settings.agent_down_seconds * 1_000_000)


def pick_agent(tx: Tx, context: Context, agent_type: str, load: dict[str, int]) -> str | None:
    """The host of the least loaded agent of a kind that is up and enabled."""
    rows = tx.all(select(agent).where(agent.c.agent_type == agent_type, agent.c.admin_state_up.is_(True)))
    alive = [row for row in rows if is_alive(tx, context, row)]
    return min((row.host for row in alive), key=lambda host: (load.get(host, 0), host), default=None)


def bind(tx: Tx, context: Context, network_id: str, host: str, vnic_type: str = "normal") -> Values:
    """The binding columns of a port on ``host``: bound when the agent there reaches the network."""
    if not host:
        return {"host_id": "", "vif_type": UNBOUND, "vif_details": {}}
    row = agent_on(tx, OVS_AGENT, host)
    if row is None or vnic_type != "normal" or not _reaches(tx, row, network_id):
        return {"host_id": host, "vif_type": FAILED, "vif_details": {}}
    conf = row.configurations
    details = {
        "connectivity": "l2",
        "port_filter": True,
        "ovs_hybrid_plug": bool(conf.get("ovs_hybrid_plug", False)),
        "datapath_type": str(conf.get("datapath_type", "system")),
        "bridge_name": str(conf.get("integration_bridge", "br-int")),
        "bound_drivers": {"0": "openvswitch"},
    }
    return {"host_id": host, "vif_type": "ovs", "vif_details": details}


def _reaches(tx: Tx, row: Row[Any], network_id: str) -> bool:
    mappings = row.configurations.get("bridge_mappings", {})
    tunnels = row.configurations.get("tunnel_types", [])
    for segment in tx.all(_SEGMENTS, {"network": network_id}):
        kind = segment.network_type
        if kind == "local" or kind in tunnels or segment.physical_network in mappings:
            return True
    return False


def dhcp_device_id(host: str, network_id: str) -> str:
    """``dhcp<id of the host>-<network id>``, as OpenStack's DHCP agents write it."""
    return f"dhcp{uuid.uuid5(uuid.NAMESPACE_DNS, host.split('.')[0])}-{network_id}"
