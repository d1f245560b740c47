"""What can be asked of a QEMU instance once: reboot, consoles, snapshot, hand over its disk, detach, counters."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec

from virga.agent.drivers import qemu_img, qemu_migration, qemu_plug
from virga.agent.drivers.guest_kind import Detail, GuestError
from virga.agent.drivers.instance_home import InstanceHome, InstanceHomes
from virga.agent.drivers.qemu_command import DiskPlan, block_node, disk_name, file_node
from virga.agent.drivers.qemu_img import GIB, DiskError
from virga.agent.drivers.qemu_machine import Machine, MachineError
from virga.agent.drivers.qemu_monitor import MonitorError
from virga.contract.calls import Layout, Progress
from virga.contract.items import Disk, Instance

CONSOLE_BYTES = 102400
SOCKETS = {"novnc": "vnc.sock", "xvpvnc": "vnc.sock", "serial": "serial.sock"}
SNAPSHOT_S = 3600.0


class Machines(Protocol):
    """Where the actions find the machines."""

    homes: InstanceHomes

    def machine(self, instance_id: str) -> Machine | None: ...

    def need(self, instance_id: str) -> Machine: ...

    def running(self) -> list[tuple[str, Machine]]: ...

    def stop(self, machine: Machine, gently: bool) -> None: ...

    def hold_off(self, item: Instance, volume_id: str) -> None: ...


@contextmanager
def _for_people() -> Iterator[None]:
    try:
        yield
    except (DiskError, MachineError, MonitorError) as error:
        raise GuestError(str(error)) from error


class QemuActions:
    """Called with the instance's turn held, except for those that only read."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def _home(self, instance_id: str) -> InstanceHome:
        return self._machines.homes.of(instance_id)

    def halt(self, item: Instance, soft: bool) -> None:
        machine = self._machines.machine(item.key)
        with _for_people():
            if machine is not None:
                self._machines.stop(machine, gently=soft)
        home = self._home(item.key)
        home.memory.unlink(missing_ok=True)
        home.write(msgspec.structs.replace(home.read(), ended="", ended_reason="", suspended=False))

    def console_output(self, instance_id: str) -> bytes:
        try:
            with self._home(instance_id).console_log.open("rb") as file:
                file.seek(max(file.seek(0, 2) - CONSOLE_BYTES, 0))
                return file.read()
        except FileNotFoundError:
            return b""

    def console_target(self, instance_id: str, console_type: str) -> Path:
        self._machines.need(instance_id)
        if console_type not in SOCKETS:
            raise GuestError(f"no console of type {console_type}", "ConsoleTypeUnavailable")
        return self._home(instance_id).path / SOCKETS[console_type]

    def snapshot(self, item: Instance, target: Path, disk_format: str) -> int:
        home = self._home(item.key)
        if not home.disk.exists():
            raise GuestError(f"instance {item.key} has no root disk of its own", "NoRootDisk")
        machine = self._machines.machine(item.key)
        with _for_people():
            if machine is None:
                qemu_img.copy(home.disk, "qcow2", target, disk_format)
            else:
                size = qemu_img.inspect(home.disk, "qcow2").virtual_size
                _back_up(machine, "disk-root", size, target, disk_format)
        return target.stat().st_size

    def copy_disk(self, item: Instance, volume_id: str, target: Path) -> int:
        machine = self._machines.need(item.key)
        with _for_people():
            size = qemu_plug.size_of(machine, disk_name(volume_id))
            _back_up(machine, disk_name(volume_id), size, target, "qcow2")
        return target.stat().st_size

    def release_disk(self, item: Instance, target: Path) -> None:
        machine = self._machines.machine(item.key)
        home = self._home(item.key)
        with _for_people():
            if machine is not None:
                self._machines.stop(machine, gently=True)
            home.write(
                msgspec.structs.replace(
                    home.read(), ended="shutdown", ended_reason="its disk was handed over", suspended=False
                )
            )
            if home.disk.exists() and not target.exists():
                qemu_img.copy(home.disk, "qcow2", target, "qcow2")

    def detach_disk(self, item: Instance, volume_id: str) -> None:
        machine = self._machines.machine(item.key)
        with _for_people():
            if machine is not None:
                qemu_plug.unplug_disk(machine, disk_name(volume_id))
        self._machines.hold_off(item, volume_id)

    def resize_disk(self, item: Instance, disk: Disk, size_gb: int) -> None:
        machine = self._machines.machine(item.key)
        if machine is None:
            return
        if disk.connection.get("driver") not in ("file", "pool"):
            raise GuestError(
                f"volume {disk.volume_id} is attached by {disk.connection.get('driver')}, "
                "which cannot grow while it is attached",
                "OnlineExtendUnsupported",
            )
        with _for_people():
            arguments = {"node-name": disk_name(disk.volume_id), "size": size_gb * GIB}
            machine.monitor.execute("block_resize", arguments)

    def held_volumes(self) -> list[tuple[str, str]]:
        found = []
        for instance_id, machine in self._machines.running():
            try:
                for name in qemu_plug.plugged(machine):
                    if name.startswith("vol-"):
                        found.append((instance_id, qemu_plug.serial(machine, name)))
            except (MachineError, MonitorError):
                # It ends just now, and then has nothing open any more.
                continue
        return found

    def layout(self, item: Instance) -> Layout:
        with _for_people():
            return qemu_migration.layout(self._machines.need(item.key))

    def migrate(self, item: Instance, memory: str, disks: str) -> None:
        machine = self._machines.need(item.key)
        with _for_people():
            names = qemu_migration.layout(machine).disks
            qemu_migration.send(machine, memory, disks, names)

    def migrate_abort(self, instance_id: str) -> None:
        with _for_people():
            qemu_migration.abort(self._machines.need(instance_id))

    def migrate_force(self, instance_id: str) -> None:
        with _for_people():
            self._machines.need(instance_id).pause()

    def migrate_progress(self, instance_id: str) -> Progress:
        with _for_people():
            return qemu_migration.progress(self._machines.need(instance_id))

    def set_password(self, instance_id: str, password: str) -> None:
        raise GuestError("QEMU guest agent is not enabled", "QemuGuestAgentNotEnabled")

    def inject_nmi(self, instance_id: str) -> None:
        with _for_people():
            self._machines.need(instance_id).execute("inject-nmi")

    def diagnostics(self, instance_id: str) -> dict[str, Detail]:
        machine = self._machines.need(instance_id)
        counters: dict[str, Detail] = {}
        with _for_people():
            for number, disk in enumerate(machine.execute("query-blockstats")):
                stats, name = disk["stats"], f"vd{chr(ord('a') + number)}"
                counters[f"{name}_read_req"] = stats["rd_operations"]
                counters[f"{name}_read"] = stats["rd_bytes"]
                counters[f"{name}_write_req"] = stats["wr_operations"]
                counters[f"{name}_write"] = stats["wr_bytes"]
                counters[f"{name}_errors"] = stats["failed_rd_operations"] + stats["failed_wr_operations"]
            memory = machine.execute("query-memory-size-summary")["base-memory"]
        counters |= {"memory": memory // 1024, "memory-actual": memory // 1024}
        counters |= _process_counters(machine.pid)
        for nic in self._home(instance_id).read().nics:
            counters |= _device_counters(nic.tap)
            counters[f"{nic.tap}_mac"] = nic.mac_address
        return counters


def _back_up(machine: Machine, device: str, size: int, target: Path, disk_format: str) -> None:
    """Copy the disk as it is at this moment while the guest goes on. Leaves nothing behind on failure."""
    _end_left_over(machine)
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    qemu_img.create(part, size, disk_format)
    node = block_node(DiskPlan(name="snapshot", file=file_node(str(part)), disk_format=disk_format))
    node["detect-zeroes"] = "unmap"
    machine.execute("blockdev-add", **node)
    try:
        with machine.monitor.listen() as events:
            job = {"job-id": "snapshot", "device": device, "target": "snapshot", "sync": "full"}
            machine.monitor.execute("blockdev-backup", job)
            event = events.wait("BLOCK_JOB_COMPLETED", SNAPSHOT_S, device="snapshot")
        if event is None or event["data"].get("error"):
            reason = event["data"]["error"] if event else "it did not end"
            raise MachineError(f"the snapshot failed: {reason}")
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if not machine.gone.is_set():
            machine.monitor.execute("blockdev-del", {"node-name": "snapshot"})
    part.rename(target)


def _end_left_over(machine: Machine) -> None:
    """A copy that an agent which was killed had begun: nobody waits for it any more. Idempotent."""
    with machine.monitor.listen() as events:
        if any(job["device"] == "snapshot" for job in machine.execute("query-block-jobs")):
            machine.execute("block-job-cancel", device="snapshot", force=True)
            events.wait("JOB_STATUS_CHANGE", 30, id="snapshot", status="null")
    names = {node.get("node-name") for node in machine.execute("query-named-block-nodes", flat=True)}
    if "snapshot" in names:
        machine.monitor.execute("blockdev-del", {"node-name": "snapshot"})


def _process_counters(pid: int) -> dict[str, Detail]:
    """CPU time of the whole machine, in nanoseconds as OpenStack counts it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return {}
    started_s = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    up_s = float(Path("/proc/uptime").read_text().split()[0]) - started_s
    return {"cpu0_time": (int(fields[11]) + int(fields[12])) * 10_000_000, "uptime": int(up_s)}


def _device_counters(device: str) -> dict[str, Detail]:
    """What the guest received and sent: the tap counts from the other side."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, colon, rest = line.partition(":")
        if colon and name.strip() == device:
            values = [int(value) for value in rest.split()]
            received, sent = values[:8], values[8:]
            return {
                f"{device}_rx": sent[0],
                f"{device}_rx_packets": sent[1],
                f"{device}_rx_errors": sent[2],
                f"{device}_rx_drop": sent[3],
                f"{device}_tx": received[0],
                f"{device}_tx_packets": received[1],
                f"{device}_tx_errors": received[2],
                f"{device}_tx_drop": received[3],
            }
    return {}
