"""Instances as QEMU machines: walks each one from where it is to where it should be.

Build disks, start paused, let run when the ports are wired, pause, suspend, stop, plug and unplug:
every step looks at what is there, so a walk that was cut short is simply walked again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec

from virga.agent.drivers import qemu_disks, qemu_migration, qemu_plug, qemu_throttle
from virga.agent.drivers.guest_kind import Detail, GuestError, Outcome, PortsReady
from virga.agent.drivers.image_cache import ImageCache
from virga.agent.drivers.instance_home import InstanceHome, InstanceHomes, Record, Shape
from virga.agent.drivers.qemu_actions import QemuActions
from virga.agent.drivers.qemu_command import DEFAULT_ARGUMENTS, MachinePlan, disk_name, nic_name
from virga.agent.drivers.qemu_img import DiskError
from virga.agent.drivers.qemu_machine import Machine, MachineError, running_machines
from virga.agent.drivers.qemu_monitor import Event, MonitorError, MonitorThread
from virga.contract.items import Disk, Instance, Nic
from virga.lib.log import log_for

log = log_for(__name__)

SELF_ENDED = {
    "shutdown": ("shutdown", "the guest shut itself down"),
    "guest-panicked": ("crashed", "the guest panicked"),
}


@dataclass(frozen=True, slots=True)
class QemuOptions:
    """What the host gives its machines."""

    accelerator: str = "tcg"
    smallest_memory_mb: int = 96
    shutdown_grace_s: float = 60.0
    address: str = "127.0.0.1"
    """Where machines listen that come from other hosts."""


def shape_of(item: Instance) -> Shape:
    return Shape(
        vcpus=item.vcpus,
        memory_mb=item.memory_mb,
        root_gb=item.root_gb,
        rescue_image=item.rescue_image.id if item.rescue_image else "",
    )


def _device_exists(name: str) -> bool:
    try:
        socket.if_nametoindex(name)
    except OSError:
        return False
    return True


class QemuGuests:
    """All QEMU machines of this host."""

    def __init__(
        self,
        root: Path,
        cache: ImageCache,
        options: QemuOptions | None = None,
        device_exists: Callable[[str], bool] = _device_exists,
    ) -> None:
        self.homes = InstanceHomes(root / "instances")
        self._cache = cache
        self._options = options or QemuOptions()
        self._device_exists = device_exists
        self._machines: dict[str, Machine] = {}
        self._thread = MonitorThread()
        self._held: dict[str, set[tuple[str, str]]] = {}
        self._ends: dict[str, tuple[str, str]] = {}
        self._on_news: Callable[[str], None] = lambda instance_id: None
        self.actions = QemuActions(self)

    # What is there already

    def adopt(self, on_news: Callable[[str], None]) -> Iterable[str]:
        self._on_news = on_news
        for instance_id, pid in running_machines(self.homes.root):
            try:
                self._adopt(instance_id, pid)
            except MonitorError as error:
                log.warning("a running instance does not answer", instance_id=instance_id, reason=str(error))
        return [key for key in self.homes.ids() if not (self.homes.of(key).path / "namespace").exists()]

    def _adopt(self, instance_id: str, pid: int) -> None:
        if self.machine(instance_id) is None:
            home = self.homes.of(instance_id)
            machine = Machine.adopt(home, pid, self._thread, self._event, self._exited)
            self._machines[instance_id] = machine
            log.info("instance adopted", instance_id=instance_id, qemu_pid=pid)

    def close(self) -> None:
        """Let go of all machines without ending them."""
        for machine in self._machines.values():
            machine.close()
        self._thread.close()

    def machine(self, instance_id: str) -> Machine | None:
        """The live process of the instance, if there is one."""
        machine = self._machines.get(instance_id)
        return None if machine is None or machine.gone.is_set() else machine

    def running(self) -> list[tuple[str, Machine]]:
        """Every live machine."""
        return [(key, machine) for key, machine in list(self._machines.items()) if not machine.gone.is_set()]

    def need(self, instance_id: str) -> Machine:
        machine = self.machine(instance_id)
        if machine is None:
            raise GuestError(f"instance {instance_id} is not running", "InstanceNotRunning")
        return machine

    # What happens by itself (in the monitor thread: memory and one small file only)

    def _event(self, machine: Machine, event: Event) -> None:
        name = event["event"]
        if name == "SHUTDOWN" and not machine.expected_end and event["data"].get("guest"):
            self._ended(machine, *SELF_ENDED["shutdown"])
        elif name == "GUEST_PANICKED" and not machine.expected_end:
            self._ended(machine, *SELF_ENDED["guest-panicked"])

    def _exited(self, machine: Machine) -> None:
        if not machine.expected_end:
            self._ended(machine, "crashed", "the QEMU process ended unexpectedly")

    def _ended(self, machine: Machine, how: str, reason: str) -> None:
        self._ends.setdefault(machine.home.path.name, (how, reason))
        self._on_news(machine.home.path.name)

    def _note_end(self, home: InstanceHome, record: Record, item: Instance) -> Record:
        """Write down how a guest ended by itself, also when that happened while no agent was there."""
        instance_id = home.path.name
        machine = self.machine(instance_id)
        if machine is not None and instance_id not in self._ends and record.started:
            state = machine.run_state()
            if state in SELF_ENDED:
                self._ends[instance_id] = SELF_ENDED[state]
        how, reason = self._ends.pop(instance_id, ("", ""))
        if record.ended and record.ended_starts != item.starts:
            if machine is not None:
                self.stop(machine, gently=False)
            return home.write(msgspec.structs.replace(home.read(), ended="", ended_reason=""))
        if not how or record.ended or not record.build:
            return record
        return home.write(
            msgspec.structs.replace(record, ended=how, ended_reason=reason, ended_starts=item.starts)
        )

    # The walk

    def converge(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        try:
            return self._walk(self._without_held(item), ports_ready)
        except (DiskError, MachineError, MonitorError) as error:
            raise GuestError(str(error)) from error
        except OSError as error:
            raise GuestError(f"{error.strerror or error}: {error.filename or item.key}") from error

    def hold_off(self, item: Instance, volume_id: str) -> None:
        """Do not plug this attachment any more: it was detached, and the item will follow."""
        for disk in item.disks:
            if disk.volume_id == volume_id:
                self._held.setdefault(item.key, set()).add((volume_id, disk.attachment_id))

    def _without_held(self, item: Instance) -> Instance:
        held = self._held.get(item.key)
        if not held:
            return item
        held &= {(disk.volume_id, disk.attachment_id) for disk in item.disks}
        kept = [disk for disk in item.disks if (disk.volume_id, disk.attachment_id) not in held]
        return msgspec.structs.replace(item, disks=kept)

    def _walk(self, item: Instance, ports_ready: PortsReady) -> Outcome:
        home = self.homes.of(item.key)
        record = self._note_end(home, home.read(), item)
        if record.build != item.build:
            record = self._build(home, record, item)
        machine = self.machine(item.key)
        if item.arrival is not None:
            return self._await(home, record, machine, item)
        if machine is not None and item.departing and machine.run_state() == "postmigrate":
            return self._outcome("sent", record, item)
        if machine is not None and (record.ended or record.shape != shape_of(item)):
            self.stop(machine, gently=not record.ended)
            machine = None
        if item.power_state == "shutdown":
            return self._be_shut_down(home, record, machine, item)
        if record.ended and machine is None:
            return self._outcome(record.ended, home.read(), item, record.ended_reason)
        if item.power_state == "suspended":
            return self._be_suspended(home, record, machine, item, ports_ready)
        return self._be_up(home, record, machine, item, ports_ready)

    def _build(self, home: InstanceHome, record: Record, item: Instance) -> Record:
        """First build, or build anew after a rebuild; a build that was cut short starts over."""
        machine = self.machine(item.key)
        if machine is not None:
            self.stop(machine, gently=False)
        if record.build:
            record = home.write(Record())
            qemu_disks.discard(home)
        if item.arrival is not None:
            qemu_disks.build_empty(home, item, item.arrival.disks)
        images = qemu_disks.build(home, item, self._cache)
        log.info("instance built", instance_id=item.key, build=item.build)
        return home.write(Record(build=item.build, shape=shape_of(item), images=images))

    def _await(self, home: InstanceHome, record: Record, machine: Machine | None, item: Instance) -> Outcome:
        """It comes from another host: be there for it, of the same shape, and do not run."""
        if machine is not None and not record.arriving:
            self.stop(machine, gently=False)
            machine = None
        if machine is None:
            missing = [nic.tap for nic in item.nics if not self._device_exists(nic.tap)]
            if missing:
                return self._waiting(record, item, lambda: all(map(self._device_exists, missing)))
            machine = self._start(home, home.write(msgspec.structs.replace(record, arriving={})), item)
            assert item.arrival is not None
            found = qemu_migration.receive(machine, self._options.address, item.arrival.disks)
            record = home.write(msgspec.structs.replace(home.read(), arriving=found))
        return replace(self._outcome("awaited", record, item), details=dict(record.arriving))

    def _be_shut_down(
        self, home: InstanceHome, record: Record, machine: Machine | None, item: Instance
    ) -> Outcome:
        if machine is not None:
            self.stop(machine, gently=True)
        home.memory.unlink(missing_ok=True)
        record = home.write(
            msgspec.structs.replace(
                home.read(),
                ended="",
                ended_reason="",
                suspended=False,
                shape=shape_of(item),
                nics=item.nics,
                disks=item.disks,
            )
        )
        self._prepare(home, item)
        return self._outcome("shutdown", record, item)

    def _be_suspended(
        self,
        home: InstanceHome,
        record: Record,
        machine: Machine | None,
        item: Instance,
        ports_ready: PortsReady,
    ) -> Outcome:
        if machine is None and record.suspended:
            return self._outcome("suspended", record, item)
        if machine is None:
            # Not running, so there is no memory to keep: the guest must come up before it can be suspended.
            up = self._be_up(home, record, machine, item, ports_ready)
            if up.wait_for is not None:
                return up
            machine = self.need(item.key)
        machine.pause()
        slots = qemu_migration.layout(machine).slots
        machine.save_memory(home.memory)
        record = home.write(msgspec.structs.replace(home.read(), suspended=True, slots=slots))
        machine.quit()
        return self._outcome("suspended", record, item)

    def _be_up(
        self,
        home: InstanceHome,
        record: Record,
        machine: Machine | None,
        item: Instance,
        ports_ready: PortsReady,
    ) -> Outcome:
        if machine is None:
            # A process that did not answer when this agent came must not get a twin on the same disk.
            for pid in [pid for key, pid in running_machines(self.homes.root) if key == item.key]:
                self._adopt(item.key, pid)
            machine = self.machine(item.key)
        if machine is None:
            missing = [nic.tap for nic in item.nics if not self._device_exists(nic.tap)]
            if missing:
                return self._waiting(record, item, lambda: all(map(self._device_exists, missing)))
            machine = self._start(home, record, item)
        if not home.read().started:
            ports = [nic.port_id for nic in item.nics]
            ready = ports_ready(ports)
            if ready is None:
                return self._waiting(record, item, lambda: ports_ready(ports) is not None)
            if ready is False:
                raise GuestError(f"a port of instance {item.key} could not be wired")
        qemu_throttle.limit(machine, [d for d in item.disks if d in home.read().disks])
        self._power(home, machine, item)
        problems = self._plug(home, machine, item)
        record = home.read()
        status = "paused" if item.power_state == "paused" else "running"
        return self._outcome(status, record, item, "; ".join(problems.values()), problems)

    def _power(self, home: InstanceHome, machine: Machine, item: Instance) -> None:
        if home.read().arriving:
            qemu_migration.close_exports(machine)
        state = machine.run_state()
        if item.power_state == "paused":
            if state == "running":
                machine.pause()
        elif state != "running":
            machine.resume()
        record = home.read()
        if record.arriving and item.power_state != "paused":
            qemu_migration.announce(machine)
        if not record.started or record.suspended:
            home.write(msgspec.structs.replace(record, started=True, suspended=False, arriving={}))
            home.memory.unlink(missing_ok=True)
            log.info("instance runs", instance_id=item.key)

    def _prepare(self, home: InstanceHome, item: Instance) -> list[str]:
        images = qemu_disks.build(home, item, self._cache)
        qemu_disks.grow_root(home, item)
        return images

    def _start(self, home: InstanceHome, record: Record, item: Instance) -> Machine:
        images = self._prepare(home, item)
        nics, disks = item.nics, sorted(item.disks, key=_disk_order)
        slots: Mapping[str, int] = item.arrival.slots if item.arrival is not None else {}
        if record.suspended:
            # Saved memory knows its devices: they must be the same again, changes are plugged afterwards.
            nics, disks, slots = record.nics, record.disks, record.slots
        home.write(
            msgspec.structs.replace(
                record,
                shape=shape_of(item),
                images=images,
                nics=nics,
                disks=disks,
                started=False,
                ended="",
                ended_reason="",
            )
        )
        plan = replace(self._plan(home, item, nics, disks), slots=slots, incoming=item.arrival is not None)
        try:
            for disk in disks:
                qemu_disks.write_secret(qemu_disks.volume_plan(disk, home), disk)
            if record.suspended and home.memory.exists():
                with home.memory.open("rb") as memory:
                    machine = self._launch(home, replace(plan, incoming_fd=memory.fileno()))
            else:
                machine = self._launch(home, plan)
        finally:
            for secret in home.path.glob("*.secret"):
                secret.unlink(missing_ok=True)
        self._machines[item.key] = machine
        log.info("instance started", instance_id=item.key, qemu_pid=machine.pid)
        return machine

    def _launch(self, home: InstanceHome, plan: MachinePlan) -> Machine:
        return Machine.start(home, plan, self._thread, self._event, self._exited)

    def _plan(
        self, home: InstanceHome, item: Instance, nics: Sequence[Nic], disks: Sequence[Disk]
    ) -> MachinePlan:
        volumes = [qemu_disks.volume_plan(disk, home) for disk in disks]
        own = qemu_disks.own_disks(home, item)
        # A volume to boot from is the guest's first disk, before the ephemeral ones.
        root = [disk for disk in volumes if disk.boot_index == 0 and not home.disk.exists()]
        rest = [disk for disk in volumes if disk not in root]
        disks_in_order = [*root, *own, *(replace(disk, boot_index=-1) for disk in rest)]
        if item.kernel:
            # QEMU's own loader of a kernel takes the first place in the boot order.
            disks_in_order = [replace(disk, boot_index=-1) for disk in disks_in_order]
        return MachinePlan(
            instance_id=item.key,
            name=item.name,
            home=str(home.path),
            vcpus=item.vcpus,
            memory_mb=max(item.memory_mb, self._options.smallest_memory_mb),
            accelerator=self._options.accelerator,
            disks=tuple(disks_in_order),
            nics=tuple(nics),
            nic_model=item.nic_model,
            config_drive=str(home.config_drive) if item.config_drive else "",
            kernel=self._cache.fetch(item.kernel).path if item.kernel else "",
            ramdisk=self._cache.fetch(item.ramdisk).path if item.ramdisk else "",
            kernel_arguments=item.kernel_arguments or DEFAULT_ARGUMENTS,
        )

    def stop(self, machine: Machine, gently: bool) -> None:
        """End the machine; ``gently`` asks the guest first."""
        machine.expected_end = True
        if gently:
            machine.power_down(self._options.shutdown_grace_s)
        machine.quit()

    def _plug(self, home: InstanceHome, machine: Machine, item: Instance) -> dict[str, str]:
        """Bring disks and NICs of the running machine to what is wanted. Returns problems by detail name."""
        problems: dict[str, str] = {}
        present = qemu_plug.plugged(machine)
        disks = {disk_name(disk.volume_id): disk for disk in item.disks}
        nics = {nic_name(nic.port_id): nic for nic in item.nics}
        steps: list[tuple[str, Callable[[], None]]] = []
        for name in sorted(present):
            if name.startswith("vol-") and name not in disks:
                steps.append((f"volume_error:{name}", partial(qemu_plug.unplug_disk, machine, name)))
            elif name.startswith("nic-") and name not in nics:
                steps.append((f"port_error:{name[4:]}", partial(qemu_plug.unplug_nic, machine, name[4:])))
        for name, disk in disks.items():
            if name not in present:
                steps.append(
                    (f"volume_error:{disk.volume_id}", partial(self._plug_disk, home, machine, disk))
                )
        for name, nic in nics.items():
            if name not in present:
                steps.append(
                    (f"port_error:{nic.port_id}", partial(self._plug_nic, machine, nic, item.nic_model))
                )
        for name, step in steps:
            try:
                step()
            except MachineError as error:
                problems[name] = str(error)
        self._note_devices(home, item, qemu_plug.plugged(machine) if steps else present)
        return problems

    def _note_devices(self, home: InstanceHome, item: Instance, present: set[str]) -> None:
        """The record says what the machine has, so that reports and a resume from saved memory are right."""
        record = home.read()
        known_disks = {disk_name(disk.volume_id): disk for disk in [*record.disks, *item.disks]}
        known_nics = {nic_name(nic.port_id): nic for nic in [*record.nics, *item.nics]}
        disks = [disk for name, disk in known_disks.items() if name in present]
        nics = [nic for name, nic in known_nics.items() if name in present]
        if (disks, nics) != (record.disks, record.nics):
            home.write(msgspec.structs.replace(record, disks=disks, nics=nics))

    def _plug_disk(self, home: InstanceHome, machine: Machine, disk: Disk) -> None:
        plan = replace(qemu_disks.volume_plan(disk, home), boot_index=-1)
        qemu_plug.plug_disk(machine, plan, str(disk.connection.get("password", "")))
        try:
            qemu_throttle.limit(machine, [disk])
        except MachineError:
            qemu_plug.unplug_disk(machine, plan.name)
            raise

    def _plug_nic(self, machine: Machine, nic: Nic, model: str) -> None:
        if not self._device_exists(nic.tap):
            raise MachineError(f"the device {nic.tap} of port {nic.port_id} is not there yet")
        qemu_plug.plug_nic(machine, nic, model)

    def _waiting(self, record: Record, item: Instance, until: Callable[[], bool]) -> Outcome:
        return replace(self._outcome("building", record, item), wait_for=until)

    def _outcome(
        self,
        status: str,
        record: Record,
        item: Instance,
        reason: str = "",
        problems: dict[str, str] | None = None,
    ) -> Outcome:
        details: dict[str, Detail] = {
            "build": record.build,
            "vcpus": record.shape.vcpus,
            "memory_mb": record.shape.memory_mb,
            "rescue": bool(record.shape.rescue_image),
            "ports": ",".join(sorted(nic.port_id for nic in record.nics)),
            "volumes": ",".join(sorted(disk.volume_id for disk in record.disks)),
            **(problems or {}),
        }
        return Outcome(status, reason, details)

    # Leaving

    def abandon(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.kill()

    def remove(self, instance_id: str) -> None:
        machine = self._machines.get(instance_id)
        if machine is not None:
            machine.kill()
            machine.quit()
            del self._machines[instance_id]
        self.homes.of(instance_id).remove()
        log.info("instance removed", instance_id=instance_id)

    def living(self) -> Mapping[str, str]:
        return {key: f"QEMU process {pid}" for key, pid in running_machines(self.homes.root)}

    def trim_logs(self) -> None:
        for instance_id in self.homes.ids():
            self.homes.of(instance_id).trim_console()

    def images_in_use(self, instance_id: str) -> Collection[str]:
        return self.homes.of(instance_id).read().images


def _disk_order(disk: Disk) -> tuple[int, str]:
    return (0 if disk.boot_index == 0 else 1, disk.device)
