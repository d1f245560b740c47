"""A switch made of Python: walks a packet through compiled flows and says every flow it met.

Understands exactly the matches and actions that this package compiles, conjunctions and connection
tracking included; a lenient one passes over the actions of others. It is the model that tests ask who
reaches whom, and that the explainer compares with what a real switch counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from virga.sdn.flow import Flow
from virga.sdn.match import Matcher, Packet, matcher, number
from virga.sdn.tables import CLASSIFIER

MAX_STEPS = 200
_SET = re.compile(r"set_field:([\w:.]+)->(\w+)")
_NAMES = {"eth_src": "dl_src", "eth_dst": "dl_dst", "ip_src": "nw_src", "ip_dst": "nw_dst"}
"""Fields that are set by another name than they are matched by."""
_CONJUNCTION = re.compile(r"conjunction\((\d+),(\d+)/(\d+)\)")


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """A port of a simulated bridge. ``tag`` None: a trunk that carries every tag."""

    name: str
    number: int
    tag: int | None = None
    peer: tuple[str, int] | None = None
    """Bridge and number of the other end of a patch."""


@dataclass(frozen=True, slots=True)
class Connection:
    """The direction of the first packet."""

    zone: int
    proto: int
    source: tuple[int, int]
    destination: tuple[int, int]

    @property
    def reply(self) -> Connection:
        return replace(self, source=self.destination, destination=self.source)


class ConnectionTable:
    """Committed connections with their mark."""

    def __init__(self) -> None:
        self.marks: dict[Connection, int] = {}

    def state(self, connection: Connection) -> tuple[frozenset[str], int]:
        """ct_state and ct_mark of a packet of this direction."""
        if connection in self.marks:
            return frozenset({"trk", "est"}), self.marks[connection]
        if connection.reply in self.marks:
            return frozenset({"trk", "est", "rpl"}), self.marks[connection.reply]
        return frozenset({"trk", "new"}), 0

    def commit(self, connection: Connection, mark: int | None) -> None:
        known = connection if connection in self.marks else connection.reply
        if known in self.marks:
            self.marks[known] = self.marks[known] if mark is None else mark
        else:
            self.marks[connection] = mark or 0


@dataclass(frozen=True, slots=True)
class Step:
    """One flow that the packet met."""

    bridge: str
    flow: Flow


@dataclass(frozen=True, slots=True)
class Delivery:
    """The packet leaves the switch by this port."""

    bridge: str
    port: SwitchPort
    vlan: int | None


@dataclass(slots=True)
class Walk:
    """Everything that happened to one packet."""

    steps: list[Step] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)

    puzzles: list[str] = field(default_factory=list)
    """Actions that were not understood and passed over."""

    @property
    def reached(self) -> set[str]:
        return {delivery.port.name for delivery in self.deliveries}

    @property
    def last(self) -> Flow | None:
        return self.steps[-1].flow if self.steps else None


class _Table:
    """Flows of one table, by falling priority."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        levels: dict[int, list[tuple[Matcher, Flow]]] = {}
        for flow in flows:
            levels.setdefault(flow.priority, []).append((matcher(flow.match), flow))
        self._levels = sorted(levels.items(), reverse=True)

    def find(self, packet: Packet) -> Flow | None:
        for _, level in self._levels:
            plain = [flow for match, flow in level if not flow.is_conjunctive and match.fits(packet)]
            if plain:
                return plain[0]
            met: dict[int, set[int]] = {}
            sizes: dict[int, int] = {}
            for match, flow in level:
                if flow.is_conjunctive and match.fits(packet):
                    for number, dimension, size in _CONJUNCTION.findall(flow.actions):
                        met.setdefault(int(number), set()).add(int(dimension))
                        sizes[int(number)] = int(size)
            for number in sorted(met):
                if len(met[number]) == sizes[number]:
                    whole = packet.with_fields(conj_id=number)
                    accepted = [f for m, f in level if not f.is_conjunctive and m.fits(whole)]
                    if accepted:
                        return accepted[0]
        return None


class Switch:
    """Bridges with their flows and ports, and the connections that were seen."""

    def __init__(
        self,
        flows: Mapping[str, Iterable[Flow]],
        ports: Mapping[str, Iterable[SwitchPort]],
        *,
        lenient: bool = False,
    ) -> None:
        self._lenient = lenient
        self._tables: dict[str, dict[int, _Table]] = {}
        for bridge, of_bridge in flows.items():
            by_table: dict[int, list[Flow]] = {}
            for flow in of_bridge:
                by_table.setdefault(flow.table, []).append(flow)
            self._tables[bridge] = {number: _Table(found) for number, found in by_table.items()}
        self._ports = {bridge: {port.number: port for port in found} for bridge, found in ports.items()}
        self.connections = ConnectionTable()

    @property
    def lenient(self) -> bool:
        """Whether actions that others wrote, and that are not understood, are passed over."""
        return self._lenient

    def port(self, name: str) -> tuple[str, SwitchPort]:
        """Where a port is. KeyError when there is none."""
        for bridge, ports in self._ports.items():
            for port in ports.values():
                if port.name == name:
                    return bridge, port
        raise KeyError(name)

    def send(self, port_name: str, packet: Packet) -> Walk:
        """The packet enters by the port."""
        bridge, port = self.port(port_name)
        walk = Walk()
        self._enter(walk, bridge, port.number, packet)
        return walk

    def _enter(self, walk: Walk, bridge: str, number: int, packet: Packet) -> None:
        fresh = packet.fresh(in_port=number)
        _Pipeline(self, walk, bridge, fresh).table(CLASSIFIER)

    def find(self, bridge: str, table: int, packet: Packet) -> Flow | None:
        found = self._tables.get(bridge, {}).get(table)
        return found.find(packet) if found else None

    def output(self, walk: Walk, bridge: str, number: int, packet: Packet) -> None:
        """To one port; over a patch into the next bridge. Never back where it came from."""
        port = self._ports.get(bridge, {}).get(number)
        if port is None or number == packet.get("in_port"):
            return
        if port.peer is not None:
            self._enter(walk, *port.peer, packet)
        else:
            walk.deliveries.append(Delivery(bridge, port, packet.vlan))

    def normal(self, walk: Walk, bridge: str, packet: Packet) -> None:
        """A switch that has learnt nothing yet: to every port of the VLAN."""
        ports = self._ports.get(bridge, {})
        origin = ports.get(packet.get("in_port"))
        if origin is not None and origin.tag is not None:
            if packet.vlan is not None:
                return
            vlan: int | None = origin.tag
        else:
            vlan = packet.vlan
        for port in ports.values():
            if port.tag is None:
                self.output(walk, bridge, port.number, packet.with_vlan(vlan))
            elif port.tag == (vlan or 0):
                self.output(walk, bridge, port.number, packet.with_vlan(None))


class _Pipeline:
    """One pass of one packet through one bridge."""

    def __init__(self, switch: Switch, walk: Walk, bridge: str, packet: Packet) -> None:
        self._switch = switch
        self._walk = walk
        self._bridge = bridge
        self._packet = packet

    def table(self, number: int) -> None:
        if len(self._walk.steps) >= MAX_STEPS:
            if self._switch.lenient:
                return
            raise RecursionError(
                f"a packet met {MAX_STEPS} flows on {self._bridge}: the tables go in circles"
            )
        flow = self._switch.find(self._bridge, number, self._packet)
        if flow is None:
            return
        self._walk.steps.append(Step(self._bridge, flow))
        for action in split_actions(flow.actions):
            self._act(action)

    def _act(self, action: str) -> None:
        try:
            self._understand(action)
        except ValueError:
            if not self._switch.lenient:
                raise
            self._walk.puzzles.append(action)

    def _understand(self, action: str) -> None:
        packet = self._packet
        if action.startswith("resubmit(,"):
            self.table(int(action[10:-1]))
        elif action == "NORMAL":
            self._switch.normal(self._walk, self._bridge, packet)
        elif action.startswith("output:"):
            target = action[7:]
            number = packet.get("reg5") if target.startswith("NXM_NX_REG5") else int(target)
            self._switch.output(self._walk, self._bridge, number, packet)
        elif action.startswith("set_field:"):
            self._set_field(action)
        elif action == "pop_vlan":
            self._packet = packet.with_vlan(None)
        elif action.startswith("push_vlan"):
            self._packet = packet.with_vlan(0)
        elif action == "ct_clear":
            self._packet = packet.untracked()
        elif action.startswith("ct("):
            self._track(action[3:-1])
        elif action != "drop" and not action.startswith("meter:"):
            raise ValueError(f"action {action} is not understood")

    def _set_field(self, action: str) -> None:
        found = _SET.fullmatch(action)
        if found is None:
            raise ValueError(f"action {action} is not understood")
        name = _NAMES.get(found[2], found[2])
        value = number(name, found[1])
        if name == "vlan_vid":
            self._packet = self._packet.with_vlan(value & 0xFFF)
        else:
            self._packet = self._packet.with_fields(**{name: value})

    def _track(self, arguments: str) -> None:
        packet = self._packet
        connection = _connection(packet)
        if "commit" in arguments:
            found = _SET.search(arguments)
            self._switch.connections.commit(connection, int(found[1], 0) if found else None)
            return
        table = re.search(r"table=(\d+)", arguments)
        state, mark = self._switch.connections.state(connection)
        tracked = packet.tracked(state, mark, connection.zone)
        if table is not None:
            _Pipeline(self._switch, self._walk, self._bridge, tracked).table(int(table[1]))


def _connection(packet: Packet) -> Connection:
    """Echo requests and replies are one connection; their identifier is not modelled."""
    source, destination = packet.get("tp_src"), packet.get("tp_dst")
    if packet.get("nw_proto") in (1, 58):
        source = destination = 0
    return Connection(
        packet.get("reg6"),
        packet.get("nw_proto"),
        (packet.get("nw_src"), source),
        (packet.get("nw_dst"), destination),
    )


def split_actions(actions: str) -> list[str]:
    """At the commas that are not inside parentheses."""
    found, depth, start = [], 0, 0
    for position, letter in enumerate(actions):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append(actions[start:position])
            start = position + 1
    return [*found, actions[start:]]
