"""Faults that people make through the API: rules, states, gateways, routes, addresses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.faults.fault import FAULTS, Fault, fault, path
from tests.faults.world import World

Rule = dict[str, Any]
V4 = {"ethertype": "IPv4"}


@contextlib.contextmanager
def group_of(
    world: World, server: str, rules: list[Rule], *, egress: bool = True, **more: Any
) -> Iterator[str]:
    """The server's port has a group of its own, with these rules; without ``egress`` nothing may leave."""
    network, port = world.api.network, world.servers[server].port
    group = network.create_security_group(name="special", **more)
    if not egress:
        for rule in network.security_group_rules(security_group_id=group.id):
            network.delete_security_group_rule(rule.id)
    for rule in rules:
        network.create_security_group_rule(
            security_group_id=group.id, **{"direction": "ingress", **V4, **rule}
        )
    network.update_port(port, security_groups=[group.id])
    try:
        yield group.id
    finally:
        network.update_port(port, security_groups=[world.group.id])
        network.delete_security_group(group.id)


def tcp(port: int, **more: Any) -> Rule:
    return {"protocol": "tcp", "port_range_min": port, "port_range_max": port, **more}


def grouped(
    name: str, code: str, asked: str, server: str, rules: list[Rule], *, egress: bool = True, **more: Any
) -> None:
    """A fault that is a group with too little in it."""

    def break_(world: World) -> Iterator[None]:
        with group_of(world, server, rules, egress=egress, **more):
            yield

    FAULTS.append(Fault(name, code, path(asked), break_, path(asked)))


PING = {"protocol": "icmp"}
grouped("no ingress rule at all", "SG_NO_MATCH", "web app icmp", "app", [])
grouped("ingress rule for the protocol missing", "SG_NO_MATCH", "web app tcp/22", "app", [PING])
grouped("ingress rule missing, other host", "SG_NO_MATCH", "web far tcp/22", "far", [PING])
grouped("ingress rule missing, behind a router", "SG_NO_MATCH", "web db icmp", "db", [tcp(22)])
grouped("ingress rule missing, floating IP", "SG_NO_MATCH", "outside web tcp/22", "web", [PING])
grouped("ingress rule with a wrong prefix", "SG_NO_MATCH", "web app tcp/22", "app",
        [tcp(22, remote_ip_prefix="10.99.0.0/16")])  # fmt: skip
grouped("ingress rule with a wrong port", "SG_NO_MATCH", "web app tcp/22", "app", [tcp(2222)])
grouped("ingress rule with a wrong protocol", "SG_NO_MATCH", "near web tcp/22", "web",
        [{**tcp(22), "protocol": "udp"}])  # fmt: skip
grouped("ingress rule for IPv6 only", "SG_NO_MATCH", "web app tcp/22", "app", [tcp(22, ethertype="IPv6")])
grouped("ingress rule for IPv4 only", "SG_NO_MATCH", "web far tcp/22 v6", "far", [tcp(22)])
grouped("ingress rule for another kind of ICMP", "SG_NO_MATCH", "web app icmp", "app",
        [{**PING, "port_range_min": 13, "port_range_max": 0}])  # fmt: skip
grouped("no egress rule", "SG_EGRESS_NO_MATCH", "web app tcp/22", "web", [PING], egress=False)
grouped("no egress rule, to the outside", "SG_EGRESS_NO_MATCH", "near outside icmp", "near", [], egress=False)
grouped("egress rule with a wrong prefix", "SG_EGRESS_NO_MATCH", "web db tcp/22", "web",
        [{"direction": "egress", "remote_ip_prefix": "10.71.1.0/24"}], egress=False)  # fmt: skip
grouped("stateless group without a rule for the reply", "SG_NO_MATCH", "web app tcp/22", "web", [PING],
        stateful=False)  # fmt: skip


@fault("remote group does not contain the source", "SG_NO_MATCH", "web far tcp/22")
def remote_group(world: World) -> Iterator[None]:
    other = world.api.network.create_security_group(name="clients")
    try:
        with group_of(world, "far", [tcp(22, remote_group_id=other.id)]):
            yield
    finally:
        world.api.network.delete_security_group(other.id)


def port_is(name: str, code: str, asked: str, server: str, **change: Any) -> None:
    """A fault that is a change of a port, and back."""

    def break_(world: World) -> Iterator[None]:
        network, port = world.api.network, world.servers[server].port
        before = network.get_port(port)
        network.update_port(port, **change)
        yield
        network.update_port(port, **{key: before[key] for key in change})

    FAULTS.append(Fault(name, code, path(asked), break_, path(asked)))


port_is("destination port down", "PORT_DOWN", "web far icmp", "far", is_admin_state_up=False)
port_is("source port down", "PORT_DOWN", "web db tcp/22", "web", is_admin_state_up=False)
port_is("port behind a floating IP down", "PORT_DOWN", "outside web tcp/22", "web", is_admin_state_up=False)
port_is("port down, for DHCP", "PORT_DOWN", "app dhcp", "app", is_admin_state_up=False)


@fault("source uses an address that its port lost", "SPOOF_GUARD", "web app icmp")
def address_taken(world: World) -> Iterator[None]:
    yield from _other_address(world, "web", "10.71.1.222")


@fault(
    "destination still has the address that its port lost", "GUEST_SILENT", "web 10.71.1.223 icmp", never=True
)
def address_not_there(world: World) -> Iterator[None]:
    yield from _other_address(world, "app", "10.71.1.223")


def _other_address(world: World, name: str, address: str) -> Iterator[None]:
    network, server = world.api.network, world.servers[name]
    before = network.get_port(server.port).fixed_ips
    subnets = world.networks[server.network]
    new = [{"subnet_id": subnets.subnet, "ip_address": address}, {"subnet_id": subnets.subnet6}]
    network.update_port(server.port, fixed_ips=new)
    yield
    network.update_port(server.port, fixed_ips=before)


@dataclass(frozen=True)
class Stop:
    """How a server comes to a halt, the status it then has, and how it runs again."""

    by: str
    status: str
    mend: str


STOPPED = Stop("stop_server", "SHUTOFF", "start_server")
PAUSED = Stop("pause_server", "PAUSED", "unpause_server")
SUSPENDED = Stop("suspend_server", "SUSPENDED", "resume_server")


def server_is(name: str, asked: str, server: str, stop: Stop) -> None:
    """A server that does not run."""

    def break_(world: World) -> Iterator[None]:
        compute, number = world.api.compute, world.servers[server].id
        getattr(compute, stop.by)(number)
        compute.wait_for_server(compute.get_server(number), status=stop.status, wait=60, interval=0.2)
        yield
        getattr(compute, stop.mend)(number)
        compute.wait_for_server(compute.get_server(number), wait=60, interval=0.2)

    FAULTS.append(Fault(name, "INSTANCE_DOWN", path(asked), break_, path(asked)))


server_is("destination stopped", "web app icmp", "app", STOPPED)
server_is("destination stopped, other host, routed", "web db tcp/22", "db", STOPPED)
server_is("destination stopped, floating IP", "outside far tcp/22", "far", STOPPED)
server_is("destination paused", "web vm icmp", "vm", PAUSED)
server_is("destination suspended", "near vm tcp/22", "vm", SUSPENDED)


@fault("router down", "ROUTER_DOWN", "web near icmp")
def router_down(world: World) -> Iterator[None]:
    network, number = world.api.network, world.routers["r1"].id
    network.update_router(number, is_admin_state_up=False)
    yield
    network.update_router(number, is_admin_state_up=True)


@fault("second router down", "ROUTER_DOWN", "web deep icmp")
def second_router_down(world: World) -> Iterator[None]:
    network, number = world.api.network, world.routers["r2"].id
    network.update_router(number, is_admin_state_up=False)
    yield
    network.update_router(number, is_admin_state_up=True)


def _without_interface(world: World, router: str, network: str) -> Iterator[None]:
    api, number = world.api.network, world.routers[router].id
    subnet = world.networks[network].subnet
    api.remove_interface_from_router(number, subnet=subnet)
    yield
    api.add_interface_to_router(number, subnet=subnet)
    world.learn()


@fault("router interface missing at the destination", "NO_ROUTE", "web near icmp")
def no_interface(world: World) -> Iterator[None]:
    yield from _without_interface(world, "r1", "green")


@fault("router interface missing at the source", "NO_ROUTE", "near web tcp/22")
def no_own_interface(world: World) -> Iterator[None]:
    yield from _without_interface(world, "r1", "green")


@fault("second router has no interface", "NO_ROUTE", "web deep icmp")
def no_far_interface(world: World) -> Iterator[None]:
    yield from _without_interface(world, "r2", "red")


@fault("IPv6 router interface missing", "NO_ROUTE", "web db icmp v6")
def no_interface_6(world: World) -> Iterator[None]:
    api, number = world.api.network, world.routers["r1"].id
    subnet = world.networks["green"].subnet6
    api.remove_interface_from_router(number, subnet=subnet)
    yield
    api.add_interface_to_router(number, subnet=subnet)
    world.learn()


def routes_are(name: str, code: str, asked: str, router: str, routes: list[tuple[str, str]]) -> None:
    """Other extra routes than the right ones."""

    def break_(world: World) -> Iterator[None]:
        before = world.api.network.get_router(world.routers[router].id).routes
        world.routes(router, routes)
        yield
        world.api.network.update_router(world.routers[router].id, routes=before)

    FAULTS.append(Fault(name, code, path(asked), break_, path(asked)))


routes_are("extra route withdrawn", "NO_ROUTE", "web deep icmp", "r1", [])
routes_are("extra route of the way back withdrawn", "NO_ROUTE", "web deep tcp/22", "r2", [])
routes_are("extra route to nobody", "ARP_UNANSWERED", "web deep icmp", "r1", [("10.71.3.0/24", "10.71.9.77")])
routes_are("extra route for too small a prefix", "NO_ROUTE", "web deep icmp", "r1",
           [("10.71.3.128/25", "10.71.9.2")])  # fmt: skip


@contextlib.contextmanager
def without_floating_ips(world: World) -> Iterator[None]:
    network = world.api.network
    for name in ("web", "far"):
        network.update_ip(world.servers[name].fip_id, port_id=None)
    try:
        yield
    finally:
        for name in ("web", "far"):
            network.update_ip(world.servers[name].fip_id, port_id=world.servers[name].port)


@fault("router without a gateway", "NO_GATEWAY", "near outside icmp")
def no_gateway(world: World) -> Iterator[None]:
    network, number = world.api.network, world.routers["r1"].id
    with without_floating_ips(world):
        network.update_router(number, external_gateway_info={})
        yield
        network.update_router(number, external_gateway_info={"network_id": world.public.id})
    world.learn()


@fault("gateway without NAT", "GATEWAY_NO_NAT", "near outside icmp")
def no_nat(world: World) -> Iterator[None]:
    network, number = world.api.network, world.routers["r1"].id
    info = {"network_id": world.public.id}
    network.update_router(number, external_gateway_info={**info, "enable_snat": False})
    yield
    network.update_router(number, external_gateway_info={**info, "enable_snat": True})
    world.learn()


@fault("router that leads nowhere, to the outside", "NO_GATEWAY", "deep outside icmp")
def no_second_gateway(world: World) -> Iterator[None]:
    before = world.api.network.get_router(world.routers["r2"].id).routes
    world.routes("r2", [("10.71.0.0/16", "10.71.9.1")])
    yield
    world.api.network.update_router(world.routers["r2"].id, routes=before)


@fault("floating IP of nobody", "FIP_UNASSOCIATED", "outside {web.fip} tcp/22")
def fip_unassociated(world: World) -> Iterator[None]:
    network, server = world.api.network, world.servers["web"]
    network.update_ip(server.fip_id, port_id=None)
    yield
    network.update_ip(server.fip_id, port_id=server.port)


@fault("floating IP at a port that nobody uses", "PORT_UNBOUND", "outside {web.fip} icmp")
def fip_elsewhere(world: World) -> Iterator[None]:
    network, server = world.api.network, world.servers["web"]
    port = network.create_port(network_id=world.networks["blue"].id, name="ghost")
    network.update_ip(server.fip_id, port_id=port.id)
    yield
    network.update_ip(server.fip_id, port_id=server.port)
    network.delete_port(port.id)


@fault("port that no instance has", "PORT_UNBOUND", "web 10.71.1.240 icmp", never=True)
def unbound(world: World) -> Iterator[None]:
    blue = world.networks["blue"]
    port = world.api.network.create_port(
        network_id=blue.id, name="ghost", fixed_ips=[{"subnet_id": blue.subnet, "ip_address": "10.71.1.240"}]
    )
    yield
    world.api.network.delete_port(port.id)


@fault("no router between two networks", "NO_ROUTE", "solo web icmp", never=True)
def no_router(world: World) -> Iterator[None]:
    yield


@fault("no way outside from a network without a router", "NO_GATEWAY", "solo outside icmp", never=True)
def no_way_out(world: World) -> Iterator[None]:
    yield


def subnet_is(name: str, code: str, asked: str, network: str, **change: Any) -> None:
    """A change of a subnet, and back."""

    def break_(world: World) -> Iterator[None]:
        api, subnet = world.api.network, world.networks[network].subnet
        before = api.get_subnet(subnet)
        api.update_subnet(subnet, **change)
        yield
        api.update_subnet(subnet, **{key: before[key] for key in change})
        world.learn()

    FAULTS.append(Fault(name, code, path(asked), break_, path(asked)))


subnet_is("DHCP disabled", "NO_DHCP", "web dhcp", "blue", is_dhcp_enabled=False)


@fault("no DHCP, so no metadata", "METADATA_DOWN", "solo metadata")
def no_metadata(world: World) -> Iterator[None]:
    api, subnet = world.api.network, world.networks["isle"].subnet
    api.update_subnet(subnet, is_dhcp_enabled=False)
    yield
    api.update_subnet(subnet, is_dhcp_enabled=True)
    world.learn()
    for name in ("solo", "other"):
        world.renew(name)


subnet_is("name server that is nowhere", "DNS_DOWN", "web dns", "blue", dns_nameservers=["10.71.1.99"])
