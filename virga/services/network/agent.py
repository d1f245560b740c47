"""Agents: what each host says of itself, as Neutron's four agents, and who may switch them off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, false, func, insert, or_, select, update
from sqlalchemy.engine import Row

from virga.api.policy import Policy
from virga.api.request import Caller
from virga.api.resource import Attribute, Context, Resource, Values, change
from virga.api.validators import boolean, or_none, text
from virga.contract.messages import Heartbeat
from virga.db.tx import Tx
from virga.lib.clock import to_datetime
from virga.lib.ids import new_uuid
from virga.services.network import binding, dhcp, faults, router
from virga.services.network.models import agent, port
from virga.services.network.policies import POLICIES
from virga.settings import Settings

KINDS = {
    "network": (binding.OVS_AGENT, "neutron-openvswitch-agent", "N/A", None),
    "dhcp": (binding.DHCP_AGENT, "neutron-dhcp-agent", "dhcp_agent", "nova"),
    "l3": (binding.L3_AGENT, "neutron-l3-agent", "l3_agent", "nova"),
    "metadata": (binding.METADATA_AGENT, "neutron-metadata-agent", "N/A", None),
}
"""Role of a host to agent type, binary, topic and availability zone."""


def service_context(settings: Settings) -> Context:
    """The service acting for itself."""
    return Context(Caller(roles=frozenset({"admin"})), Policy(POLICIES), settings, is_admin=True)


def heartbeat(tx: Tx, settings: Settings, message: Heartbeat) -> None:
    """Keep the agents of a host alive; networks and routers that waited for one are given to it."""
    known = {row.agent_type: row for row in tx.all(select(agent).where(agent.c.host == message.host))}
    news = False
    for role in message.roles:
        if role not in KINDS:
            continue
        kind, binary, topic, zone = KINDS[role]
        conf = dict(message.configurations.get(role, {}))
        row = known.get(kind)
        values = {"configurations": conf, "heartbeat_timestamp": tx.now}
        if row is None:
            news = True
            values |= {
                "id": new_uuid(),
                "agent_type": kind,
                "binary": binary,
                "host": message.host,
                "topic": topic,
                "availability_zone": zone,
                "admin_state_up": True,
                "created_at": tx.now,
                "started_at": int(message.started_at * 1_000_000) or tx.now,
            }
            tx.execute(insert(agent).values(**values))
            continue
        silent = tx.now - row.heartbeat_timestamp >= settings.agent_down_seconds * 1_000_000
        news = news or silent or row.configurations != conf
        if message.started_at:
            values["started_at"] = int(message.started_at * 1_000_000)
        tx.execute(update(agent).where(agent.c.id == row.id).values(**values))
    if news:
        context = service_context(settings)
        _bind_again(tx, context, message.host)
        dhcp.schedule_waiting(tx, context)
        router.schedule_waiting(tx, context)


def _bind_again(tx: Tx, context: Context, host: str) -> None:
    """Ports that the host could not reach before it said what it reaches."""
    table = port
    for row in tx.all(select(table).where(table.c.host_id == host, table.c.vif_type == binding.FAILED)):
        columns = binding.bind(tx, context, row.network_id, host, row.vnic_type)
        if columns["vif_type"] != binding.FAILED:
            change(tx, table, row.id, columns)
            tx.touch("port", row.id)


# --- the API


def _time(us: int) -> str:
    return to_datetime(us).strftime("%Y-%m-%d %H:%M:%S")


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    return [
        {
            "id": row.id,
            "agent_type": row.agent_type,
            "binary": row.binary,
            "topic": row.topic,
            "host": row.host,
            "admin_state_up": row.admin_state_up,
            "created_at": _time(row.created_at),
            "started_at": _time(row.started_at),
            "heartbeat_timestamp": _time(row.heartbeat_timestamp),
            "description": row.description,
            "resources_synced": None,
            "availability_zone": row.availability_zone,
            "alive": binding.is_alive(tx, context, row),
            "configurations": row.configurations,
            "resource_versions": {},
        }
        for row in rows
    ]


def update_agent(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    if changes:
        tx.execute(update(agent).where(agent.c.id == current["id"]).values(**changes))
    tx.touch("agent", current["host"])


def delete_agent(tx: Tx, context: Context, current: Values) -> None:
    tx.execute(delete(agent).where(agent.c.id == current["id"]))


def _alive_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    from virga.lib.clock import now_us

    wanted = {boolean(value) for value in values}
    limit = now_us() - context.settings.agent_down_seconds * 1_000_000
    parts = []
    if True in wanted:
        parts.append(agent.c.heartbeat_timestamp > limit)
    if False in wanted:
        parts.append(agent.c.heartbeat_timestamp <= limit)
    return or_(*parts)


def _type_filter(context: Context, values: list[str]) -> ColumnElement[bool]:
    """People write ``L3 Agent`` and ``DHCP agent`` as they like."""
    return func.lower(agent.c.agent_type).in_([value.lower() for value in values])


RESOURCE = Resource(
    name="agent",
    collection="agents",
    table=agent,
    attributes=(
        Attribute("id"),
        Attribute("agent_type"),
        Attribute("binary"),
        Attribute("topic"),
        Attribute("host"),
        Attribute("admin_state_up", boolean, put=True),
        Attribute("created_at"),
        Attribute("started_at"),
        Attribute("heartbeat_timestamp"),
        Attribute("alive"),
        Attribute("configurations"),
        Attribute("description", or_none(text()), put=True),
        Attribute("availability_zone"),
        Attribute("resources_synced"),
    ),
    not_found=lambda agent_id: faults.AgentNotFound(id=agent_id),
    render=render,
    update=update_agent,
    delete=delete_agent,
    # Agents belong to nobody: who is no administrator sees none.
    scope=lambda context: false(),
    filters={"alive": _alive_filter, "agent_type": _type_filter},
)
