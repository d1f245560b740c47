"""The states of a server and the status that clients see. The words are Nova's."""

from __future__ import annotations

from collections.abc import Iterable

ACTIVE = "active"
BUILDING = "building"
PAUSED = "paused"
SUSPENDED = "suspended"
STOPPED = "stopped"
RESCUED = "rescued"
RESIZED = "resized"
SOFT_DELETED = "soft-delete"
DELETED = "deleted"
ERROR = "error"
SHELVED = "shelved"
OFFLOADED = "shelved_offloaded"

NOSTATE, RUNNING, POWER_PAUSED, SHUTDOWN, CRASHED, POWER_SUSPENDED = 0, 1, 3, 4, 6, 7

POWER = {
    "running": RUNNING,
    "paused": POWER_PAUSED,
    "shutdown": SHUTDOWN,
    "suspended": POWER_SUSPENDED,
    "crashed": CRASHED,
}
"""A host's report to the power state that is shown."""

_REBUILD = dict.fromkeys(("rebuilding", "rebuild_block_device_mapping", "rebuild_spawning"), "REBUILD")
_RESIZE = dict.fromkeys(("resize_prep", "resize_migrating", "resize_migrated", "resize_finish"), "RESIZE")
_REBOOT = dict.fromkeys(("rebooting", "reboot_pending", "reboot_started"), "REBOOT")
_HARD = dict.fromkeys(("rebooting_hard", "reboot_pending_hard", "reboot_started_hard"), "HARD_REBOOT")
_MOVE = {"migrating": "MIGRATING"}

STATUSES: dict[str, tuple[str, dict[str, str]]] = {
    ACTIVE: ("ACTIVE", {**_REBOOT, **_HARD, "updating_password": "PASSWORD", **_REBUILD, **_MOVE, **_RESIZE}),
    BUILDING: ("BUILD", {}),
    STOPPED: ("SHUTOFF", {**_RESIZE, **_REBUILD}),
    RESIZED: ("VERIFY_RESIZE", {"resize_reverting": "REVERT_RESIZE"}),
    PAUSED: ("PAUSED", _MOVE),
    SUSPENDED: ("SUSPENDED", {}),
    RESCUED: ("RESCUE", {}),
    ERROR: ("ERROR", _REBUILD),
    DELETED: ("DELETED", {}),
    SOFT_DELETED: ("SOFT_DELETED", {}),
    SHELVED: ("SHELVED", {}),
    OFFLOADED: ("SHELVED_OFFLOADED", {}),
}


def status_of(vm_state: str, task_state: str | None, deleted: bool = False) -> str:
    """What ``status`` says."""
    if deleted:
        return "DELETED"
    plain, tasks = STATUSES.get(vm_state, ("UNKNOWN", {}))
    return tasks.get(task_state or "", plain)


def states_of(statuses: Iterable[str]) -> tuple[list[str], list[str] | None]:
    """The vm_states, and the task states (None: any), that show as one of these statuses."""
    wanted = {status.lower() for status in statuses}
    vm_states, tasks, plain = set(), set(), False
    for vm_state, (usual, special) in STATUSES.items():
        if usual.lower() in wanted:
            vm_states.add(vm_state)
            plain = True
        for task, status in special.items():
            if status.lower() in wanted:
                vm_states.add(vm_state)
                tasks.add(task)
    return sorted(vm_states), (None if plain else sorted(tasks))


SHOWS_PROGRESS = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
SHOWS_FAULT = frozenset({"ERROR", "DELETED"})
