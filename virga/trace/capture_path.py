"""Where the frames of an instance can be seen: from its tap to the outside, on every host that its networks reach.

tap [qbr qvb qvo] - int-br-X (mirror) - NIC | NIC of the far host - int-br-X - qr - qg - NIC | tap of DHCP
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from virga.contract.capture import Hop
from virga.contract.doctor import HostExamination, Uplink
from virga.db.tx import Tx
from virga.services.compute.models import server, server_port
from virga.services.network.models import network_segment, port
from virga.services.network.models_l3 import router, router_interface

INTEGRATION_BRIDGE = "br-int"


class NotOne(Exception):
    """No instance, or more than one, has the name."""


@dataclass(frozen=True, slots=True)
class Plugged:
    """A port on a host: an instance's, a router's or that of DHCP."""

    id: str
    host: str
    kind: str
    """tap, qr, qg, dhcp."""
    network_id: str
    namespace: str = ""
    hybrid: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """All ports on the way of an instance, and the physical network of each of their networks."""

    ports: tuple[Plugged, ...]
    physical: Mapping[str, str]

    @property
    def hosts(self) -> list[str]:
        return sorted({port.host for port in self.ports if port.host})


def place_of(tx: Tx, name: str) -> Place:
    """The instance by id or name, with its networks' routers and DHCP. Raises NotOne."""
    living = server.c.deleted.is_(False)
    rows = tx.all(
        select(server.c.id, server.c.name).where(living, (server.c.id == name) | (server.c.name == name))
    )
    exact = [row for row in rows if row.id == name] or rows
    if len(exact) != 1:
        raise NotOne(f"There is {'no instance' if not exact else 'more than one instance'} {name!r}.")
    own = select(server_port.c.port_id).where(server_port.c.server_id == exact[0].id)
    taps = [
        Plugged(
            row.id, row.host_id, "tap", row.network_id, hybrid=bool(row.vif_details.get("ovs_hybrid_plug"))
        )
        for row in tx.all(select(port).where(port.c.id.in_(own)))
    ]
    if not taps:
        raise NotOne(f"Instance {name!r} has no port.")
    networks = {each.network_id for each in taps}
    found = [*taps, *_routers(tx, networks), *_dhcp(tx, networks)]
    segment = network_segment
    wanted = {each.network_id for each in found}
    rows = tx.all(
        select(segment.c.network_id, segment.c.physical_network).where(segment.c.network_id.in_(wanted))
    )
    return Place(tuple(found), {row.network_id: row.physical_network for row in rows})


def _routers(tx: Tx, networks: Iterable[str]) -> list[Plugged]:
    query = (
        select(
            port.c.id, port.c.network_id, router.c.id.label("router_id"), router.c.host, router.c.gw_port_id
        )
        .join(router_interface, router_interface.c.port_id == port.c.id)
        .join(router, router.c.id == router_interface.c.router_id)
        .where(port.c.network_id.in_(list(networks)))
        .distinct()
    )
    found: dict[str, Plugged] = {}
    for row in tx.all(query):
        space = f"qrouter-{row.router_id}"
        found[row.id] = Plugged(row.id, row.host, "qr", row.network_id, space)
        if row.gw_port_id and row.gw_port_id not in found:
            gateway = tx.first(select(port.c.network_id).where(port.c.id == row.gw_port_id))
            if gateway is not None:
                found[row.gw_port_id] = Plugged(row.gw_port_id, row.host, "qg", gateway.network_id, space)
    return list(found.values())


def _dhcp(tx: Tx, networks: Iterable[str]) -> list[Plugged]:
    rows = tx.all(
        select(port).where(port.c.network_id.in_(list(networks)), port.c.device_owner == "network:dhcp")
    )
    return [Plugged(r.id, r.host_id, "dhcp", r.network_id, f"qdhcp-{r.network_id}") for r in rows]


def hops(place: Place, hosts: Mapping[str, HostExamination]) -> list[Hop]:
    """In the order of the way; each once."""
    found: dict[str, Hop] = {}
    taps = [each for each in place.ports if each.kind == "tap"]
    far = [each for each in place.ports if each.kind != "tap"]
    for each in [*taps, *sorted(far, key=lambda port: ("qr", "qg", "dhcp").index(port.kind))]:
        for hop in _around(each, place, hosts):
            found.setdefault(hop.name, hop)
    return list(found.values())


def _around(each: Plugged, place: Place, hosts: Mapping[str, HostExamination]) -> list[Hop]:
    """The port itself, the bridge it is on, and the NIC, where its network leaves the host."""
    own = _devices(each)
    if not each.host:
        return []
    beside = [_hop(each.host, "br-int", INTEGRATION_BRIDGE, mirror=INTEGRATION_BRIDGE)]
    host = hosts.get(each.host)
    uplink = _uplink(host, place.physical.get(each.network_id, "")) if host else None
    if uplink is not None and _crosses(each, place):
        beside.append(_hop(each.host, "nic", uplink.nic))
    return [*own, *beside] if each.kind in ("tap", "qg") else [*reversed(beside), *own]


def _crosses(each: Plugged, place: Place) -> bool:
    """Whether frames of its network leave its host: others are elsewhere, or it is the way out."""
    others = {port.host for port in place.ports if port.network_id == each.network_id}
    return each.kind == "qg" or len(others) > 1


def _devices(each: Plugged) -> list[Hop]:
    end = each.id[:11]
    if each.kind == "tap":
        names = [("tap", f"tap{end}")]
        if each.hybrid:
            names += [(kind, f"{kind}{end}") for kind in ("qbr", "qvb", "qvo")]
        return [_hop(each.host, kind, name) for kind, name in names]
    prefix = {"qr": "qr-", "qg": "qg-", "dhcp": "tap"}[each.kind]
    return [_hop(each.host, each.kind, f"{prefix}{end}", namespace=each.namespace)]


def _hop(host: str, kind: str, device: str, namespace: str = "", mirror: str = "") -> Hop:
    return Hop(
        name=f"{host}:{device}", host=host, kind=kind, device=device, namespace=namespace, mirror=mirror
    )


def _uplink(host: HostExamination, physical_network: str) -> Uplink | None:
    return next((each for each in host.uplinks if each.physical_network == physical_network), None)


def chosen(all_hops: Sequence[Hop], words: Sequence[str]) -> list[Hop]:
    """Hops by kind, device or name; no words: the taps alone; ``all``: all. Raises NotOne for a word that means none."""
    if not words:
        return [hop for hop in all_hops if hop.kind == "tap"]
    if "all" in words:
        return list(all_hops)
    for word in words:
        if not any(word in (hop.kind, hop.device, hop.name) for hop in all_hops):
            known = ", ".join(hop.name for hop in all_hops)
            raise NotOne(f"There is no hop {word!r} on this way: {known}.")
    return [hop for hop in all_hops if {hop.kind, hop.device, hop.name} & set(words)]
