"""What hosts say about servers. Each task that waits for a host ends here, when the host shows what was wanted.

A report may be late or repeated: it only ends a task if it shows the very state that the task is to bring about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.compute import (
    build,
    instance_action,
    live_migration_steps,
    migration_row,
    server,
    server_delete,
    states,
    volumes,
)
from virga.services.compute.resize_steps import resized, revert_done, source_gone
from virga.services.compute.server import Server
from virga.services.compute.shelve_steps import offloaded, unshelved
from virga.services.placement import claim

log = log_for(__name__)

Details = Mapping[str, Any]

# Task -> (what the host must show, the state that follows, the event that ends)
SIMPLE: dict[str, tuple[str, str, str]] = {
    "powering-off": ("shutdown", states.STOPPED, "compute_stop_instance"),
    "powering-on": ("running", states.ACTIVE, "compute_start_instance"),
    "pausing": ("paused", states.PAUSED, "compute_pause_instance"),
    "unpausing": ("running", states.ACTIVE, "compute_unpause_instance"),
    "suspending": ("suspended", states.SUSPENDED, "compute_suspend_instance"),
    "resuming": ("running", states.ACTIVE, "compute_resume_instance"),
    "rescuing": ("running", states.RESCUED, "compute_rescue_instance"),
    "unrescuing": ("running", states.ACTIVE, "compute_unrescue_instance"),
}


def report(
    tx: Tx, host: str, server_id: str, status: str, reason: str = "", details: Details | None = None
) -> None:
    """One report of one host about one server."""
    row = server.find(tx, server_id)
    if row is None:
        return
    if host != row.host:
        if status == "gone":
            source_gone(tx, row, host)
        else:
            live_migration_steps.reported(tx, row, host, status, reason, details or {})
        return
    if status == "gone":
        _gone(tx, row)
    elif status == "error":
        _error(tx, row, reason)
    elif status not in ("building", "awaited", "sent"):
        volumes.seen(tx, row, details or {})
        _alive(tx, row, status, details or {})


def _gone(tx: Tx, row: Server) -> None:
    if row.task_state == "deleting":
        server_delete.finish(tx, row)
    elif (
        row.task_state in ("shelving_offloading", "shelving_image_uploading")
        or row.vm_state == states.SHELVED
    ):
        offloaded(tx, row)


def _error(tx: Tx, row: Server, reason: str) -> None:
    """Hosts keep trying; a task that a person waits for ends in an error all the same."""
    if not row.on_host or row.task_state == "deleting":
        return
    if row.vm_state == states.BUILDING and row.task_state == "spawning":
        build.failed_on_host(tx, row, reason)
        return
    if row.task_state is None:
        log.warning("a host cannot keep a server as it should be", server_id=row.id, reason=reason)
        return
    instance_action.finish_all(tx, row.id, reason)
    migration = migration_row.current(tx, row.id)
    if migration is not None and migration.migration_type == migration_row.LIVE:
        if migration.status in ("queued", "preparing", "running"):
            log.warning("trouble while a server moves", server_id=row.id, reason=reason)
            return
        claim.release(tx, migration.id)
    if migration is not None:
        migration_row.change(tx, migration.id, status="error")
    server.fail(tx, row.id, reason, details=reason)


def _matches(row: Server, details: Details) -> bool:
    """The report is of the instance as the row wants it, not of what it was before."""
    flavor = row.flavor
    wanted = {
        "build": row.build,
        "vcpus": flavor["vcpus"],
        "memory_mb": flavor["memory_mb"],
        "rescue": row.rescue_image_id is not None,
    }
    if row.wanted_power == "shutdown":
        wanted = {"build": row.build}
    return all(details.get(name, value) == value for name, value in wanted.items())


def _alive(tx: Tx, row: Server, status: str, details: Details) -> None:
    power = states.POWER.get(status, states.NOSTATE)
    if row.power_state != power or row.realised != status:
        row = (
            server.save(tx, row.id, power_state=power, realised=status)
            if row.task_state
            else _note(tx, row, status, power)
        )
    if row.task_state is None:
        _by_itself(tx, row, status)
    elif _matches(row, details):
        _settle(tx, row, status)


def _note(tx: Tx, row: Server, status: str, power: int) -> Server:
    return server.save(tx, row.id, power_state=power, realised=status)


def _by_itself(tx: Tx, row: Server, status: str) -> None:
    """No task: the guest itself went down, or came back."""
    if status in ("shutdown", "crashed") and row.vm_state == states.ACTIVE and row.wanted_power == "running":
        server.save(tx, row.id, touch=True, vm_state=states.STOPPED, wanted_power="shutdown")
    elif row.vm_state == states.ERROR and row.launched_at is None and status == "running" and row.on_host:
        server.save(tx, row.id, vm_state=states.ACTIVE, fault=None, launched_at=tx.now)


def _settle(tx: Tx, row: Server, status: str) -> None:
    task = row.task_state
    if task in SIMPLE:
        wanted, vm_state, event = SIMPLE[task]
        if status == wanted:
            instance_action.finish(tx, row.id, event)
            server.save(tx, row.id, vm_state=vm_state, task_state=None)
    elif task in COMPLEX:
        COMPLEX[task](tx, row, status)


def _spawned(tx: Tx, row: Server, status: str) -> None:
    if row.vm_state == states.BUILDING and status == "running":
        instance_action.finish(tx, row.id, build.EVENT)
        server.save(
            tx,
            row.id,
            vm_state=states.ACTIVE,
            task_state=None,
            launched_at=tx.now,
            progress=0,
            source_disk=None,
        )
    elif row.vm_state in (states.SHELVED, states.OFFLOADED):
        unshelved(tx, row, status)


def _rebuilt(tx: Tx, row: Server, status: str) -> None:
    if status not in ("running", "shutdown") or status != row.wanted_power:
        return
    vm_state = states.STOPPED if status == "shutdown" else states.ACTIVE
    instance_action.finish(tx, row.id, "compute_rebuild_instance")
    server.save(tx, row.id, vm_state=vm_state, task_state=None, launched_at=tx.now, progress=0)


def _rebooted(tx: Tx, row: Server, status: str) -> None:
    """From off to on. A guest that was on is rebooted by a call, and the end of that call ends the task."""
    if status == "running" and row.vm_state != states.ACTIVE:
        instance_action.finish(tx, row.id, "compute_reboot_instance")
        server.save(tx, row.id, vm_state=states.ACTIVE, task_state=None)


COMPLEX: dict[str, Callable[[Tx, Server, str], None]] = {
    "spawning": _spawned,
    "rebuilding": _rebuilt,
    "rebuild_spawning": _rebuilt,
    "resize_finish": resized,
    "resize_reverting": revert_done,
    "rebooting_hard": _rebooted,
    "migrating": live_migration_steps.arrived,
}
