"""Moves a running QEMU machine to another host: its own disks over NBD, then its memory, then it stands still here.

    source                                           destination
    layout: sizes of disks, slots of devices   --->  machine of the same shape, waiting (receive)
    mirror every own disk                      --->  NBD exports of empty disks
    memory, until little of it is left         --->  -incoming
    stands still; mirrors end, the rest goes   --->  has all, stands still until it is told to run

Volumes do not travel: both machines open them, and QEMU hands over who may write.
"""

from __future__ import annotations

import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from virga.agent.drivers.qemu_machine import Machine, MachineError
from virga.agent.drivers.qemu_monitor import Events, MonitorError
from virga.contract.calls import Layout, Progress

OWN_DISKS = frozenset({"disk-root", "disk-eph0", "disk-swap"})
QUIET_S = 600.0
"""Nothing at all heard of a migration for so long means that it hangs."""
UNDER_WAY = frozenset({"setup", "active", "pre-switchover", "device", "postcopy-active", "cancelling"})
BANDWIDTH = 10 * 1024**3
DOWNTIME_MS = 500


def layout(machine: Machine) -> Layout:
    """What the destination must repeat."""
    disks, slots = {}, {}
    for node in machine.execute("query-named-block-nodes", flat=True):
        if node.get("node-name") in OWN_DISKS:
            disks[node["node-name"]] = int(node["image"]["virtual-size"])
    for bus in machine.execute("query-pci"):
        for device in bus["devices"]:
            if device.get("qdev_id") and device["function"] == 0:
                slots[device["qdev_id"]] = int(device["slot"])
    # The generator of random numbers comes first on every command line, wherever the others are.
    slots.pop("rng", None)
    return Layout(disks=disks, slots=slots)


# --- destination ---------------------------------------------------------------------------------------


def receive(machine: Machine, address: str, disks: Collection[str]) -> dict[str, str]:
    """Open a waiting machine for what another host sends; where it listens. Not idempotent: once a machine."""
    found = {"memory": "", "disks": ""}
    if disks:
        with socket.create_server((address, 0)) as listener:
            machine.monitor.send_file("disks", listener.fileno())
            found["disks"] = f"{address}:{listener.getsockname()[1]}"
        machine.execute("nbd-server-start", addr={"type": "fd", "data": {"str": "disks"}})
        for name in sorted(disks):
            export = {"type": "nbd", "id": f"take-{name}", "node-name": name, "name": name, "writable": True}
            machine.monitor.execute("block-export-add", export)
    machine.execute("migrate-incoming", uri=f"tcp:{address}:0")
    (listening,) = machine.execute("query-migrate")["socket-address"]
    found["memory"] = f"{address}:{listening['port']}"
    return found


def close_exports(machine: Machine) -> None:
    """All is there: nobody may write to the disks any more from outside. Idempotent."""
    with suppress(MachineError):
        machine.execute("nbd-server-stop")


def announce(machine: Machine) -> None:
    """Let switches and neighbours learn where the guest is now."""
    machine.execute("announce-self", initial=50, max=550, rounds=5, step=100)


# --- source --------------------------------------------------------------------------------------------


def send(machine: Machine, memory: str, disks: str, names: Collection[str]) -> None:
    """Until the guest stands still here and is whole there. On failure it goes on here, nothing is left over."""
    if machine.run_state() == "postmigrate":
        return
    with machine.monitor.listen() as events, _cleaned_up(machine, names):
        if _status(machine) not in UNDER_WAY:
            _mirror(machine, events, disks, names)
            _capabilities(machine, True)
            limits = {"max-bandwidth": BANDWIDTH, "downtime-limit": DOWNTIME_MS}
            machine.execute("migrate-set-parameters", **limits)
            machine.execute("migrate", uri=f"tcp:{memory}")
        _follow(machine, events, names)


def abort(machine: Machine) -> None:
    """``send`` then fails, and the guest goes on here."""
    machine.execute("migrate_cancel")
    for job in _jobs(machine):
        with suppress(MonitorError):
            machine.monitor.execute("block-job-cancel", {"device": job["device"], "force": True})


def progress(machine: Machine) -> Progress:
    ram = machine.execute("query-migrate").get("ram", {})
    jobs = _jobs(machine)
    total, done = sum(j["len"] for j in jobs), sum(j["offset"] for j in jobs)
    return Progress(
        memory_total=ram.get("total", 0),
        memory_processed=ram.get("transferred", 0),
        memory_remaining=ram.get("remaining", 0),
        disk_total=total,
        disk_processed=done,
        disk_remaining=max(total - done, 0),
    )


def _status(machine: Machine) -> str:
    return str(machine.execute("query-migrate").get("status", "none"))


def _jobs(machine: Machine) -> list[dict[str, Any]]:
    return [job for job in machine.execute("query-block-jobs") if str(job["device"]).startswith("mirror-")]


def _capabilities(machine: Machine, on: bool) -> None:
    wanted = {"events": True, "pause-before-switchover": on, "auto-converge": on}
    states = [{"capability": name, "state": state} for name, state in wanted.items()]
    machine.execute("migrate-set-capabilities", capabilities=states)


def _mirror(machine: Machine, events: Events, disks: str, names: Collection[str]) -> None:
    host, _, port = disks.rpartition(":")
    for name in sorted(names):
        server = {"type": "inet", "host": host, "port": port}
        node = {"driver": "nbd", "node-name": f"to-{name}", "server": server, "export": name}
        machine.monitor.execute("blockdev-add", node)
        job = {
            "job-id": f"mirror-{name}",
            "device": name,
            "target": f"to-{name}",
            "sync": "full",
            "copy-mode": "write-blocking",
        }
        machine.monitor.execute("blockdev-mirror", job)
    waiting = {f"mirror-{name}" for name in names}
    while waiting:
        event = events.next(QUIET_S)
        if event is None:
            raise MachineError("the disks could not be sent: QEMU is silent")
        if event["event"] == "BLOCK_JOB_READY":
            waiting.discard(event["data"]["device"])
        elif event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_ERROR"):
            raise MachineError(f"a disk was not sent: {event['data'].get('error', 'given up')}")


def _follow(machine: Machine, events: Events, names: Collection[str]) -> None:
    """From where it is to the end. An event may have been missed by an agent that came later: ask first."""
    status = _status(machine)
    while status != "completed":
        if status == "pre-switchover":
            _end_mirrors(machine, events)
            machine.execute("migrate-continue", state="pre-switchover")
        elif status in ("failed", "cancelled", "none"):
            said = machine.execute("query-migrate").get("error-desc", "")
            raise MachineError(said or f"the migration was {status if status != 'none' else 'given up'}")
        event = events.wait("MIGRATION", QUIET_S)
        if event is None:
            raise MachineError("the migration hangs: QEMU is silent")
        status = str(event["data"]["status"])


def _end_mirrors(machine: Machine, events: Events) -> None:
    """The guest stands still: what is in the mirrors is all. A ready mirror that is cancelled ends whole."""
    waiting = {str(job["device"]) for job in _jobs(machine)}
    for job in sorted(waiting):
        machine.monitor.execute("block-job-cancel", {"device": job})
    while waiting:
        event = events.next(QUIET_S)
        if event is None:
            raise MachineError("the disks could not be completed: QEMU is silent")
        if event["event"] == "BLOCK_JOB_COMPLETED" and not event["data"].get("error"):
            waiting.discard(event["data"]["device"])
        elif event["event"] in ("BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED", "BLOCK_JOB_ERROR"):
            raise MachineError(f"a disk was not sent whole: {event['data'].get('error', 'given up')}")


@contextmanager
def _cleaned_up(machine: Machine, names: Collection[str]) -> Iterator[None]:
    """Whatever happens, no job, node or special setting stays; after a failure the guest is not held back."""
    try:
        yield
    except (MachineError, MonitorError):
        with suppress(MachineError, MonitorError):
            if not machine.gone.is_set():
                _give_up(machine)
        raise
    finally:
        with suppress(MachineError, MonitorError):
            if not machine.gone.is_set():
                _tidy(machine, names)


def _give_up(machine: Machine) -> None:
    with machine.monitor.listen() as events:
        if _status(machine) in UNDER_WAY:
            machine.execute("migrate_cancel")
        for job in _jobs(machine):
            machine.monitor.execute("block-job-cancel", {"device": job["device"], "force": True})
        while _jobs(machine) or _status(machine) in UNDER_WAY:
            if events.next(QUIET_S) is None:
                return


def _tidy(machine: Machine, names: Collection[str]) -> None:
    nodes = {node.get("node-name") for node in machine.execute("query-named-block-nodes", flat=True)}
    for name in names:
        if f"to-{name}" in nodes:
            machine.monitor.execute("blockdev-del", {"node-name": f"to-{name}"})
    if machine.run_state() != "postmigrate":
        _capabilities(machine, False)
