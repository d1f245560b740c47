"""Statuses follow from states, and filters find states by status."""

from __future__ import annotations

import pytest

from virga.services.compute.states import STATUSES, states_of, status_of


@pytest.mark.parametrize(
    ("vm_state", "task", "status"),
    [
        ("active", None, "ACTIVE"),
        ("active", "powering-off", "ACTIVE"),
        ("active", "rebooting", "REBOOT"),
        ("active", "reboot_started_hard", "HARD_REBOOT"),
        ("active", "resize_prep", "RESIZE"),
        ("stopped", "rebuild_spawning", "REBUILD"),
        ("resized", None, "VERIFY_RESIZE"),
        ("resized", "resize_reverting", "REVERT_RESIZE"),
        ("error", None, "ERROR"),
        ("building", "spawning", "BUILD"),
        ("shelved_offloaded", None, "SHELVED_OFFLOADED"),
        ("nonsense", None, "UNKNOWN"),
    ],
)
def test_status(vm_state: str, task: str | None, status: str) -> None:
    assert status_of(vm_state, task) == status


def test_every_status_is_found_by_its_own_name() -> None:
    for vm_state, (usual, special) in STATUSES.items():
        found, tasks = states_of([usual.lower()])
        assert vm_state in found and tasks is None
        for task, status in special.items():
            found, tasks = states_of([status])
            assert vm_state in found
            assert tasks is None or task in tasks


def test_a_status_that_does_not_exist_finds_nothing() -> None:
    assert states_of(["nope"]) == ([], [])
