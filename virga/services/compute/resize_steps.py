"""The second halves of resize and revert: what follows once a host shows the new size, or the old one again."""

from __future__ import annotations

from virga.db.tx import Tx
from virga.services.compute import instance_action, migration_row, server, states
from virga.services.compute.server import Server
from virga.services.placement import claim


def resized(tx: Tx, row: Server, status: str) -> None:
    """The host shows the new size: now a person confirms or reverts."""
    if status != row.wanted_power:
        return
    move = migration_row.current(tx, row.id)
    if move is not None:
        migration_row.change(tx, move.id, status="finished")
    instance_action.finish(tx, row.id, "compute_finish_resize")
    server.save(
        tx, row.id, vm_state=states.RESIZED, task_state=None, launched_at=tx.now, progress=0, source_disk=None
    )


def revert_done(tx: Tx, row: Server, status: str) -> None:
    """The host shows the old size again."""
    if status != row.wanted_power:
        return
    move = migration_row.current(tx, row.id)
    if move is not None:
        migration_row.change(tx, move.id, status="reverted")
    vm_state = states.STOPPED if status == "shutdown" else states.ACTIVE
    instance_action.finish(tx, row.id, "compute_finish_revert_resize")
    server.save(tx, row.id, vm_state=vm_state, task_state=None, other_flavor=None, launched_at=tx.now)


def source_gone(tx: Tx, row: Server, host: str) -> None:
    """The host that the server left has let go of it."""
    move = migration_row.current(tx, row.id)
    if move is None or host != move.source_host or move.status != "confirming":
        return
    claim.release(tx, move.id)
    migration_row.change(tx, move.id, status="confirmed")
