"""Devices of instances' ports, made as soon as the port is bound here.

    ovs      tap -- br-int                         (an emulator opens the tap)
    ovs      eth0 in instance-<id> == tap -- br-int (an instance that is a namespace)
    hybrid   tap -- qbr -- qvb == qvo -- br-int    (iptables filters on the Linux bridge)

Devices of DHCP and routers are their managers' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from virga.agent.drivers.interfaces import LinkWishes, NamespaceWishes
from virga.agent.managers.attachment import is_sub_port
from virga.contract.items import AnyItem, Instance, Network, Port
from virga.contract.messages import Report
from virga.sdn.port_flows import is_trusted


@dataclass(frozen=True, slots=True)
class GuestEnd:
    """Where a port ends in an instance that is a namespace."""

    namespace: str
    device: str


def instance_namespace(instance_id: str) -> str:
    """Name of the namespace that is the instance."""
    return f"instance-{instance_id}"


def hybrid_names(port: Port) -> tuple[str, str, str]:
    """``tap``, ``qbr`` and ``qvb`` of a port whose ``device_name`` is its ``qvo``."""
    rest = port.device_name[3:]
    return f"tap{rest}", f"qbr{rest}", f"qvb{rest}"


class PlugManager:
    """Wants the devices between an instance and br-int."""

    name = "plug"
    kinds: tuple[str, ...] = ("port", "instance", "network")

    def __init__(self, namespaces: NamespaceWishes, links: LinkWishes) -> None:
        self._namespaces = namespaces
        self._links = links
        self._ports: dict[str, Port] = {}
        self._mtus: dict[str, int] = {}
        self._ends: dict[str, GuestEnd] = {}
        self._instances: dict[str, tuple[str, ...]] = {}
        """Instance that is a namespace -> its ports."""
        self._made: dict[str, tuple[str, ...]] = {}
        self._stale: set[str] = set()
        self._gone: set[str] = set()

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        if kind == "network":
            self._note_network(key, item if isinstance(item, Network) else None)
        elif kind == "instance":
            self._note_instance(key, item if isinstance(item, Instance) else None)
        else:
            if isinstance(item, Port):
                self._ports[key] = item
            else:
                self._ports.pop(key, None)
            self._stale.add(key)

    def resolve(self) -> None:
        for instance_id in sorted(self._instances):
            self._namespaces.want(instance_namespace(instance_id), True)
        for instance_id in sorted(self._gone):
            self._namespaces.want(instance_namespace(instance_id), False)
        for key in sorted(self._stale):
            self._place(key)
        self._stale.clear()
        self._gone.clear()

    def reports(self) -> Sequence[Report]:
        return []

    def _note_network(self, key: str, network: Network | None) -> None:
        if network is None:
            self._mtus.pop(key, None)
        else:
            self._mtus[key] = network.mtu
        self._stale.update(port.key for port in self._ports.values() if port.network_id == key)

    def _note_instance(self, key: str, instance: Instance | None) -> None:
        for port_id in self._instances.pop(key, ()):
            self._ends.pop(port_id, None)
            self._stale.add(port_id)
        if instance is None or instance.driver != "namespace":
            self._gone.add(key)
            return
        self._gone.discard(key)
        self._instances[key] = tuple(nic.port_id for nic in instance.nics)
        for number, nic in enumerate(instance.nics):
            self._ends[nic.port_id] = GuestEnd(instance_namespace(key), f"eth{number}")
            self._stale.add(nic.port_id)

    def _place(self, key: str) -> None:
        port = self._ports.get(key)
        wanted = () if port is None or is_trusted(port) or is_sub_port(port) else self._want(port)
        for device in self._made.pop(key, ()):
            if device not in wanted:
                self._links.unwant(device)
        if wanted:
            self._made[key] = wanted

    def _want(self, port: Port) -> tuple[str, ...]:
        """The host's devices of this port, outermost last."""
        mtu, end = self._mtus.get(port.network_id, 1500), self._ends.get(port.key)
        inner = hybrid_names(port)[0] if port.plug == "hybrid" else port.device_name
        if end is not None:
            self._links.want_veth(inner, end.device, end.namespace, port.mac_address, mtu)
        else:
            self._links.want_tap(inner, mtu)
        if port.plug != "hybrid":
            return (inner,)
        tap, bridge, inside = hybrid_names(port)
        self._links.want_veth(port.device_name, inside, None, None, mtu)
        self._links.want_bridge(bridge, [tap, inside], mtu)
        return (tap, bridge, port.device_name)
