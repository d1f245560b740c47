"""Volumes and snapshots that are in a pool without a row: listed, taken in, let go (manage and unmanage).

What is let go keeps its bytes in the pool, marked so that a check does not take it for a leak.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import insert, select

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.contract import calls
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import (
    host,
    schema,
    snapshot,
    snapshot_api,
    volume,
    volume_type,
    volume_view,
)
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, Missing, invalid_snapshot, invalid_volume
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.models import volume as volume_table
from virga.services.block_storage.models import volume_snapshot as snapshot_table
from virga.services.block_storage.schema import Body, obj, truth, wrapped
from virga.services.block_storage.volume import Volume
from virga.services.block_storage.volume_api import on_volume
from virga.settings import Settings

_REF = {"type": ["object", "string"]}
VOLUME = Body(
    wrapped(
        "volume",
        obj(
            {
                "name": schema.NAME,
                "description": schema.DESCRIPTION,
                "volume_type": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
                "metadata": schema.METADATA_OR_NULL,
                "availability_zone": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
                "bootable": {
                    "type": ["boolean", "string", "null"],
                    "enum": [*schema.TRUE, *schema.FALSE, None],
                },
                "host": {"type": "string", "minLength": 1, "maxLength": 255},
                "cluster": {"type": ["string", "null"], "maxLength": 255},
                "ref": _REF,
            },
            ["ref"],
            extra=True,
        ),
    )
)
SNAPSHOT = Body(
    wrapped(
        "snapshot",
        obj(
            {
                "name": schema.NAME,
                "description": schema.DESCRIPTION,
                "metadata": schema.METADATA_OR_NULL,
                "volume_id": schema.UUID,
                "ref": _REF,
            },
            ["ref", "volume_id"],
            extra=True,
        ),
    )
)
PREFIXES = ("volume-", "snapshot-", "_snapshot-")
CALL_S = 600.0
LIST_S = 30.0


def _source(ref: Any) -> str:
    """The id in the pool that a reference names."""
    name = (ref.get("source-name") or ref.get("source-id")) if isinstance(ref, dict) else ref
    if not name:
        raise Invalid(
            f"Failed to manage existing volume due to invalid backend reference {ref}: "
            "Reference must contain source-name or source-id element.",
            type="ManageExistingInvalidReference",
        )
    text = str(name)
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    return text


def _host(tx: Tx, name: str | None) -> str:
    """The host of a backend's or pool's name, if it serves volumes and lives."""
    short = (name or "").partition("@")[0]
    row = host.service_of(tx, short)
    if row is None:
        raise Invalid(f"Service cinder-volume could not be found on host {name}.", type="ServiceNotFound")
    if not host.is_up(row, tx.now) or row.disabled:
        raise Invalid(f"Service cinder-volume on host {name} is not available.", type="ServiceUnavailable")
    return short


# --- taking in -----------------------------------------------------------------------------------------


def take_in(tx: Tx, req: Request) -> Any:
    asked = VOLUME.check(req)["volume"]
    if not asked.get("host"):
        raise Invalid("Must specify 'host' for manage.")
    where, source = _host(tx, asked["host"]), _source(asked["ref"])
    if volume.find(tx, source) is not None:
        raise Invalid(
            f"Unable to manage existing volume. Volume {source} already managed.",
            type="ManageExistingAlreadyManaged",
        )
    kind = (
        volume_type.by_name_or_id(tx, req.caller, asked["volume_type"])
        if asked.get("volume_type")
        else volume_type.default(tx, req.caller.project_id)
    )
    wish = volume.Wish(
        size=0,
        name=asked.get("name"),
        description=asked.get("description"),
        volume_type_id=kind.id if kind else None,
        metadata=asked.get("metadata") or {},
        bootable=asked.get("bootable") is not None and truth(asked["bootable"]),
    )
    made = volume.create(tx, req.caller, wish, queue=False)
    row = volume.save(tx, made, status="managing", host=where)
    tx.job("volume.manage", f"volume-{made}", VolumeJob(made, {"source": source}))
    return {"volume": volume_view.full(tx, req, [row], shown=False)[0]}


async def manage(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.manage``: the pool gives the volume the row's id; the row learns its size."""
    row = await ctx.read(lambda tx: volume.find(tx, job.volume_id))
    if row is None or row.status != "managing":
        return
    try:
        wish = calls.VolumeAdopt(volume_id=row.id, source_id=str(job.extra["source"]))
        answer = await ctx.call(row.host, "volume.adopt", wish, CALL_S)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: volume.fail(tx, job.volume_id, "error_managing", "manage", reason))
        return
    facts = msgspec.json.decode(answer, type=calls.VolumeFacts)

    def done(tx: Tx) -> None:
        if volume.find(tx, job.volume_id) is not None:
            volume.save(
                tx, job.volume_id, status="available", size=facts.size_gb, path=facts.path, launched_at=tx.now
            )

    await ctx.write(done)


def take_in_snapshot(tx: Tx, req: Request) -> Any:
    asked = SNAPSHOT.check(req)["snapshot"]
    owner = volume.get(tx, req.caller, asked["volume_id"])
    source = _source(asked["ref"])
    if snapshot.find(tx, source) is not None:
        raise Invalid(
            f"Unable to manage existing snapshot. Snapshot {source} already managed.",
            type="ManageExistingAlreadyManaged",
        )
    if not owner.host:
        raise invalid_volume(f"Volume {owner.id} has no host.")
    ident = new_uuid()
    tx.execute(
        insert(snapshot_table).values(
            id=ident,
            volume_id=owner.id,
            project_id=owner.project_id,
            user_id=req.caller.user_id,
            name=asked.get("name"),
            description=asked.get("description"),
            size=owner.size,
            status="creating",
            progress="0%",
            volume_type_id=owner.volume_type_id,
            metadata=asked.get("metadata") or {},
            created_at=tx.now,
        )
    )
    tx.job(
        "volume.manage_snapshot",
        f"volume-{owner.id}",
        VolumeJob(owner.id, {"snapshot_id": ident, "source": source}),
    )
    return {"snapshot": snapshot_api.view(req, snapshot.need(tx, ident), shown=False)}


async def manage_snapshot(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.manage_snapshot``."""
    ident = str(job.extra["snapshot_id"])
    row, taken = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), snapshot.find(tx, ident)))
    if row is None or taken is None or taken.status != "creating":
        return
    status = "available"
    try:
        wish = calls.SnapshotAdopt(volume_id=row.id, snapshot_id=ident, source_id=str(job.extra["source"]))
        await ctx.call(row.host, "volume.adopt_snapshot", wish, CALL_S)
    except CallError as problem:
        status, reason = "error_managing", str(problem)
        await ctx.write(lambda tx: snapshot.tell(tx, taken, "manage", reason))
    await ctx.write(lambda tx: snapshot.save(tx, ident, status=status, progress="100%") and None)


# --- letting go ----------------------------------------------------------------------------------------


def let_go(tx: Tx, req: Request, row: Volume) -> Any:
    if row.status not in volume.DELETABLE or volume.attachments(tx, [row.id])[row.id]:
        raise invalid_volume(f"Volume {row.id} must be available and unattached to unmanage it.")
    if volume.snapshots_of(tx, row.id):
        raise invalid_volume(f"Unmanaging volume {row.id} is not possible while it has snapshots.")
    volume.save(tx, row.id, touch=True, status="unmanaging", export=False, exported=False)
    tx.job("volume.unmanage", f"volume-{row.id}", VolumeJob(row.id))
    return Response(202)


async def unmanage(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.unmanage``: marked in the pool first, then the row goes."""
    row = await ctx.read(lambda tx: volume.find(tx, job.volume_id))
    if row is None or row.status != "unmanaging":
        return
    try:
        if row.host:
            await ctx.call(row.host, "volume.leave", calls.VolumeLeave(volume_id=row.id), CALL_S)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: volume.fail(tx, row.id, "error", "unmanage", reason))
        return
    await ctx.write(lambda tx: volume.forget(tx, row.id))


def let_go_snapshot(tx: Tx, req: Request, row: Any) -> Any:
    if row.status not in ("available", "error", "error_managing"):
        raise invalid_snapshot("Snapshot status must be available or error.")
    snapshot.save(tx, row.id, status="unmanaging")
    job = VolumeJob(row.volume_id, {"snapshot_id": row.id})
    tx.job("volume.unmanage_snapshot", f"volume-{row.volume_id}", job)
    return Response(202)


async def unmanage_snapshot(ctx: AsyncContext, job: VolumeJob) -> None:
    """Job ``volume.unmanage_snapshot``."""
    ident = str(job.extra["snapshot_id"])
    row, taken = await ctx.read(lambda tx: (volume.find(tx, job.volume_id), snapshot.find(tx, ident)))
    if taken is None or taken.status != "unmanaging":
        return
    try:
        if row is not None and row.host:
            wish = calls.SnapshotLeave(volume_id=row.id, snapshot_id=ident)
            await ctx.call(row.host, "volume.leave_snapshot", wish, CALL_S)
    except CallError as problem:
        reason = str(problem)
        await ctx.write(lambda tx: snapshot.tell(tx, taken, "unmanage", reason))
        await ctx.write(lambda tx: snapshot.save(tx, ident, status="error") and None)
        return
    await ctx.write(lambda tx: snapshot.forget(tx, ident))


# --- lists ---------------------------------------------------------------------------------------------


async def _pool(ctx: AsyncContext, req: Request) -> calls.PoolFacts:
    name = req.param("host")
    if not name:
        raise Invalid("Either 'host' or 'cluster' must be specified.")
    where = await ctx.read(lambda tx: _host(tx, name))
    try:
        return msgspec.json.decode(
            await ctx.call(where, "volume.pool", calls.PoolShow(), LIST_S), type=calls.PoolFacts
        )
    except CallError as problem:
        raise Missing(f"The pool of host {name} cannot be read: {problem}") from None


def _paged(req: Request, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    numbers = {name: req.param(name) or "" for name in ("offset", "limit")}
    for name, text in numbers.items():
        if text and not text.isdigit():
            raise Invalid(f"Invalid input for query parameters {name}. Value: {text}.")
    start = int(numbers["offset"] or 0)
    return items[start : start + int(numbers["limit"] or 1000)]


def _entry(
    name: str, size: int | None, known: bool, detailed: bool, source: str | None = None
) -> dict[str, Any]:
    kind, _, ident = name.partition("-")
    entry: dict[str, Any] = {"reference": {"source-name": name}, "size": size, "safe_to_manage": not known}
    if kind == "snapshot":
        entry["source_reference"] = {"source-name": f"volume-{source}"}
    if detailed:
        entry |= {
            "reason_not_safe": "already managed" if known else None,
            "cinder_id": ident if known else None,
            "extra_info": None,
        }
    return entry


async def _listed(ctx: AsyncContext, req: Request, detailed: bool) -> Any:
    pool = await _pool(ctx, req)
    known = await ctx.read(lambda tx: {row.id for row in tx.all(select(volume_table.c.id))})
    found = [_entry(f"volume-{one}", pool.sizes.get(one), one in known, detailed) for one in pool.volumes]
    return {"manageable-volumes": _paged(req, found)}


async def _listed_snapshots(ctx: AsyncContext, req: Request, detailed: bool) -> Any:
    pool = await _pool(ctx, req)
    known = await ctx.read(lambda tx: {row.id for row in tx.all(select(snapshot_table.c.id))})
    found = [
        _entry(f"snapshot-{one}", pool.sizes.get(of), one in known, detailed, of)
        for one, of in pool.snapshot_of.items()
    ]
    return {"manageable-snapshots": _paged(req, found)}


async def index(ctx: AsyncContext, req: Request) -> Any:
    return await _listed(ctx, req, False)


async def detail(ctx: AsyncContext, req: Request) -> Any:
    return await _listed(ctx, req, True)


async def snapshot_index(ctx: AsyncContext, req: Request) -> Any:
    return await _listed_snapshots(ctx, req, False)


async def snapshot_detail(ctx: AsyncContext, req: Request) -> Any:
    return await _listed_snapshots(ctx, req, True)


def routes(settings: Settings) -> list[Both]:
    found = []
    volumes, snapshots = "volume_extension:", "snapshot_extension:"
    for at, since in (("/os-volume-manage", None), ("/manageable_volumes", (3, 8))):
        see = volumes + "list_manageable"
        found += [
            Both("POST", at, take_in, volumes + "volume_manage", status=202, min_version=since),
            Both("GET", at, index, see, min_version=since),
            Both("GET", at + "/detail", detail, see, min_version=since),
        ]
    for at, since in (("/os-snapshot-manage", None), ("/manageable_snapshots", (3, 8))):
        see = snapshots + "list_manageable"
        found += [
            Both("POST", at, take_in_snapshot, snapshots + "snapshot_manage", status=202, min_version=since),
            Both("GET", at, snapshot_index, see, min_version=since),
            Both("GET", at + "/detail", snapshot_detail, see, min_version=since),
        ]
    return [
        *found,
        Both(
            "POST",
            "/volumes/{volume_id}/action",
            on_volume(volumes + "volume_unmanage", let_go),
            AUTHENTICATED,
            action="os-unmanage",
        ),
        Both(
            "POST",
            "/snapshots/{snapshot_id}/action",
            snapshot_api.on_snapshot(snapshots + "snapshot_unmanage", let_go_snapshot),
            AUTHENTICATED,
            action="os-unmanage",
        ),
    ]
