"""Volumes: create, clone and delete with one and with many there; attach to visible; throughput through QEMU."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import clouds
from bench.client import Client

MANY = 1000
BIG_GB = 10
PER_SERIES = 10


@dataclass(frozen=True)
class Verb:
    """One thing done to volumes, from the request to the end of the work."""

    what: str
    volumes: int
    """How many others were there."""
    median_ms: float
    slowest_ms: float
    times: int


def _until(question: Callable[[], bool], limit_s: float = 300) -> None:
    deadline = time.monotonic() + limit_s
    while not question():
        if time.monotonic() > deadline:
            raise RuntimeError("the volume did not get there")
        # The pause is below what is measured, and leaves the processor to the cloud.
        time.sleep(0.002)


def _create(client: Client, **wanted: Any) -> str:
    made = client.json("POST", "/volume/v3/volumes", {"volume": {"size": 1, **wanted}})
    return str(made["volume"]["id"])


def _status(client: Client, volume_id: str) -> str:
    status, raw = client.raw("GET", f"/volume/v3/volumes/{volume_id}")
    return "gone" if status == 404 else str(json.loads(raw)["volume"]["status"])


def _made(client: Client, **wanted: Any) -> str:
    volume_id = _create(client, **wanted)
    _until(lambda: _status(client, volume_id) in ("available", "error"))
    if _status(client, volume_id) != "available":
        raise RuntimeError("the volume was not made")
    return volume_id


def _gone(client: Client, volume_id: str) -> None:
    client.json("DELETE", f"/volume/v3/volumes/{volume_id}")
    _until(lambda: _status(client, volume_id) == "gone")


def _series(what: str, volumes: int, verb: Callable[[int], None], times: int = PER_SERIES) -> Verb:
    took = []
    for number in range(times):
        began = time.perf_counter()
        verb(number)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return Verb(what, volumes, round(took[len(took) // 2], 1), round(took[-1], 1), times)


def _verbs(client: Client, golden: str, volumes: int) -> list[Verb]:
    made: list[str] = []
    clones: list[str] = []
    return [
        _series("create, empty", volumes, lambda n: made.append(_made(client))),
        _series(
            f"clone of a {BIG_GB} GB image-backed volume",
            volumes,
            lambda n: clones.append(_made(client, size=BIG_GB, source_volid=golden)),
        ),
        _series("delete", volumes, lambda n: _gone(client, made[n])),
        _series("delete, of a clone", volumes, lambda n: _gone(client, clones[n])),
    ]


def lifecycle(running: clouds.Running, many: int = MANY) -> list[dict[str, Any]]:
    """The same verbs with almost nothing there, and with many volumes."""
    client = running.client()
    limits = {"quota_set": dict.fromkeys(("volumes", "gigabytes", "snapshots"), -1)}
    client.json("PUT", f"/volume/v3/os-quota-sets/{client.project_id}", limits)
    image = client.json("GET", "/image/v2/images?name=tiny")["images"][0]["id"]
    golden = _made(client, size=BIG_GB, imageRef=image)
    found = _verbs(client, golden, 1)
    crowd = [_create(client) for _ in range(many - 1)]
    for volume_id in crowd:
        _until(lambda v=volume_id: _status(client, v) == "available")  # type: ignore[misc]
    found += _verbs(client, golden, many)
    return [asdict(one) for one in found]


# --- through QEMU --------------------------------------------------------------------------------------

_RATE = re.compile(r"Run completed in ([0-9.]+) seconds")
DEPTH, BUFFER, COUNT = 16, 64 * 1024, 16384
LONGEST_S = 120


@dataclass(frozen=True)
class Rate:
    """How fast QEMU's own block layer reads or writes one disk."""

    way: str
    what: str
    mb_per_s: float
    share: float = 1.0
    """Of the same without us."""


def _measured(
    arguments: list[str], write: bool, prefix: list[str], more: dict[str, str] | None = None
) -> float:
    """``qemu-img bench``: the median of three runs, in MB/s."""
    argv = [
        *prefix,
        "qemu-img",
        "bench",
        "-c",
        str(COUNT),
        "-d",
        str(DEPTH),
        "-s",
        str(BUFFER),
        "-t",
        "writeback",
    ]
    argv += [*(["-w"] if write else []), *arguments]
    rates = []
    for _ in range(3):
        environment = {**os.environ, **(more or {})}
        done = subprocess.run(
            argv, check=True, capture_output=True, text=True, timeout=LONGEST_S, env=environment
        )
        text = done.stdout
        found = _RATE.search(text)
        assert found is not None, text
        rates.append(COUNT * BUFFER / float(found.group(1)) / 1e6)
    return sorted(rates)[1]


def throughput(running: clouds.Running) -> list[dict[str, Any]]:
    """A volume as a file, against a plain file; by iSCSI from its host, against plain tgt on the same path."""
    client = running.client()
    volume_id = _made(client, size=2)
    pool = running.settings.state_dir / "hosts/host1/volumes"
    record = json.loads((pool / f"volume-{volume_id}.json").read_text())
    ours = pool / record["layer"]
    inside = [*clouds.VIRGA, "host", "exec", "--state-dir", str(running.settings.state_dir), "host1", "--"]
    found: list[Rate] = []
    with tempfile.NamedTemporaryFile(dir=pool.parent) as plain:
        os.truncate(plain.fileno(), 2 << 30)
        for write in (True, False):
            base = _measured(["-f", "raw", plain.name], write, [])
            rate = _measured(["-f", "raw", str(ours)], write, [])
            what = "write" if write else "read"
            found += [
                Rate("plain file", what, round(base, 1)),
                Rate("local", what, round(rate, 1), round(rate / base, 2)),
            ]
        found += _by_iscsi(client, volume_id, inside, Path(plain.name))
    return [asdict(one) for one in found]


def _by_iscsi(client: Client, volume_id: str, inside: list[str], plain: Path) -> list[Rate]:
    connector = {"os-initialize_connection": {"connector": {"host": "bench", "initiator": "iqn.bench"}}}
    data = client.json("POST", f"/volume/v3/volumes/{volume_id}/action", connector)["connection_info"]["data"]
    portal = _portal(client, volume_id, data)
    name = "iqn.2010-10.org.openstack:plain"
    tgt = ["tgtadm", "--lld", "iscsi"]

    def on_host(*argv: str) -> None:
        subprocess.run([*inside, *argv], check=True, capture_output=True)

    _until(lambda: data["target_iqn"] in subprocess.run(
        [*inside, *tgt, "--op", "show", "--mode", "target"], capture_output=True, text=True, check=False
    ).stdout)  # fmt: skip
    on_host(*tgt, "--op", "new", "--mode", "target", "--tid", "999", "-T", name)
    found = []
    try:
        on_host(*tgt, "--op", "new", "--mode", "logicalunit", "--tid", "999", "--lun", "1", "-b", str(plain))
        on_host(*tgt, "--op", "bind", "--mode", "target", "--tid", "999", "-I", "ALL")
        # `qemu-img bench` takes no secrets as objects; libiscsi reads the account from the environment.
        account = {
            "LIBISCSI_CHAP_USERNAME": data["auth_username"],
            "LIBISCSI_CHAP_PASSWORD": data["auth_password"],
        }
        for write in (True, False):
            what = "write" if write else "read"
            base = _measured([f"iscsi://{portal}/{name}/1"], write, inside)
            rate = _measured([f"iscsi://{portal}/{data['target_iqn']}/1"], write, inside, account)
            found.append(Rate("plain tgt", what, round(base, 1)))
            found.append(Rate("iSCSI", what, round(rate, 1), round(rate / base, 2)))
    finally:
        on_host(*tgt, "--op", "delete", "--mode", "target", "--tid", "999", "--force")
        client.json(
            "POST", f"/volume/v3/volumes/{volume_id}/action", {"os-terminate_connection": {"connector": {}}}
        )
    return found


def _portal(client: Client, volume_id: str, data: dict[str, Any]) -> str:
    """Where the target listens; known once its host has said so."""
    seen: list[str] = [str(data.get("target_portal") or "")]

    def there() -> bool:
        body = {"os-initialize_connection": {"connector": {"host": "bench"}}}
        answer = client.json("POST", f"/volume/v3/volumes/{volume_id}/action", body)
        seen[0] = str(answer["connection_info"]["data"].get("target_portal") or "")
        return bool(seen[0]) and "None" not in seen[0]

    _until(there)
    return seen[0]


WATCH = """#!/bin/sh
( last=
while :; do
  now=$(ls /dev | grep "^vd[a-z]$" | tr "\\n" " ")
  [ "$now" = "$last" ] || echo "disks: $now." > /dev/console
  last=$now
  sleep 0.01
done ) &
"""
"""The guest says on its serial line which disks it has, as soon as that changes."""


def _server(client: Client) -> str:
    flavors = client.json("GET", "/compute/v2.1/flavors")["flavors"]
    body = {
        "name": "volumes",
        "flavorRef": next(f["id"] for f in flavors if f["name"] == "m1.nano"),
        "imageRef": client.json("GET", "/image/v2/images?name=tiny")["images"][0]["id"],
        "config_drive": True,
        "user_data": base64.b64encode(WATCH.encode()).decode(),
    }
    network = client.json("POST", "/network/v2.0/networks", {"network": {"name": "volumes"}})["network"]["id"]
    body["networks"] = [{"uuid": network}]
    subnet = {"network_id": network, "ip_version": 4, "cidr": "10.98.0.0/24"}
    client.json("POST", "/network/v2.0/subnets", {"subnet": subnet})
    return str(client.json("POST", "/compute/v2.1/servers", {"server": body})["server"]["id"])


def _says(client: Client, server_id: str, line: str) -> bool:
    status, raw = client.raw(
        "POST", f"/compute/v2.1/servers/{server_id}/action", {"os-getConsoleOutput": {"length": 30}}
    )
    if status != 200:
        return False
    said = [text for text in json.loads(raw)["output"].splitlines() if "disks: " in text]
    return bool(said) and line in said[-1]


def attach(running: clouds.Running, times: int = 5) -> dict[str, float]:
    """From the request to the disk in the guest, by what the guest itself says."""
    client = running.client()
    server_id = _server(client)
    _until(lambda: _says(client, server_id, "disks: vda ."))
    there, gone = [], []
    path = f"/compute/v2.1/servers/{server_id}/os-volume_attachments"
    for _ in range(times):
        volume_id = _made(client)
        began = time.perf_counter()
        client.json("POST", path, {"volumeAttachment": {"volumeId": volume_id}})
        _until(lambda: _says(client, server_id, "vdb"))
        there.append((time.perf_counter() - began) * 1000)
        _until(lambda v=volume_id: _status(client, v) == "in-use")  # type: ignore[misc]
        began = time.perf_counter()
        client.raw("DELETE", f"{path}/{volume_id}")
        _until(lambda v=volume_id: _status(client, v) == "available")  # type: ignore[misc]
        gone.append((time.perf_counter() - began) * 1000)
        _gone(client, volume_id)
    return {
        "attach_to_visible_ms": round(sorted(there)[times // 2], 1),
        "detach_to_available_ms": round(sorted(gone)[times // 2], 1),
    }


def all_of_it(many: int = MANY) -> dict[str, Any]:
    """On labs of their own: by iSCSI, and by files."""
    found: dict[str, Any] = {}
    with clouds.cloud("lab") as running:
        found["volume_attach"] = {f"{name}, iSCSI": value for name, value in attach(running).items()}
        found["volume_throughput"] = throughput(running)
        found["volumes"] = lifecycle(running, many)
    with clouds.cloud("lab", toml='volume_attach = "local"\n') as running:
        found["volume_attach"] |= {f"{name}, local": value for name, value in attach(running).items()}
    return found
