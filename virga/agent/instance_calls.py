"""The calls on instances (``instance.…`` of contract/calls.py), joined to the instances driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from virga.agent.calls import CallError, CallRegistry
from virga.agent.drivers.guest_kind import Detail, GuestError
from virga.agent.drivers.instances import InstancesDriver
from virga.contract import calls

A = TypeVar("A")


class InstanceCallError(CallError):
    """An action on an instance that could not be done."""

    def __init__(self, error: GuestError) -> None:
        super().__init__(str(error))
        self.error_type = error.kind


def _spoken(function: Callable[[A], Any]) -> Callable[[A], Any]:
    @wraps(function)
    def call(arguments: A) -> Any:
        try:
            return function(arguments)
        except GuestError as error:
            raise InstanceCallError(error) from error

    return call


class InstanceCalls:
    """One method per call. Those that change something wait for their turn on the instance."""

    def __init__(self, driver: InstancesDriver) -> None:
        self._driver = driver

    def register(self, registry: CallRegistry) -> None:
        methods: list[tuple[str, type[Any], Callable[[Any], Any]]] = [
            ("instance.reboot", calls.Reboot, self.reboot),
            ("instance.console_output", calls.ConsoleOutput, self.console_output),
            ("instance.console_target", calls.ConsoleTarget, self.console_target),
            ("instance.snapshot", calls.Snapshot, self.snapshot),
            ("instance.release_disk", calls.ReleaseDisk, self.release_disk),
            ("instance.detach_disk", calls.DetachDisk, self.detach_disk),
            ("instance.resize_disk", calls.ResizeDisk, self.resize_disk),
            ("instance.copy_disk", calls.CopyDisk, self.copy_disk),
            ("instance.disks", calls.HeldDisks, self.disks),
            ("instance.migrate_check", calls.MigrateCheck, self.migrate_check),
            ("instance.migrate", calls.Migrate, self.migrate),
            ("instance.migrate_abort", calls.MigrateAbort, self.migrate_abort),
            ("instance.migrate_force", calls.MigrateForce, self.migrate_force),
            ("instance.migrate_progress", calls.MigrateProgress, self.migrate_progress),
            ("instance.set_password", calls.SetPassword, self.set_password),
            ("instance.trigger_crash_dump", calls.InjectNmi, self.trigger_crash_dump),
            ("instance.is_known", calls.IsKnown, self.is_known),
            ("instance.diagnostics", calls.Diagnostics, self.diagnostics),
        ]
        for method, arguments, function in methods:
            registry.register(method, arguments, _spoken(function))

    def reboot(self, call: calls.Reboot) -> None:
        self._driver.reboot(call.instance_id, soft=call.reboot_type.upper() == "SOFT")

    def console_output(self, call: calls.ConsoleOutput) -> str:
        text = self._driver.look(call.instance_id).actions.console_output(call.instance_id)
        lines = text.decode("utf-8", errors="replace").split("\n")
        if call.length is None or call.length < 0:
            return "\n".join(lines)
        # As Nova counts: what stands after the last line end is a line too, even when nothing does.
        return "\n".join(lines[-call.length :]) if call.length else ""

    def console_target(self, call: calls.ConsoleTarget) -> calls.ConsoleAddress:
        actions = self._driver.look(call.instance_id).actions
        return calls.ConsoleAddress(path=str(actions.console_target(call.instance_id, call.console_type)))

    def snapshot(self, call: calls.Snapshot) -> calls.SnapshotDone:
        with self._driver.turn(call.instance_id) as (kind, item):
            return calls.SnapshotDone(size=kind.actions.snapshot(item, Path(call.path), call.disk_format))

    def release_disk(self, call: calls.ReleaseDisk) -> None:
        with self._driver.turn(call.instance_id) as (kind, item):
            kind.actions.release_disk(item, Path(call.path))

    def detach_disk(self, call: calls.DetachDisk) -> None:
        with self._driver.turn(call.instance_id) as (kind, item):
            kind.actions.detach_disk(item, call.volume_id)

    def resize_disk(self, call: calls.ResizeDisk) -> None:
        with self._driver.turn(call.instance_id) as (kind, item):
            for disk in item.disks:
                if disk.volume_id == call.volume_id:
                    kind.actions.resize_disk(item, disk, call.size_gb)
                    return
        raise GuestError(f"instance {call.instance_id} has no volume {call.volume_id}", "DiskNotFound")

    def copy_disk(self, call: calls.CopyDisk) -> calls.SnapshotDone:
        with self._driver.turn(call.instance_id) as (kind, item):
            return calls.SnapshotDone(size=kind.actions.copy_disk(item, call.volume_id, Path(call.path)))

    def is_known(self, call: calls.IsKnown) -> bool:
        return self._driver.knows(call.instance_id)

    def disks(self, _: calls.HeldDisks) -> list[calls.HeldDisk]:
        return [
            calls.HeldDisk(instance_id=instance_id, volume_id=volume_id)
            for instance_id, volume_id in self._driver.held_volumes()
        ]

    def migrate_check(self, call: calls.MigrateCheck) -> calls.Layout:
        with self._driver.turn(call.instance_id) as (kind, item):
            return kind.actions.layout(item)

    def migrate(self, call: calls.Migrate) -> None:
        with self._driver.turn(call.instance_id) as (kind, item):
            kind.actions.migrate(item, call.memory, call.disks)

    def migrate_abort(self, call: calls.MigrateAbort) -> None:
        self._driver.look(call.instance_id).actions.migrate_abort(call.instance_id)

    def migrate_force(self, call: calls.MigrateForce) -> None:
        self._driver.look(call.instance_id).actions.migrate_force(call.instance_id)

    def migrate_progress(self, call: calls.MigrateProgress) -> calls.Progress:
        return self._driver.look(call.instance_id).actions.migrate_progress(call.instance_id)

    def set_password(self, call: calls.SetPassword) -> None:
        with self._driver.turn(call.instance_id) as (kind, _):
            kind.actions.set_password(call.instance_id, call.password)

    def trigger_crash_dump(self, call: calls.InjectNmi) -> None:
        with self._driver.turn(call.instance_id) as (kind, _):
            kind.actions.inject_nmi(call.instance_id)

    def diagnostics(self, call: calls.Diagnostics) -> dict[str, Detail]:
        return self._driver.look(call.instance_id).actions.diagnostics(call.instance_id)
