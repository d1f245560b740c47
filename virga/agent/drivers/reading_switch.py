"""Reads what Open vSwitch really holds, for an explanation: ports, tags, flows, connections. Changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from virga.agent.drivers.ovsdb_client import as_list, as_one, from_ovs
from virga.contract.trace import SwitchPortReading
from virga.lib.run import CommandError, Runner, run

PATIENCE_S = 2.5
_TABLES = (
    ("Bridge", "_uuid,name,ports"),
    ("Port", "_uuid,name,tag,trunks,interfaces,other_config"),
    (
        "Interface",
        "_uuid,name,ofport,type,options,error,link_state,admin_state,external_ids,ingress_policing_rate",
    ),
)


@dataclass(slots=True)
class SwitchReading:
    """``problem`` is empty when the switch answers; else the rest is what could be had all the same."""

    problem: str = ""
    ports: list[SwitchPortReading] = field(default_factory=list)
    flows: dict[str, list[str]] = field(default_factory=dict)
    connections: list[str] = field(default_factory=list)


def read_switch(directory: Path, addresses: Sequence[str], runner: Runner = run) -> SwitchReading:
    """Ports from the database, flows and connections from ovs-vswitchd; never waits longer than a few seconds."""
    found = SwitchReading()
    try:
        found.ports = read_ports(directory, runner)
        bridges = sorted({port.bridge for port in found.ports})
        with ThreadPoolExecutor(4, thread_name_prefix="reading") as pool:
            dumps = {name: pool.submit(_flows, directory, name, runner) for name in bridges}
            connections = pool.submit(_connections, addresses, runner)
            found.flows = {name: dump.result() for name, dump in dumps.items()}
            found.connections = connections.result()
    except CommandError as error:
        found.problem = str(error)
    return found


def _flows(directory: Path, bridge: str, runner: Runner) -> list[str]:
    at = f"unix:{directory / bridge}.mgmt"
    command = ["ovs-ofctl", "-O", "OpenFlow15", "--no-names", "--no-stats", "dump-flows", at]
    lines = runner(command, timeout_s=PATIENCE_S).stdout.splitlines()
    return [line.strip() for line in lines if "actions=" in line]


def _connections(addresses: Sequence[str], runner: Runner) -> list[str]:
    """What is remembered of connections between these addresses; nothing when the datapath has none."""
    if not addresses:
        return []
    done = runner(["ovs-appctl", "-T", "2", "dpctl/dump-conntrack", "-m"], timeout_s=PATIENCE_S, check=False)
    wanted = [(f"={address},", f"={address})") for address in addresses]
    return [
        line
        for line in done.stdout.splitlines()
        if any(one in line or other in line for one, other in wanted)
    ][:200]


def read_ports(directory: Path, runner: Runner) -> list[SwitchPortReading]:
    command = ["ovs-vsctl", f"--db=unix:{directory / 'db.sock'}", "--timeout=2", "--format=json"]
    for number, (table, columns) in enumerate(_TABLES):
        command += [*(["--"] if number else []), f"--columns={columns}", "list", table]
    documents = [
        json.loads(line) for line in runner(command, timeout_s=PATIENCE_S).stdout.splitlines() if line.strip()
    ]
    bridges, ports, interfaces = (_rows(document) for document in documents)
    readings = []
    for bridge in bridges.values():
        for port_uuid in as_list(bridge["ports"]):
            port = ports.get(port_uuid)
            if port is None:
                continue
            for uuid in as_list(port["interfaces"]):
                if uuid in interfaces:
                    readings.append(_reading(bridge["name"], port, interfaces[uuid]))
    return readings


def _rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    headings = document["headings"]
    rows = [
        {name: from_ovs(value) for name, value in zip(headings, row, strict=True)} for row in document["data"]
    ]
    return {row["_uuid"]: row for row in rows}


def _reading(bridge: str, port: dict[str, Any], interface: dict[str, Any]) -> SwitchPortReading:
    tag, number = as_one(port["tag"]), as_one(interface["ofport"])
    return SwitchPortReading(
        bridge=bridge,
        name=port["name"],
        ofport=-1 if number is None else int(number),
        tag=None if tag is None else int(tag),
        wanted_tag=int(remembered) if (remembered := port["other_config"].get("tag", "")).isdigit() else None,
        network_id=port["other_config"].get("net_uuid", ""),
        type=interface["type"],
        peer=interface["options"].get("peer", ""),
        error=as_one(interface["error"]) or "",
        port_id=interface["external_ids"].get("iface-id", ""),
        link_up=as_one(interface["link_state"]) != "down",
        up=as_one(interface["admin_state"]) != "down",
        trunks=[int(one) for one in as_list(port["trunks"])] if port["trunks"] else [],
        policing_kbps=int(interface["ingress_policing_rate"] or 0),
    )
