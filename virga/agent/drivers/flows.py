"""OpenFlow tables of the bridges: what changed goes out as one atomic bundle, removals first.

Mark of ours: a cookie that is not 0. What a person added by hand (cookie 0) is left alone. Tables
are empty after ovs-vswitchd started anew; a watcher notices and everything is pushed again at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol

from virga.agent.drivers.meters import MeterTable
from virga.agent.drivers.switch_watch import SwitchWatch
from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome
from virga.lib.run import CommandError, Runner, run
from virga.sdn.dump import parse_flow
from virga.sdn.flow import Flow, FlowKey, flow_line
from virga.sdn.flowset import FlowSet
from virga.sdn.qos_flows import Meter

GONE = ("is not a bridge", "failed to connect", "Connection refused", "No such file", "Connection reset")
UNREACHABLE = "ovs-vswitchd does not answer"


class Watching(Protocol):
    """Tells when the switch goes or comes back, once it is connected to it."""

    @property
    def connected(self) -> bool: ...

    def close(self) -> None: ...


Watch = Callable[[str, Callable[[], None]], Watching]


class FlowDriver:
    """The only writer of flows."""

    name = "flows"

    def __init__(
        self, directory: Path, wake: Callable[[], None], runner: Runner = run, watch: Watch | None = None
    ) -> None:
        self._directory = directory
        self._wake = wake
        self._run = runner
        self._watch = watch or self._watch_socket
        self._sets: dict[str, FlowSet] = {}
        self._actual: dict[str, dict[FlowKey, Flow]] = {}
        self._dirty: dict[str, set[FlowKey]] = {}
        self._refused: dict[tuple[str, FlowKey], str] = {}
        self._lost: set[str] = set()
        self._watches: dict[str, Watching] = {}
        self._zones: dict[str, set[int]] = {}
        self._meters: dict[str, MeterTable] = {}
        self.unreachable: dict[str, str] = {}
        """Bridges whose switch does not answer now, and why."""

    def want(self, bridge: str, owner: str, flows: Iterable[Flow]) -> None:
        if bridge not in self._sets:
            self._sets[bridge] = FlowSet()
            self._dirty[bridge] = set()
            self._meters[bridge] = MeterTable()
            self._lost.add(bridge)
            self._watches[bridge] = self._watch(bridge, lambda: self._on_lost(bridge))
        self._sets[bridge].put(owner, flows)

    def want_meters(self, bridge: str, owner: str, meters: Iterable[Meter]) -> None:
        if bridge not in self._sets:
            self.want(bridge, owner, ())
        self._meters[bridge].put(owner, meters)

    def owner_outcome(self, bridge: str, owner: str) -> Outcome:
        """Settled without a reason: every flow that the owner contributes is in the switch."""
        flow_set = self._sets.get(bridge)
        if flow_set is None:
            return Outcome(False)
        if bridge in self.unreachable:
            return Outcome(True, self.unreachable[bridge])
        if reason := self._meters[bridge].reason(owner):
            return Outcome(True, reason)
        waiting = flow_set.dirty | self._dirty[bridge]
        if not flow_set.owner_keys(owner):
            # What it took back may still be there.
            left = [key for key in waiting if (bridge, key) not in self._refused]
            return Outcome(not left and bridge not in self._lost)
        for key in flow_set.owner_keys(owner):
            if (bridge, key) in self._refused:
                return Outcome(True, self._refused[bridge, key])
            if key in waiting or bridge in self._lost:
                return Outcome(False)
        return Outcome(True)

    def forget(self, bridge: str) -> None:
        if self._sets.pop(bridge, None) is None:
            return
        self._watches.pop(bridge).close()
        for memory in (self._actual, self._dirty, self.unreachable, self._zones, self._meters):
            memory.pop(bridge, None)
        self._lost.discard(bridge)
        self._refused = {k: v for k, v in self._refused.items() if k[0] != bridge}

    def forget_connections(self, bridge: str, zone: int) -> None:
        self._zones.setdefault(bridge, set()).add(zone)

    def resync(self) -> None:
        """Reads only: dump the tables again; apply repairs what differs."""
        self._lost.update(self._sets)

    def apply(self) -> Sequence[Failure]:
        """Idempotent; atomic for each bridge. When a bundle is refused, the flow at fault is found and left out."""
        failures: list[Failure] = []
        for bridge, flow_set in self._sets.items():
            try:
                if bridge in self._lost:
                    self._read_again(bridge)
                self.unreachable.pop(bridge, None)
                self._dirty[bridge] |= flow_set.dirty
                flow_set.dirty.clear()
                failures += self._make_meters(bridge)
                failures += self._push(bridge)
                self._meters[bridge].prune(self._ofctl(bridge))
                self._flush_zones(bridge)
                if not self._watches[bridge].connected:
                    # Were the switch to die now, nobody would notice: read again when the watch has come there.
                    self._lost.add(bridge)
            except CommandError as error:
                self._lost.add(bridge)
                self.unreachable[bridge] = f"{UNREACHABLE}: {error}"
                failures.append(Failure(self.name, bridge, self.unreachable[bridge]))
        return failures

    def prune(self) -> Sequence[Failure]:
        """Removals went with the bundles of ``apply``."""
        return []

    def check(self) -> Sequence[Difference]:
        found = []
        for bridge, flow_set in self._sets.items():
            try:
                found += [
                    Difference(self.name, f"{bridge} meter={number}", kind)
                    for number, kind in self._meters[bridge].differences(self._ofctl(bridge))
                ]
                actual = self._dump(bridge)
            except CommandError as error:
                found.append(Difference(self.name, bridge, "unreadable", actual=f"{UNREACHABLE}: {error}"))
                continue
            for key in sorted(set(flow_set.keys()) | set(actual)):
                wanted, there = flow_set.flow(key), actual.get(key)
                if wanted == there:
                    continue
                kind = _kind(wanted, there)
                found.append(
                    Difference(
                        self.name,
                        f"{bridge} table={key.table} priority={key.priority} {key.match}",
                        kind,
                        flow_line(wanted) if wanted else "",
                        flow_line(there) if there else "",
                    )
                )
        return found

    def _on_lost(self, bridge: str) -> None:
        """From the watcher: the switch went, or came back with empty tables."""
        if bridge in self._sets:
            self._lost.add(bridge)
            self._wake()

    def _read_again(self, bridge: str) -> None:
        self._lost.discard(bridge)
        actual = self._dump(bridge)
        self._meters[bridge].read(self._ofctl(bridge))
        self._actual[bridge] = actual
        flow_set = self._sets[bridge]
        self._dirty[bridge] = {
            key for key in set(flow_set.keys()) | set(actual) if self._differs(bridge, key, actual)
        }
        self._refused = {k: v for k, v in self._refused.items() if k[0] != bridge}

    def _differs(self, bridge: str, key: FlowKey, actual: dict[FlowKey, Flow]) -> bool:
        wanted, there = self._sets[bridge].flow(key), actual.get(key)
        if wanted is None:
            return there is not None and there.cookie != 0
        return wanted != there

    def _push(self, bridge: str) -> list[Failure]:
        keys = sorted(key for key in self._dirty[bridge] if self._differs(bridge, key, self._actual[bridge]))
        self._dirty[bridge] = set()
        for key in keys:
            self._refused.pop((bridge, key), None)
        refused = self._send(bridge, keys) if keys else {}
        for key, reason in refused.items():
            self._refused[bridge, key] = reason
            self._dirty[bridge].add(key)
        return [
            Failure(self.name, f"{bridge} {'; '.join(self._sets[bridge].owners(key))}", reason)
            for key, reason in refused.items()
        ]

    def _make_meters(self, bridge: str) -> list[Failure]:
        refused = self._meters[bridge].make(self._ofctl(bridge))
        return [Failure(self.name, f"{bridge} {meter}", reason) for meter, reason in refused.items()]

    def _ofctl(self, bridge: str) -> Callable[..., str]:
        def ofctl(command: str, *arguments: str) -> str:
            words = ["ovs-ofctl", "-O", "OpenFlow15", command, self._at(bridge), *arguments]
            return self._run(words).stdout

        return ofctl

    def _flush_zones(self, bridge: str) -> None:
        """After the flows that filled them are gone."""
        while zones := self._zones.get(bridge):
            zone = min(zones)
            command = ["ovs-ofctl", "-O", "OpenFlow15", "ct-flush-zone", self._at(bridge), str(zone)]
            self._run(command)
            zones.discard(zone)

    def _send(self, bridge: str, keys: list[FlowKey]) -> dict[FlowKey, str]:
        """Send the keys as they must be; halve and try again when the bundle is refused."""
        flow_set, actual = self._sets[bridge], self._actual[bridge]
        wanted = {key: flow_set.flow(key) for key in keys}
        removals = [_removal_line(key) for key, flow in wanted.items() if flow is None and key in actual]
        additions = [f"add {flow_line(flow)}" for flow in wanted.values() if flow is not None]
        try:
            self._bundle(bridge, [*removals, *additions])
        except CommandError as error:
            if any(sign in str(error) for sign in GONE) or error.completed.returncode == 124:
                raise
            if len(keys) == 1:
                return {keys[0]: str(error)}
            middle = len(keys) // 2
            return {**self._send(bridge, keys[:middle]), **self._send(bridge, keys[middle:])}
        for key, flow in wanted.items():
            if flow is None:
                actual.pop(key, None)
            else:
                actual[key] = flow
        return {}

    def _bundle(self, bridge: str, lines: list[str]) -> None:
        command = [
            "ovs-ofctl",
            "-O",
            "OpenFlow15",
            "--no-names",
            "--bundle",
            "add-flows",
            self._at(bridge),
            "-",
        ]
        self._run(command, stdin="\n".join(lines) + "\n", timeout_s=120.0)

    def _dump(self, bridge: str) -> dict[FlowKey, Flow]:
        command = [
            "ovs-ofctl",
            "-O",
            "OpenFlow15",
            "--no-names",
            "--no-stats",
            "dump-flows",
            self._at(bridge),
        ]
        text = self._run(command, timeout_s=60.0).stdout
        return {flow.key: flow for line in text.splitlines() if (flow := parse_flow(line)) is not None}

    def _at(self, bridge: str) -> str:
        return f"unix:{self._directory / bridge}.mgmt"

    def _watch_socket(self, bridge: str, on_lost: Callable[[], None]) -> Watching:
        return SwitchWatch(self._directory / f"{bridge}.mgmt", on_lost)


def _kind(wanted: Flow | None, there: Flow | None) -> str:
    if there is None:
        return "missing"
    if wanted is not None:
        return "differs"
    return "extra" if there.cookie else "foreign"


def _removal_line(key: FlowKey) -> str:
    match = f",{key.match}" if key.match else ""
    return f"delete_strict table={key.table},priority={key.priority}{match}"
