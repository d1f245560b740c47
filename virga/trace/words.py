"""What is said of the API's objects that stop a packet: the code, the sentence, the command that mends it. Pure."""

from __future__ import annotations

from virga.contract.explain import Ref
from virga.contract.items import Router
from virga.trace.model import Finding, Flight
from virga.trace.world import World


def port_ref(world: World, port_id: str) -> Ref:
    return Ref(kind="port", id=port_id, host=world.ports[port_id].host if port_id in world.ports else "")


def router_ref(router_id: str) -> Ref:
    return Ref(kind="router", id=router_id)


def nobody_at(world: World, network_id: str, address: str, external: bool = False) -> Finding:
    """No port of the network has the address. ``external``: it is the way outside that was looked for."""
    subnet = world.subnet_of(network_id, address)
    if subnet is not None and subnet.gateway_ip == address:
        return Finding(
            "NO_GATEWAY" if external else "NO_ROUTE",
            f"The gateway address {address} of the subnet belongs to no router: nothing leads out of the network.",
            Ref(kind="subnet", id=subnet.id),
            f"openstack router add subnet ROUTER {subnet.id}",
        )
    return Finding(
        "ARP_UNANSWERED",
        f"No port of the network has the address {address}.",
        Ref(kind="network", id=network_id),
        "openstack port list --network " + network_id,
    )


def unbound(world: World, port_id: str) -> Finding:
    fact = world.ports.get(port_id)
    if fact is not None and fact.host and fact.bound:
        sentence = f"Host {fact.host} was not told of the port yet."
        return Finding(
            "PORT_NOT_REALISED", sentence, port_ref(world, port_id), f"openstack port show {port_id}"
        )
    where = f" on host {fact.host}" if fact is not None and fact.host else ""
    return Finding(
        "PORT_UNBOUND",
        f"The port is bound nowhere: no instance uses it, or its binding failed{where}.",
        port_ref(world, port_id),
        f"openstack server add port SERVER {port_id}",
    )


def port_down(world: World, port_id: str) -> Finding:
    return Finding(
        "PORT_DOWN",
        "The port was administratively shut.",
        port_ref(world, port_id),
        f"openstack port set --enable {port_id}",
    )


def router_down(router_id: str) -> Finding:
    return Finding(
        "ROUTER_DOWN",
        "The router was administratively shut.",
        router_ref(router_id),
        f"openstack router set --enable {router_id}",
    )


def router_not_there(router_id: str) -> Finding:
    return Finding(
        "ROUTER_DOWN",
        "The router is on no host.",
        router_ref(router_id),
        f"openstack router show {router_id}",
    )


def unassociated(floating_id: str, address: str) -> Finding:
    return Finding(
        "FIP_UNASSOCIATED",
        f"The floating IP {address} belongs to no port.",
        Ref(kind="floating_ip", id=floating_id, name=address),
        f"openstack server add floating ip SERVER {address}",
    )


def leads_outside(router_id: str, flight: Flight) -> Finding:
    """A router sends by its default route what is for an inner network."""
    where = flight.destination
    return Finding(
        "NO_ROUTE",
        f"The router has no route to {where} but its default one, which leads outside, where nobody knows {where}.",
        router_ref(router_id),
        f"openstack router add route --route destination={where}/{128 if flight.version == 6 else 32},gateway=ADDRESS"
        f" {router_id}",
    )


def no_gateway_address(subnet_id: str, destination: str, external: bool) -> Finding:
    """The guest has no way off its subnet. Not ``external``: there is no router it could lead to either."""
    return Finding(
        "NO_GATEWAY" if external else "NO_ROUTE",
        f"The subnet has no gateway address and no host route to {destination}.",
        Ref(kind="subnet", id=subnet_id),
        f"openstack subnet set --gateway ADDRESS {subnet_id}",
    )


def no_route(router: Router, flight: Flight, external: bool) -> Finding:
    """A router that knows no way to the destination."""
    where = flight.destination
    if external and router.gateway is None:
        return Finding(
            "NO_GATEWAY",
            f"The router has no external gateway, so {where} cannot be reached.",
            router_ref(router.key),
            f"openstack router set --external-gateway public {router.key}",
        )
    return Finding(
        "NO_ROUTE",
        f"The router has no route to {where}.",
        router_ref(router.key),
        f"openstack router add route --route destination={where}/{128 if flight.version == 6 else 32},gateway=ADDRESS"
        f" {router.key}",
    )


def no_nat(router: Router, source: str) -> Finding:
    return Finding(
        "GATEWAY_NO_NAT",
        f"The router does not translate {source} on its way out, so no answer finds back.",
        router_ref(router.key),
        f"openstack router set --external-gateway public --enable-snat {router.key}",
    )


def circle(network_id: str) -> Finding:
    return Finding("NO_ROUTE", "The routes send the packet in a circle.", Ref(kind="network", id=network_id))
