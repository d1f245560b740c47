"""What must be so when all is quiet again, looked at from both sides: the rows, and the kernel with its processes."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from soak import victims
from soak.api import Api
from soak.load import BUSY, NAME, C, N, V
from tests.lib.lab import Lab

SETTLE_S = 120.0
# What the doctor says of logs is that things died, which we know.
UNASKED = ("logs", "capacity", "neighbours")


def until(what: str, problems: Callable[[], list[str]], limit_s: float = SETTLE_S) -> None:
    """Until there is no problem left; fails with those that stay."""
    deadline = time.monotonic() + limit_s
    while found := problems():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}, after {limit_s:.0f} s:\n  " + "\n  ".join(found[:12]))
        time.sleep(0.3)


def programs_run(lab: Lab) -> list[str]:
    return [
        f"no {kind} runs"
        for kind in ("server", "agent", "vswitchd", "ovsdb")
        if not victims.living(lab.state_dir, kind)
    ]


def requests_ended(api: Api, lab: Lab) -> list[str]:
    """Every accepted request came to its end, whichever it was; no job is left."""
    found = [
        f"server {s['id']} is {s['status']}, task {s['OS-EXT-STS:task_state']}"
        for s in api.all(C + "servers/detail?all_tenants=1")
        if s["status"] in BUSY or s["OS-EXT-STS:task_state"]
    ]
    found += [
        f"volume {v['id']} is {v['status']}"
        for v in api.all(V + "volumes/detail?all_tenants=1")
        if v["status"] in BUSY
    ]
    found += [
        f"snapshot {s['id']} is {s['status']}"
        for s in api.all(V + "snapshots/detail?all_tenants=1")
        if s["status"] in BUSY
    ]
    with sqlite3.connect(f"file:{lab.state_dir / 'virga.db'}?mode=ro", uri=True, timeout=10) as rows:
        found += [
            f"job {name} for {key} is left"
            for name, key in rows.execute("SELECT name, ordering_key FROM job")
        ]
    return found


def swept(api: Api) -> list[str]:
    """Deletes what the load made; what is still there."""
    left = []
    for one in api.all(V + "volumes/detail?all_tenants=1"):
        if one["name"].startswith(NAME) and one["status"] == "in-use":
            for held in one["attachments"]:
                api.ask("DELETE", C + f"servers/{held['server_id']}/os-volume_attachments/{one['id']}")
    for path in (C + "servers?all_tenants=1", V + "volumes?all_tenants=1", N + "ports", N + "networks"):
        for item in api.all(path):
            if str(item.get("name", "")).startswith(NAME):
                left.append(f"{path.partition('?')[0]}/{item['id']}")
                whole = "?cascade=true" if path.startswith(V) else ""
                api.ask("DELETE", f"{path.partition('?')[0]}/{item['id']}{whole}")
    return left


def nothing_twice(api: Api, lab: Lab) -> list[str]:
    """Addresses, MACs, VLAN ids, tags on the switch, claims."""
    ports = api.all(N + "ports")
    addresses = [(f["subnet_id"], f["ip_address"]) for p in ports for f in p["fixed_ips"]]
    macs = [(p["network_id"], p["mac_address"]) for p in ports]
    segments = [
        (n["provider:physical_network"], n["provider:segmentation_id"])
        for n in api.all(N + "networks")
        if n["provider:segmentation_id"]
    ]
    found = [
        f"{what} {value} is there {count} times"
        for what, values in (("address", addresses), ("MAC", macs), ("VLAN id", segments))
        for value, count in Counter(values).items()
        if count > 1
    ]
    return found + _tags(ports, lab) + _claims(api)


def _tags(ports: list[Any], lab: Lab) -> list[str]:
    """One local tag a network and one network a tag, on each host; no port on the switch that no row knows."""
    networks, found = {p["id"]: p["network_id"] for p in ports}, []
    for host in sorted(
        path.name for path in (lab.state_dir / "hosts").iterdir() if path.name.startswith("host")
    ):
        said = lab.on(host, "ovs-vsctl -f json --columns=name,tag list Port; ovs-vsctl -f json "
                            "--columns=name,external_ids list Interface")  # fmt: skip
        tables = [json.loads(line)["data"] for line in said.splitlines() if line.startswith("{")]
        if len(tables) != 2:
            return [f"the switch of {host} does not answer"]
        tags = {name: tag for name, tag in tables[0] if isinstance(tag, int)}
        by_network: dict[str, set[int]] = {}
        for name, external in tables[1]:
            port = dict(external[1]).get("iface-id")
            if port is None:
                continue
            if port not in networks:
                found.append(f"{host}: {name} is on the switch, but no port {port}")
            elif name in tags:
                by_network.setdefault(networks[port], set()).add(tags[name])
        found += [
            f"{host}: network {net} has tags {sorted(own)}" for net, own in by_network.items() if len(own) > 1
        ]
        used = Counter(tag for own in by_network.values() for tag in own)
        found += [f"{host}: tag {tag} is of {count} networks" for tag, count in used.items() if count > 1]
    return found


def _claims(api: Api) -> list[str]:
    """Each server on a host has one claim, and no claim is without a server."""
    servers = {s["id"] for s in api.all(C + "servers/detail?all_tenants=1") if s["OS-EXT-SRV-ATTR:host"]}
    claimed: Counter[str] = Counter()
    for provider in api.all("/placement/resource_providers"):
        answer = api.until_it_answers("GET", f"/placement/resource_providers/{provider['uuid']}/allocations")
        claimed.update(answer.json()["allocations"].keys())
    found = [f"claims of {server}: {count}" for server, count in claimed.items() if count > 1]
    found += [f"a claim without server: {server}" for server in claimed.keys() - servers]
    return found + [f"a server without claim: {server}" for server in servers - claimed.keys()]


def namespaces_are_rows(api: Api, lab: Lab) -> list[str]:
    """qdhcp for each network with a DHCP port, qrouter for each router, one dnsmasq for each; on one host."""
    wanted = {f"qdhcp-{p['network_id']}" for p in api.all(N + "ports?device_owner=network:dhcp")}
    wanted |= {f"qrouter-{r['id']}" for r in api.all(N + "routers")}
    there = set(re.findall(r"\bq(?:dhcp|router)-[0-9a-f-]{36}\b", lab.on("host1", "ip netns list")))
    servers = len(victims.living(lab.state_dir, "dnsmasq"))
    found = [f"missing: {name}" for name in wanted - there] + [
        f"left over: {name}" for name in there - wanted
    ]
    dhcp = sum(name.startswith("qdhcp") for name in wanted)
    return found + ([f"{servers} dnsmasq for {dhcp} networks"] if servers != dhcp else [])


def volumes_are_rows(api: Api, lab: Lab) -> list[str]:
    """A file for each volume and a volume for each file."""
    rows = {v["id"] for v in api.all(V + "volumes/detail?all_tenants=1") if v["status"] != "error"}
    files: set[str] = set()
    for directory in (lab.state_dir / "hosts").glob("*/volumes"):
        files |= {
            m[0]
            for path in directory.iterdir()
            for m in [re.search(r"(?<=volume-)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", path.name)]
            if m
        }
    return [f"a volume without file: {i}" for i in rows - files] + [
        f"a file without volume: {i}" for i in files - rows
    ]


def doctor_agrees(api: Api) -> list[str]:
    """Everything wanted is there, nothing else is, on every host: the product's own look at itself."""
    answer = api.until_it_answers("POST", "/v1/doctor", {"hosts": [], "fix": False})
    if answer.status_code != 200:
        return [f"the doctor: {answer.status_code} {answer.text[:200]}"]
    return [
        f"{f.get('host', '')}: {f['sentence']}"
        for f in answer.json()["findings"]
        if f.get("level", "problem") == "problem" and f["check"] not in UNASKED
    ]


def volumes_agree(api: Api) -> list[str]:
    """Rows, pool, targets and the disks of machines: what ``virga volume check`` says."""
    answer = api.until_it_answers("GET", "/v1/volumes/check")
    if answer.status_code != 200:
        return [f"the check of volumes: {answer.status_code} {answer.text[:200]}"]
    return [
        f"{f['kind']} {f['what']} {f['id']}: {f['text']}" for f in answer.json()["volume_check"]["findings"]
    ]


def all_of_it(api: Api, lab: Lab) -> None:
    """Fails with the first thing that stays wrong."""
    until("programs of the lab", lambda: programs_run(lab))
    api.until_it_answers("GET", "/")
    until("requests that did not end", lambda: requests_ended(api, lab))
    until("something is there twice", lambda: nothing_twice(api, lab))
    until("the check of volumes", lambda: volumes_agree(api))
    until("the doctor", lambda: doctor_agrees(api))
    until("what the load made stays", lambda: swept(api))
    until("namespaces and rows", lambda: namespaces_are_rows(api, lab))
    until("volumes and files", lambda: volumes_are_rows(api, lab))
    until("the check of volumes, after the sweep", lambda: volumes_agree(api))
    until("something is there twice, after the sweep", lambda: nothing_twice(api, lab))
