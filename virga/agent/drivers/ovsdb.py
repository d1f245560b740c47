"""Open vSwitch bridges and ports of this host, by OVSDB: everything of one round in one transaction.

Mark of ours: ``external_ids:virga`` on Port and Bridge. What is without it is never changed or removed,
unless a wish names it. The OpenFlow number is asked for (``ofport_request``), so that it survives a restart
of ovs-vswitchd and the flows stay true. Tags live in ``Port.other_config`` as Neutron keeps them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from virga.agent.drivers.interfaces import LocalVlan, WantedBridge, WantedPort
from virga.agent.drivers.ovsdb_client import (
    Operation,
    OvsdbClient,
    OvsdbError,
    Row,
    as_list,
    as_one,
    ovs_map,
    ovs_set,
)
from virga.agent.drivers.presence import Presence
from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.log import log_for

log = log_for(__name__)

MARK = "virga"
CAPTURE_MARK = "virga-capture"
"""Of ports that a capture made for a while; see capture_hops.py."""
PROTOCOLS = ["OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15"]
OFPORT_WAIT_S = 4.0
MAX_OFPORT = 0xFEFF
COLUMNS = {
    "Open_vSwitch": ["bridges", "next_cfg", "cur_cfg"],
    "Bridge": ["name", "ports", "datapath_type", "fail_mode", "protocols", "other_config", "external_ids"],
    "Port": ["name", "interfaces", "tag", "vlan_mode", "other_config", "external_ids"],
    "Interface": ["name", "type", "options", "external_ids", "ofport", "ofport_request", "error"],
}


class SwitchDriver:
    """The only writer of the bridges that agents make."""

    name = "ovsdb"

    def __init__(
        self,
        socket: Path,
        wake: Callable[[], None],
        datapath_type: str = "netdev",
        connect: Callable[[Path, Any, Callable[[], None]], OvsdbClient] = OvsdbClient,
        patience_s: float = 10.0,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._wake = wake
        self._tell_change = on_change or wake
        self._datapath_type = datapath_type
        self._patience_s = patience_s
        self._bridges: Wishes[WantedBridge] = Wishes(self.name)
        self._ports: Wishes[WantedPort] = Wishes(self.name)
        self._touched = False
        self._applying = False
        self._lock = threading.Lock()
        self._presence = Presence()
        self._index = _Index({})
        self._listeners: list[Callable[[str], None]] = []
        self._db = connect(socket, COLUMNS, self._on_change)

    def want_bridge(self, wanted: WantedBridge) -> None:
        self._bridges.want(wanted.name, wanted)

    def unwant_bridge(self, name: str) -> None:
        self._bridges.want(name, None)

    def want_port(self, wanted: WantedPort) -> None:
        self._ports.want(wanted.name, wanted)

    def unwant_port(self, name: str) -> None:
        self._ports.want(name, None)

    def outcome(self, name: str) -> Outcome:
        return self._bridges.outcome(name) if name in self._bridges.wanted else self._ports.outcome(name)

    def ofport(self, name: str) -> int | None:
        number = as_one(self._index.interfaces.get(name, {}).get("ofport", []))
        return int(number) if number is not None and int(number) > 0 else None

    def listen(self, listener: Callable[[str], None]) -> None:
        self._listeners.append(listener)

    def local_vlans(self) -> Iterable[LocalVlan]:
        found = {}
        for port in self._index.ports.values():
            config = port.get("other_config") or {}
            if "net_uuid" in config and str(config.get("tag", "")).isdigit():
                found[config["net_uuid"]] = LocalVlan(config["net_uuid"], int(config["tag"]))
        return list(found.values())

    def resync(self) -> None:
        """Idempotent, reads only. Waits for the database when it is just starting."""
        try:
            self._db.wait_filled(self._patience_s)
        except OvsdbError as error:
            log.warning("no switch yet", reason=str(error))
        self._refresh()
        self._mark_different()

    def apply(self) -> Sequence[Failure]:
        """Idempotent; all or nothing for a round, one by one when that failed. Mark: external_ids of the port."""
        with self._lock:
            touched, self._touched, self._applying = self._touched, False, True
        try:
            if touched:
                self._refresh()
                self._mark_different()
            return [*self._apply_bridges(), *self._let_go(), *self._apply_ports()]
        finally:
            with self._lock:
                self._applying, again = False, self._touched
            if again:
                self._wake()

    def prune(self) -> Sequence[Failure]:
        """Idempotent: ports, and then bridges, with our mark that nobody wants go."""
        return [*self._prune_ports(), *self._prune_bridges()]

    def _prune_bridges(self) -> list[Failure]:
        wanted = self._bridges.wanted
        left = [row for name, row in self._index.bridges.items() if name not in wanted and _is_marked(row)]
        if not left:
            return []
        mutations = [["bridges", "delete", ["uuid", row["_uuid"]]] for row in left]
        try:
            self._db.transact(
                [{"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": mutations}]
            )
        except OvsdbError as error:
            return [Failure(self.name, str(row["name"]), str(error)) for row in left]
        self._wait(lambda: not any(row["_uuid"] in self._db.tables["Bridge"] for row in left))
        self._refresh()
        return []

    def _prune_ports(self) -> list[Failure]:
        left = [row for name, row in self._index.ports.items() if self._is_left_over(name, row)]
        if not left:
            return []
        try:
            self._db.transact([self._removal(row) for row in left if row["_uuid"] in self._index.bridge_of])
        except OvsdbError as error:
            return [Failure(self.name, str(row["name"]), str(error)) for row in left]
        self._wait(lambda: not any(row["_uuid"] in self._db.tables["Port"] for row in left))
        self._refresh()
        return []

    def check(self) -> Sequence[Difference]:
        self._refresh()
        found = [*self._check_bridges()]
        for name, wanted in sorted(self._ports.wanted.items()):
            if name not in self._index.ports:
                found.append(Difference(self.name, name, "missing", wanted=str(wanted)))
            elif fault := self._port_fault(wanted):
                found.append(Difference(self.name, name, "differs", wanted=str(wanted), actual=fault))
        for name, row in sorted(self._index.ports.items()):
            if self._is_left_over(name, row):
                found.append(Difference(self.name, name, "extra", actual=self._bridge_named(row)))
            elif self._is_strange(name, row):
                found.append(Difference(self.name, name, "foreign", actual=self._bridge_named(row)))
        return found

    def _check_bridges(self) -> list[Difference]:
        found = []
        for name in sorted(self._bridges.wanted):
            if name not in self._index.bridges:
                found.append(Difference(self.name, name, "missing", wanted="bridge"))
            elif changes := self._bridge_changes(name):
                found.append(Difference(self.name, name, "differs", wanted=str(changes)))
        return found

    def _port_fault(self, wanted: WantedPort) -> str:
        """What of a port is not as it must be, as it is now."""
        row = self._index.ports[wanted.name]
        rows = {"Port": row, "Interface": self._index.interfaces.get(wanted.name, {})}
        faults = [
            f"{column} {as_one(rows[table].get(column, [])) if column == 'tag' else rows[table].get(column)}"
            for table, columns in self._port_changes(wanted).items()
            for column in columns
        ]
        if not self._is_on(wanted):
            faults.append(f"on {self._bridge_named(row)}")
        if refusal := self._refusal(wanted.name):
            faults.append(refusal)
        return ", ".join(faults)

    def _bridge_named(self, row: Row) -> str:
        return f"bridge {self._index.bridge_of.get(row['_uuid'], 'of nobody')}"

    def _is_strange(self, name: str, row: Row) -> bool:
        """A port on a bridge of ours that is neither wanted, marked, the bridge itself, nor a capture's."""
        bridge = self._index.bridge_of.get(row["_uuid"], "")
        known = name in self._ports.wanted or name == bridge or _is_marked(row)
        return (
            bridge in self._bridges.wanted
            and not known
            and CAPTURE_MARK not in (row.get("external_ids") or {})
        )

    # -- reading ---------------------------------------------------------------------------------

    def _on_change(self) -> None:
        """From the receiving thread: somebody (we, vswitchd, a person) changed the database."""
        with self._lock:
            news = not self._touched and not self._applying
            self._touched = True
        if news:
            self._tell_change()

    def _refresh(self) -> None:
        with self._db.changed:
            before, self._index = self._index, _Index(self._db.tables)
        for name in before.interfaces.keys() | self._index.interfaces.keys():
            old, new = before.interfaces.get(name, {}), self._index.interfaces.get(name, {})
            if old.get("ofport") != new.get("ofport"):
                for listener in self._listeners:
                    listener(name)

    def _mark_different(self) -> None:
        self._bridges.mark_stale(n for n in self._bridges.wanted if self._bridge_changes(n))
        self._ports.mark_stale(n for n, w in self._ports.wanted.items() if not self._port_is_so(w))

    def _wait(self, predicate: Callable[[], bool]) -> bool:
        return self._db.wait_for(predicate, OFPORT_WAIT_S)

    def _is_left_over(self, name: str, row: Row) -> bool:
        return _is_marked(row) and name not in self._ports.wanted

    def _bridge_changes(self, name: str) -> Row:
        wanted = self._bridge_row(self._bridges.wanted[name])
        actual = self._index.bridges.get(name)
        if actual is None:
            return wanted
        same = {
            "datapath_type": actual.get("datapath_type") == self._datapath_type,
            "fail_mode": as_one(actual.get("fail_mode", [])) == "secure",
            "protocols": set(as_list(actual.get("protocols", []))) == set(PROTOCOLS),
        }
        return {column: wanted[column] for column, so in same.items() if not so}

    def _port_is_so(self, wanted: WantedPort) -> bool:
        exists = wanted.name in self._index.ports and self.ofport(wanted.name) is not None
        return exists and self._is_on(wanted) and not self._port_changes(wanted)

    def _is_on(self, wanted: WantedPort) -> bool:
        row = self._index.ports[wanted.name]
        return self._index.bridge_of.get(row["_uuid"]) == wanted.bridge

    def _port_changes(self, wanted: WantedPort) -> dict[str, Row]:
        """Columns to write, by table."""
        port, interface = self._index.ports[wanted.name], self._index.interfaces.get(wanted.name, {})
        port_row, interface_row = self._port_row(wanted), self._interface_row(wanted)
        same_port = {
            "tag": as_one(port.get("tag", [])) == wanted.tag,
            "vlan_mode": (as_one(port.get("vlan_mode", [])) or "") == wanted.vlan_mode,
            "other_config": port.get("other_config") == dict(wanted.other_config),
            "external_ids": _is_marked(port),
        }
        same_interface = {
            "type": interface.get("type") == wanted.type,
            "options": interface.get("options") == dict(wanted.options),
            "external_ids": interface.get("external_ids") == dict(wanted.external_ids),
        }
        changes = {
            "Port": {c: port_row[c] for c, so in same_port.items() if not so},
            "Interface": {c: interface_row[c] for c, so in same_interface.items() if not so},
        }
        return {table: row for table, row in changes.items() if row}

    # -- writing ---------------------------------------------------------------------------------

    def _apply_bridges(self) -> list[Failure]:
        failures = []
        for name in self._bridges.stale():
            changes = self._bridge_changes(name)
            try:
                if changes:
                    self._db.transact(self._bridge_operations(name, changes))
                    if not self._wait(lambda name=name: self._bridge_is_there(name)):  # type: ignore[misc]
                        raise OvsdbError("ovs-vswitchd did not make the bridge")
            except OvsdbError as error:
                failures.append(self._bridges.failed(name, str(error)))
            else:
                self._bridges.done(name)
            self._refresh()
        return failures

    def _bridge_is_there(self, name: str) -> bool:
        rows = self._db.tables["Interface"].values()
        return any(row["name"] == name and as_one(row.get("ofport", [])) is not None for row in rows)

    def _let_go(self) -> list[Failure]:
        """A device that was made again is opened again only as a new port: the old one still reads what is gone."""
        devices = {name: ("", (name,)) for name, wanted in self._ports.wanted.items() if not wanted.type}
        again = self._presence.made_again(devices)
        self._ports.mark_stale(again)
        old = [self._index.ports[name] for name in again if name in self._index.ports]
        operations = [self._removal(row) for row in old if row["_uuid"] in self._index.bridge_of]
        if not operations:
            return []
        try:
            self._db.transact([*operations, _count_up()])
        except OvsdbError as error:
            return [self._ports.failed(name, str(error)) for name in again]
        self._wait(self._is_done)
        self._refresh()
        return []

    def _is_done(self) -> bool:
        """ovs-vswitchd has done all that was asked: it repeats the number of the request."""
        return all(
            row.get("next_cfg") == row.get("cur_cfg") for row in self._db.tables["Open_vSwitch"].values()
        )

    def _apply_ports(self) -> list[Failure]:
        stale = self._ports.stale()
        if not stale:
            return []
        failures = {}
        try:
            self._write(stale)
        except OvsdbError as error:
            failures = {stale[0]: str(error)} if len(stale) == 1 else self._write_one_by_one(stale)
        self._await_numbers([name for name in stale if name not in failures])
        found = []
        for name in stale:
            reason = failures.get(name) or self._refusal(name)
            if reason:
                found.append(self._ports.failed(name, reason))
            else:
                self._ports.done(name)
        return found

    def _write_one_by_one(self, names: Sequence[str]) -> dict[str, str]:
        failures = {}
        for name in names:
            try:
                self._write([name])
            except OvsdbError as error:
                failures[name] = str(error)
        return failures

    def _write(self, names: Sequence[str]) -> None:
        operations: list[Operation] = []
        added: dict[str, list[Any]] = {}
        taken = self._index.numbers()
        for position, name in enumerate(names):
            wanted = self._ports.wanted[name]
            if wanted.bridge not in self._index.bridges:
                raise OvsdbError(f"there is no bridge {wanted.bridge}")
            if name in self._index.ports and self._is_on(wanted):
                operations += self._update_operations(wanted)
                continue
            if name in self._index.ports:
                operations.append(self._removal(self._index.ports[name]))
            operations += self._insert_operations(wanted, position, _free_number(taken))
            added.setdefault(wanted.bridge, []).append(["named-uuid", f"port{position}"])
        for bridge, ports in added.items():
            where = _where(self._index.bridges[bridge])
            mutation = ["ports", "insert", ovs_set(ports)]
            operations.append({"op": "mutate", "table": "Bridge", "where": where, "mutations": [mutation]})
        if operations:
            self._db.transact(operations)

    def _await_numbers(self, names: Sequence[str]) -> None:
        waiting = set(names)

        def settled() -> bool:
            for row in self._db.tables["Interface"].values():
                if row["name"] in waiting and as_one(row.get("ofport", [])) is not None:
                    waiting.discard(row["name"])
            return not waiting

        self._wait(settled)
        self._refresh()

    def _refusal(self, name: str) -> str:
        if self.ofport(name) is not None:
            return ""
        error = as_one(self._index.interfaces.get(name, {}).get("error", []))
        return str(error or "ovs-vswitchd gave the port no OpenFlow number: does it run?")

    def _bridge_row(self, wanted: WantedBridge) -> Row:
        return {
            "name": wanted.name,
            "datapath_type": self._datapath_type,
            "fail_mode": "secure",
            "protocols": ovs_set(PROTOCOLS),
            "other_config": ovs_map({"mac-table-size": str(wanted.mac_table_size)}),
            "external_ids": ovs_map({MARK: "bridge"}),
        }

    def _bridge_operations(self, name: str, changes: Row) -> list[Operation]:
        actual = self._index.bridges.get(name)
        if actual is not None:
            return [{"op": "update", "table": "Bridge", "where": _where(actual), "row": changes}]
        return [
            _insert("Interface", {"name": name, "type": "internal"}, "local_if"),
            _insert("Port", {"name": name, "interfaces": ["named-uuid", "local_if"]}, "local"),
            _insert("Bridge", {**changes, "ports": ["named-uuid", "local"]}, "bridge"),
            {
                "op": "mutate",
                "table": "Open_vSwitch",
                "where": [],
                "mutations": [["bridges", "insert", ["named-uuid", "bridge"]]],
            },
        ]

    def _port_row(self, wanted: WantedPort) -> Row:
        return {
            "tag": wanted.tag if wanted.tag is not None else ovs_set([]),
            "vlan_mode": wanted.vlan_mode or ovs_set([]),
            "other_config": ovs_map(wanted.other_config),
            "external_ids": ovs_map({MARK: "port"}),
        }

    def _interface_row(self, wanted: WantedPort) -> Row:
        return {
            "type": wanted.type,
            "options": ovs_map(wanted.options),
            "external_ids": ovs_map(wanted.external_ids),
        }

    def _insert_operations(self, wanted: WantedPort, position: int, number: int) -> list[Operation]:
        interface = {"name": wanted.name, "ofport_request": number, **self._interface_row(wanted)}
        port = {
            "name": wanted.name,
            "interfaces": ["named-uuid", f"if{position}"],
            **self._port_row(wanted),
        }
        return [
            _insert("Interface", interface, f"if{position}"),
            _insert("Port", port, f"port{position}"),
        ]

    def _update_operations(self, wanted: WantedPort) -> list[Operation]:
        rows = {
            "Port": self._index.ports[wanted.name],
            "Interface": self._index.interfaces.get(wanted.name, {}),
        }
        return [
            {"op": "update", "table": table, "where": _where(rows[table]), "row": changes}
            for table, changes in self._port_changes(wanted).items()
        ]

    def _removal(self, row: Row) -> Operation:
        bridge = self._index.bridges[self._index.bridge_of[row["_uuid"]]]
        mutation = ["ports", "delete", ["uuid", row["_uuid"]]]
        return {"op": "mutate", "table": "Bridge", "where": _where(bridge), "mutations": [mutation]}


class _Index:
    """The mirror by name."""

    def __init__(self, tables: dict[str, dict[str, Row]]) -> None:
        self.bridges = {row["name"]: dict(row) for row in tables.get("Bridge", {}).values()}
        self.ports = {row["name"]: dict(row) for row in tables.get("Port", {}).values()}
        self.interfaces = {row["name"]: dict(row) for row in tables.get("Interface", {}).values()}
        self.bridge_of = {
            uuid: name for name, row in self.bridges.items() for uuid in as_list(row.get("ports", []))
        }

    def numbers(self) -> set[int]:
        """OpenFlow numbers that are given out or asked for, on any bridge."""
        return {
            int(value)
            for row in self.interfaces.values()
            for column in ("ofport", "ofport_request")
            if (value := as_one(row.get(column, []))) is not None
        }


def _free_number(taken: set[int]) -> int:
    number = next(n for n in range(1, MAX_OFPORT) if n not in taken)
    taken.add(number)
    return number


def _count_up() -> Operation:
    return {"op": "mutate", "table": "Open_vSwitch", "where": [], "mutations": [["next_cfg", "+=", 1]]}


def _is_marked(row: Row) -> bool:
    return MARK in (row.get("external_ids") or {})


def _where(row: Row) -> list[Any]:
    return [["_uuid", "==", ["uuid", row["_uuid"]]]]


def _insert(table: str, row: Row, name: str) -> Operation:
    return {"op": "insert", "table": table, "row": row, "uuid-name": name}
