"""``GET /v1/volumes/check``: nothing of volumes is lost, doubled or leaked. Reads rows and hosts, changes nothing.

While the hosts are asked, work goes on; so the rows are read before and after, and only what is wrong by both counts.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import Any

import msgspec
from sqlalchemy import select

from virga.api.context import AsyncContext, CallError
from virga.api.faults import virga_envelope
from virga.api.request import Request
from virga.api.routing import Route, ServiceApi
from virga.contract import calls
from virga.db.outbox import job as jobs
from virga.db.tx import Tx
from virga.services.block_storage import backup_work, host
from virga.services.block_storage.models import volume, volume_attachment, volume_backup, volume_snapshot
from virga.services.compute.models import block_device, server
from virga.services.compute.volume_compare import Finding, Rows, Seen, compare
from virga.settings import Settings

ASK_S = 20.0
POLICIES = {"volume_check:get": "role:admin"}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def read(tx: Tx) -> Rows:
    """All that the database says of volumes, in one moment."""
    living = tx.all(select(server).where(server.c.deleted.is_(False)))
    busy: set[str] = set()
    for row in tx.all(select(jobs.c.ordering_key, jobs.c.arguments)):
        busy.update(_ID.findall(f"{row.ordering_key} {json.dumps(json.loads(row.arguments))}"))
    for row in living:
        if row.task_state is not None or row.vm_state == "building":
            busy.add(row.id)
    return Rows(
        volumes=list(tx.all(select(volume))),
        snapshots=list(tx.all(select(volume_snapshot))),
        backups=list(tx.all(select(volume_backup))),
        attachments=list(tx.all(select(volume_attachment))),
        devices=list(tx.all(select(block_device).where(block_device.c.volume_id.is_not(None)))),
        servers={row.id: row for row in living},
        worked_on=frozenset(busy),
    )


async def look(ctx: AsyncContext, rows: Rows) -> tuple[Seen, list[Finding]]:
    """What the hosts really have, and which of them do not say."""
    silent: list[Finding] = []
    pools: dict[str, calls.PoolFacts] = {}
    machines: dict[str, list[calls.HeldDisk]] = {}
    serving = await ctx.read(lambda tx: [row.host for row in host.services(tx, "cinder-volume")])
    for name in serving:
        try:
            answer = await ctx.call(name, "volume.pool", calls.PoolShow(), ASK_S)
            pools[name] = msgspec.json.decode(answer, type=calls.PoolFacts)
        except CallError as problem:
            silent.append(
                Finding("silent", "pool", name, f"Host {name} does not say what is in its pool: {problem}")
            )
    for name in sorted({row.host for row in rows.servers.values() if row.host}):
        try:
            answer = await ctx.call(name, "instance.disks", calls.HeldDisks(), ASK_S)
            machines[name] = msgspec.json.decode(answer, type=list[calls.HeldDisk])
        except CallError as problem:
            silent.append(
                Finding("silent", "host", name, f"Host {name} does not say what its machines have: {problem}")
            )
    files = await ctx.thread(lambda: _files(ctx.settings))
    return Seen(pools, machines, files), silent


def _files(settings: Settings) -> frozenset[str]:
    there = backup_work.store(settings)
    return frozenset(path.name for path in there.iterdir()) if there.exists() else frozenset()


async def check(ctx: AsyncContext, req: Request) -> Any:
    before = await ctx.read(read)
    seen, silent = await look(ctx, before)
    first = compare(before, seen)
    after = await ctx.read(read)
    still = set(compare(after, seen))
    found = [*silent, *(one for one in first if one in still)]
    counts = {name: len(getattr(after, name)) for name in ("volumes", "snapshots", "backups", "attachments")}
    return {"volume_check": {"findings": [asdict(one) for one in found], "compared": counts}}


def service(settings: Settings) -> ServiceApi:
    """The check as the edge serves it."""
    return ServiceApi(
        name="volume-check",
        prefix="/v1/volumes",
        routes=[Route("GET", "/check", check, "volume_check:get")],
        envelope=virga_envelope,
        policies=POLICIES,
    )
