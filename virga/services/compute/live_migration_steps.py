"""The turns of a live migration: its host waits for it, it has arrived, it runs there, or it stays where it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virga.db.tx import Tx
from virga.services.compute import host as hosts
from virga.services.compute import instance_action, migration_row, port_allocation, server, states
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.server import Server
from virga.services.placement import claim


def reported(tx: Tx, row: Server, host: str, status: str, reason: str, details: Mapping[str, Any]) -> None:
    """What a host says of a server that it does not run yet."""
    move = migration_row.current(tx, row.id)
    if move is None or move.migration_type != migration_row.LIVE or move.destination_host != host:
        return
    if move.status != "preparing":
        return
    if status == "error":
        undo(tx, row.id, move.id, reason)
    elif status == "awaited":
        places = {"memory": str(details["memory"]), "disks": str(details.get("disks") or "")}
        job = ServerJob(row.id, {"migration": move.id, **places})
        tx.job("compute.live_migrate_carry", row.id, job)


def hand_over(tx: Tx, server_id: str, ident: str) -> None:
    """It stands still, whole, on its new host: from now on that is its host, and lets it run."""
    row, move = server.find(tx, server_id), migration_row.find(tx, ident)
    if row is None or move is None or move.status not in ("running", "cancelling"):
        return
    to = move.destination_host
    zone = hosts.zone_of(tx, to)
    migration_row.change(tx, ident, status="post-migrating")
    claim.release(tx, ident)
    port_allocation.expect(tx, row.id, None)
    port_allocation.bind(tx, row.id, to, zone)
    instance_action.finish(tx, row.id, "compute_live_migration")
    instance_action.event(tx, row.id, "compute_post_live_migration_at_destination", to)
    server.save(
        tx, row.id, touch=True, host=to, availability_zone=zone, source_disk=None, realised="", progress=0
    )


def arrived(tx: Tx, row: Server, status: str) -> None:
    """The new host shows it as it should be."""
    move = migration_row.current(tx, row.id)
    if move is None or move.status != "post-migrating" or status != row.wanted_power:
        return
    migration_row.change(tx, move.id, status="completed")
    instance_action.finish(tx, row.id, "compute_post_live_migration_at_destination")
    server.save(tx, row.id, task_state=None)


def undo(tx: Tx, server_id: str, ident: str, reason: str, status: str | None = None) -> None:
    """It stays where it is, and the action says why; whoever waited for it forgets it."""
    row, move = server.find(tx, server_id), migration_row.find(tx, ident)
    if move is None or move.status not in ("accepted", "queued", "preparing", "running", "cancelling"):
        return
    cancelled = move.status == "cancelling" or status == "cancelled"
    if row is None or row.task_state == "deleting":
        migration_row.change(tx, ident, status="error")
        return
    if move.status in ("preparing", "running", "cancelling"):
        claim.release(tx, row.id)
        claim.move(tx, ident, row.id, claim.Owner(row.project_id, row.user_id))
    migration_row.change(tx, ident, status="cancelled" if cancelled else "error")
    port_allocation.expect(tx, row.id, None)
    instance_action.finish_all(tx, row.id, None if cancelled else reason)
    task = None if row.vm_state in (states.ACTIVE, states.PAUSED) else row.task_state
    server.save(tx, row.id, touch=True, task_state=task)
