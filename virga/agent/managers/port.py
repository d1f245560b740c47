"""Ports of this host: onto br-int with their network's tag, guarded and filtered, then ACTIVE.

Who needs a device (instances, DHCP, routers) wishes for it at the link driver; a port is plugged as
soon as its device is wished for, and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from virga.agent.drivers.interfaces import (
    FlowWishes,
    LeakWishes,
    LinkWishes,
    ShaperWishes,
    SwitchWishes,
    WantedPort,
)
from virga.agent.drivers.shapers import Shaper
from virga.agent.managers.attachment import Attachment, attachment, is_sub_port
from virga.agent.managers.network import NetworkManager
from virga.agent.managers.plug import hybrid_names
from virga.agent.managers.security_group import SecurityGroupManager
from virga.agent.wishes import Outcome
from virga.contract.items import AnyItem, Port
from virga.contract.messages import Report
from virga.sdn.port_flows import PlacedPort, is_filtered, is_trusted, port_flows
from virga.sdn.qos_flows import burst_of, meters
from virga.sdn.tables import DEAD_VLAN

NOT_PLUGGED = "its device is not there yet"


class PortDrivers(Protocol):
    """The drivers that a port needs."""

    @property
    def links(self) -> LinkWishes: ...
    @property
    def leak(self) -> LeakWishes: ...
    @property
    def switch(self) -> SwitchWishes: ...
    @property
    def flows(self) -> FlowWishes: ...
    @property
    def shapers(self) -> ShaperWishes: ...


class PortManager:
    """Wants OVS ports and the flows of each."""

    name = "port"
    kinds: tuple[str, ...] = ("port",)

    def __init__(
        self,
        networks: NetworkManager,
        groups: SecurityGroupManager,
        drivers: PortDrivers,
        hybrid: Callable[[], Outcome],
    ) -> None:
        """``hybrid`` says whether the rules of ports behind a Linux bridge are in force."""
        self._hybrid = hybrid
        self._networks = networks
        self._groups = groups
        self._links = drivers.links
        self._leak = drivers.leak
        self._switch = drivers.switch
        self._flows = drivers.flows
        self._shapers = drivers.shapers
        self._gone = ""
        """Why the switch does not answer, as far as reported."""
        self._shaped: dict[str, str] = {}
        """Port id -> device that is shaped for it."""
        self._ports: dict[str, Port] = {}
        self._by_group: dict[str, set[str]] = {}
        self._by_network: dict[str, set[str]] = {}
        self._open: dict[str, set[str]] = {}
        """Network -> its ports here that may bridge to addresses nobody told us."""
        self._plugged: dict[str, str] = {}
        """Port id -> OVS port that is wished onto br-int."""
        self._ofports: dict[str, int] = {}
        self._stale: set[str] = set()
        self._unsettled: set[str] = set()
        self._dead: set[str] = set()
        self._parent_of: dict[str, str] = {}
        self._ends: dict[str, Attachment | None] = {}
        self._named: dict[str, set[str]] = {}
        """Device, or OVS port -> the ports of the API that meet br-int by it."""
        self._leaks: dict[str, str] = {}
        """Port id -> device that is closed to the kernel for it."""
        networks.listen(lambda network_id: self._stale.update(self._by_network.get(network_id, ())))
        groups.listen(lambda group_id: self._stale.update(self._by_group.get(group_id, ())))
        self._links.listen(self._note_name)
        self._switch.listen(self._note_name)

    @property
    def bridge(self) -> str:
        return self._networks.integration_bridge

    def port(self, port_id: str) -> Port | None:
        return self._ports.get(port_id)

    def status(self, port_id: str) -> tuple[str, str]:
        """``ACTIVE``, ``DOWN`` or ``ERROR``, and why. Others may wait for it."""
        port = self._ports.get(port_id)
        if port is None:
            return "DOWN", "the port is not bound to this host"
        return self._status(port)

    def are_ready(self, port_ids: Sequence[str]) -> bool | None:
        """True: all are plugged and filtered. None: wait. False: one of them cannot be realised."""
        answers = []
        for port_id in port_ids:
            port = self._ports.get(port_id)
            status, _ = self.status(port_id)
            shut = port is not None and not port.admin_state_up and port_id in self._ofports
            answers.append(True if status == "ACTIVE" or shut else False if status == "ERROR" else None)
        return False if False in answers else None if None in answers else True

    # -- Manager -----------------------------------------------------------------------------------

    def on_update(self, kind: str, key: str, item: AnyItem | None) -> None:
        old = self._ports.pop(key, None)
        self._forget_end(key)
        if old is not None:
            self._by_network[old.network_id].discard(key)
            self._open.get(old.network_id, set()).discard(key)
            for group_id in old.security_group_ids:
                self._by_group[group_id].discard(key)
            for sub in old.sub_ports:
                self._parent_of.pop(sub.port_id, None)
                self._stale.add(sub.port_id)
                self._forget_end(sub.port_id)
        if isinstance(item, Port):
            self._ports[key] = item
            self._by_network.setdefault(item.network_id, set()).add(key)
            if not item.port_security_enabled and not is_trusted(item):
                self._open.setdefault(item.network_id, set()).add(key)
            for group_id in item.security_group_ids:
                self._by_group.setdefault(group_id, set()).add(key)
            for sub in item.sub_ports:
                self._parent_of[sub.port_id] = key
                self._stale.add(sub.port_id)
                self._forget_end(sub.port_id)
        self._stale.add(key)
        for network_id in {p.network_id for p in (old, item) if isinstance(p, Port)}:
            self._networks.set_flooded(network_id, bool(self._open.get(network_id)))

    def resolve(self) -> None:
        self._notice()
        for key in sorted(self._stale):
            self._place(key)
        self._stale.clear()

    def reports(self) -> Sequence[Report]:
        self._look_at_switch()
        found = []
        for key in sorted(self._unsettled):
            port = self._ports.get(key)
            if port is None:
                self._unsettled.discard(key)
                continue
            if self._is_closing(port):
                continue
            status, reason = self._status(port)
            found.append(Report(kind="port", key=key, status=status, reason=reason))
            if status == "ACTIVE":
                self._unsettled.discard(key)
        return found

    def _is_closing(self, port: Port) -> bool:
        """On its way down, but what it sends may still pass: it is not down before that has ended."""
        owner = self._flows.owner_outcome(self.bridge, f"port/{port.key}")
        return not port.admin_state_up and port.key in self._ofports and not owner.settled

    # -- its own -----------------------------------------------------------------------------------

    def _look_at_switch(self) -> None:
        """While the switch is away no port forwards, whatever was said of it before."""
        gone = self._flows.owner_outcome(self.bridge, "base").reason
        if bool(gone) != bool(self._gone):
            self._unsettled.update(self._ports)
        self._gone = gone

    def _notice(self) -> None:
        """What the drivers learnt since: flows refused or accepted."""
        self._look_at_switch()
        for key in self._unsettled:
            if (key in self._dead) != self._is_refused(key):
                self._stale.add(key)

    def _is_refused(self, key: str) -> bool:
        """Its flows, or the rules of its Linux bridge, cannot be had: it must not forward."""
        if self._gone:
            # Nothing is known of single flows, and nothing forwards.
            return key in self._dead
        port = self._ports.get(key)
        if port is not None and port.plug == "hybrid" and self._hybrid().reason:
            return True
        return bool(self._flows.owner_outcome(self.bridge, f"port/{key}").reason)

    def _place(self, key: str) -> None:
        port = self._ports.get(key)
        if port is None:
            self._take_away(key)
            return
        self._unsettled.add(key)
        if self._networks.network(port.network_id) is None or self._networks.refusal(port.network_id):
            return
        end = self._attachment(port)
        if end is None or not self._links.is_wanted(end.device):
            self._take_away(key)
            return
        if self._plugged.get(key, end.name) != end.name:
            self._take_away(key, kept=end.device)
        self._plug(port, end)
        number = self._switch.ofport(end.name)
        if number is None or not port.admin_state_up:
            # Nothing of it is left in the tables, whether or not the switch knows the port at the moment.
            self._flows.want(self.bridge, f"port/{key}", [])
            self._flows.want_meters(self.bridge, f"port/{key}", [])
        if number is None:
            self._ofports.pop(key, None)
            return
        self._ofports[key] = number
        stateless = self._groups.is_stateless(port.security_group_ids)
        placed = PlacedPort(port, number, self._networks.tag(port.network_id), stateless)
        flows = [*port_flows(placed), *self._groups.membership(placed)]
        self._flows.want_meters(self.bridge, f"port/{key}", meters(port, number))
        self._flows.want(self.bridge, f"port/{key}", flows)

    def _attachment(self, port: Port) -> Attachment | None:
        if port.key not in self._ends:
            end = attachment(port, self._ports.get(self._parent_of.get(port.key, "")))
            self._ends[port.key] = end
            for name in (end.device, end.name) if end is not None else ():
                self._named.setdefault(name, set()).add(port.key)
        return self._ends[port.key]

    def _forget_end(self, key: str) -> None:
        end = self._ends.pop(key, None)
        for name in {end.device, end.name} if end is not None else ():
            self._named[name].discard(key)
            if not self._named[name]:
                del self._named[name]

    def _note_name(self, name: str) -> None:
        """Its device is wished for or no longer, or its OpenFlow number is another one."""
        self._stale.update(self._named.get(name, ()))

    def _plug(self, port: Port, end: Attachment) -> None:
        if self._is_refused(port.key):
            self._dead.add(port.key)
        else:
            self._dead.discard(port.key)
        closed = port.key in self._dead or not port.admin_state_up
        external_ids = {
            "iface-id": port.key,
            "iface-status": "active",
            "attached-mac": port.mac_address,
        }
        if not is_trusted(port) and port.device_id:
            external_ids["vm-uuid"] = port.device_id
        self._plugged[port.key] = end.name
        self._shape(port)
        if end.own_device:
            self._leaks[port.key] = end.device
            self._leak.want(end.device, True)
        self._switch.want_port(
            WantedPort(
                self.bridge,
                end.name,
                type=end.type,
                options=end.options,
                tag=DEAD_VLAN if closed else self._networks.tag(port.network_id),
                external_ids=external_ids,
                other_config=self._networks.remembered(port.network_id),
            )
        )

    def _shape(self, port: Port) -> None:
        """What it receives is shaped on the device nearest to the instance; a sub-port has none, and a meter."""
        qos, device = port.qos, f"tap{port.key[:11]}"
        limited = qos is not None and qos.ingress_kbps and not is_sub_port(port) and not is_trusted(port)
        if limited and qos is not None:
            burst = burst_of(qos.ingress_kbps, qos.ingress_burst_kbps)
            self._shaped[port.key] = device
            self._shapers.want(device, Shaper(qos.ingress_kbps, burst))
        elif self._shaped.pop(port.key, None) is not None:
            self._shapers.want(device, None)

    def _take_away(self, key: str, kept: str = "") -> None:
        """``kept`` is a device that somebody else has put on another bridge."""
        self._flows.want(self.bridge, f"port/{key}", [])
        self._flows.want_meters(self.bridge, f"port/{key}", [])
        if (shaped := self._shaped.pop(key, None)) is not None:
            self._shapers.want(shaped, None)
        name = self._plugged.pop(key, None)
        if name is not None and name != kept:
            self._switch.unwant_port(name)
        device = self._leaks.pop(key, None)
        if device is not None and device != kept:
            self._leak.want(device, False)
        self._ofports.pop(key, None)
        self._dead.discard(key)

    def _status(self, port: Port) -> tuple[str, str]:
        network = self._networks.network(port.network_id)
        if network is None:
            return "DOWN", "its network is not known here yet"
        if refusal := self._networks.refusal(port.network_id):
            return "ERROR", refusal
        if not port.admin_state_up:
            return "DOWN", ""
        if port.key not in self._plugged:
            return "DOWN", NOT_PLUGGED
        end = self._attachment(port)
        if end is None:
            return "DOWN", "its trunk is not here"
        outcomes = [
            self._links.outcome(end.device),
            self._leak.outcome(end.device),
            self._switch.outcome(end.name),
            self._flows.owner_outcome(self.bridge, f"port/{port.key}"),
        ]
        if port.plug == "hybrid" and not is_sub_port(port):
            outcomes += [*(self._links.outcome(name) for name in hybrid_names(port)[:2]), self._hybrid()]
        if port.key in self._shaped:
            outcomes.append(self._shapers.outcome(self._shaped[port.key]))
        for outcome in outcomes:
            if outcome.reason:
                return "ERROR", outcome.reason
        if not all(outcome.settled for outcome in outcomes):
            return "DOWN", NOT_PLUGGED
        if port.key not in self._ofports:
            return "DOWN", NOT_PLUGGED
        return self._groups_status(port)

    def _groups_status(self, port: Port) -> tuple[str, str]:
        """A filtered port is not active before the rules of its groups are in force."""
        for group_id in port.security_group_ids if is_filtered(port) else ():
            outcome = self._flows.owner_outcome(self.bridge, f"security_group/{group_id}")
            if outcome.reason:
                return "ERROR", f"security group {group_id}: {outcome.reason}"
            if not outcome.settled:
                return "DOWN", f"the rules of security group {group_id} are not in yet"
        return "ACTIVE", ""
