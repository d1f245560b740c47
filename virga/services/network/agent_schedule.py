"""Which agent serves which network or router, and moving them by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row

from virga.api.collection import MakeContext, render_ids
from virga.api.request import Request, Response
from virga.api.resource import Context, authorize
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.network import agent as agents
from virga.services.network import binding, dhcp, faults, network, router
from virga.services.network.models import agent, port_dhcp_binding
from virga.services.network.models import network as network_table
from virga.services.network.models_l3 import router as router_table

InvalidDHCPAgent = faults.refusal(
    "InvalidDHCPAgent", 400, "Agent {id} is not a valid DHCP Agent or has been disabled."
)
InvalidL3Agent = faults.refusal("InvalidL3Agent", 409, "Agent {id} is not a L3 Agent or has been disabled.")
NetworkHostedByDHCPAgent = faults.refusal(
    "NetworkHostedByDHCPAgent",
    409,
    "The network {network_id} has been already hosted by the DHCP Agent {agent_id}.",
)
NetworkNotHostedByDhcpAgent = faults.refusal(
    "NetworkNotHostedByDhcpAgent", 409, "The network {network_id} is not hosted by the DHCP agent {agent_id}."
)
RouterHostedByL3Agent = faults.refusal(
    "RouterHostedByL3Agent", 409, "The router {router_id} has been already hosted by the L3 Agent {agent_id}."
)
RouterNotHostedByL3Agent = faults.refusal(
    "RouterNotHostedByL3Agent", 409, "The router {router_id} is not hosted by L3 agent {agent_id}."
)


def _agent(tx: Tx, agent_id: str) -> Row[Any]:
    row = tx.first(select(agent).where(agent.c.id == agent_id))
    if row is None:
        raise faults.AgentNotFound(id=agent_id)
    return row


def _on_hosts(tx: Tx, context: Context, kind: str, hosts: Sequence[str]) -> Any:
    rows = tx.all(select(agent.c.id).where(agent.c.agent_type == kind, agent.c.host.in_(hosts)))
    return {"agents": render_ids(tx, context, agents.RESOURCE, [row.id for row in rows])}


def agents_of_network(tx: Tx, context: Context, req: Request) -> Any:
    network.RESOURCE.find(tx, context, req["id"])
    return _on_hosts(tx, context, binding.DHCP_AGENT, dhcp.hosts(tx, req["id"]))


def agents_of_router(tx: Tx, context: Context, req: Request) -> Any:
    router.RESOURCE.find(tx, context, req["id"])
    host = tx.scalar(select(router_table.c.host).where(router_table.c.id == req["id"]))
    return _on_hosts(tx, context, binding.L3_AGENT, [host] if host else [])


def networks_of_agent(tx: Tx, context: Context, req: Request) -> Any:
    host = _agent(tx, req["id"]).host
    table = port_dhcp_binding
    rows = tx.all(
        select(network_table.c.id)
        .join(table, table.c.network_id == network_table.c.id)
        .where(table.c.host == host)
    )
    return {"networks": render_ids(tx, context, network.RESOURCE, [row.id for row in rows])}


def routers_of_agent(tx: Tx, context: Context, req: Request) -> Any:
    host = _agent(tx, req["id"]).host
    rows = tx.all(select(router_table.c.id).where(router_table.c.host == host))
    return {"routers": render_ids(tx, context, router.RESOURCE, [row.id for row in rows])}


def _named(req: Request, name: str) -> str:
    value = req.body.get(name) if isinstance(req.body, dict) else None
    if not isinstance(value, str):
        raise faults.HTTPBadRequest(reason=f"Required attribute '{name}' not specified")
    return value


def add_network(tx: Tx, context: Context, req: Request) -> Any:
    row = _agent(tx, req["id"])
    if row.agent_type != binding.DHCP_AGENT or not row.admin_state_up:
        raise InvalidDHCPAgent(id=row.id)
    network_id = _named(req, "network_id")
    network.RESOURCE.find(tx, context, network_id)
    if row.host in dhcp.hosts(tx, network_id):
        raise NetworkHostedByDHCPAgent(network_id=network_id, agent_id=row.id)
    dhcp.add_host(tx, context, network_id, row.host)
    return Response(201, b"null")


def remove_network(tx: Tx, context: Context, req: Request) -> Any:
    row = _agent(tx, req["id"])
    if row.host not in dhcp.hosts(tx, req["network_id"]):
        raise NetworkNotHostedByDhcpAgent(network_id=req["network_id"], agent_id=row.id)
    dhcp.remove_host(tx, req["network_id"], row.host)
    return Response(204)


def add_router(tx: Tx, context: Context, req: Request) -> Any:
    row = _agent(tx, req["id"])
    if row.agent_type != binding.L3_AGENT or not row.admin_state_up:
        raise InvalidL3Agent(id=row.id)
    router_id = _named(req, "router_id")
    router.RESOURCE.find(tx, context, router_id)
    host = tx.scalar(select(router_table.c.host).where(router_table.c.id == router_id))
    if host and host != row.host:
        other = binding.agent_on(tx, binding.L3_AGENT, host)
        raise RouterHostedByL3Agent(router_id=router_id, agent_id=other.id if other else host)
    if not host:
        router.move(tx, context, router_id, row.host)
    return Response(201, b"null")


def remove_router(tx: Tx, context: Context, req: Request) -> Any:
    row = _agent(tx, req["id"])
    host = tx.scalar(select(router_table.c.host).where(router_table.c.id == req["router_id"]))
    if host != row.host:
        raise RouterNotHostedByL3Agent(router_id=req["router_id"], agent_id=row.id)
    router.move(tx, context, req["router_id"], "")
    return Response(204)


def routes(make_context: MakeContext) -> list[Route]:
    def serve(rule: str, act: Callable[[Tx, Context, Request], Any]) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            authorize(context, [rule], req.own_target())
            return act(tx, context, req)

        return handler

    nets, routers = "/v2.0/agents/{id}/dhcp-networks", "/v2.0/agents/{id}/l3-routers"
    table = (
        ("GET", "/v2.0/networks/{id}/dhcp-agents", "get_dhcp-agents", agents_of_network, 200),
        ("GET", "/v2.0/routers/{id}/l3-agents", "get_l3-agents", agents_of_router, 200),
        ("GET", nets, "get_dhcp-networks", networks_of_agent, 200),
        ("POST", nets, "create_dhcp-network", add_network, 201),
        ("DELETE", nets + "/{network_id}", "delete_dhcp-network", remove_network, 204),
        ("GET", routers, "get_l3-routers", routers_of_agent, 200),
        ("POST", routers, "create_l3-router", add_router, 201),
        ("DELETE", routers + "/{router_id}", "delete_l3-router", remove_router, 204),
    )
    return [
        Route(method, path, serve(rule, act), AUTHENTICATED, status=status)
        for method, path, rule, act, status in table
    ]
