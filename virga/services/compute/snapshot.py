"""Images of servers: made at once as a queued image, filled by a job with what the host writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sqlalchemy import select

from virga.api.context import AsyncContext, CallError
from virga.api.faults import Fault
from virga.api.request import Caller, Request, Response
from virga.api.routing import Route
from virga.contract.calls import Snapshot
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.compute import block_device, instance_action, server, states, volumes
from virga.services.compute.action import action_route
from virga.services.compute.action_power import ready
from virga.services.compute.faults import Invalid
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.schema import METADATA, NAME, NON_NEGATIVE, TEXT, always, check_body, obj, wrapped
from virga.services.compute.server import Server, check_lock, check_state, on_server, target_of
from virga.services.image import image as images
from virga.services.image.content import settle
from virga.services.image.image import Content, Image
from virga.services.image.models import image as image_table
from virga.services.image.models import image_property
from virga.services.image.store import Store
from virga.settings import Settings

log = log_for(__name__)

CREATE = always(wrapped("createImage", obj({"name": NAME, "metadata": METADATA}, ["name"])))
BACKUP = always(
    wrapped(
        "createBackup",
        obj(
            {"name": NAME, "backup_type": TEXT, "rotation": NON_NEGATIVE, "metadata": METADATA},
            ["name", "backup_type", "rotation"],
        ),
    )
)
STATES = (states.ACTIVE, states.STOPPED, states.PAUSED, states.SUSPENDED)
NOT_INHERITED = frozenset(
    [
        "bittorrent",
        "cache_in_nova",
        "img_signature",
        "img_signature_certificate_uuid",
        "img_signature_hash_method",
        "img_signature_key_type",
        "stores",
        "os_glance_importing_to_stores",
        "block_device_mapping",
        "bdm_v2",
        "root_device_name",
    ]
)
SNAPSHOT_S = 1800.0


def new_image(
    tx: Tx, row: Server, caller: Caller, name: str, extra: dict[str, str], kind: str = "snapshot"
) -> Image:
    """A queued image of the server: it has what the server's own image had, and says where it comes from."""
    properties = {k: str(v) for k, v in row.image_properties.items() if k not in NOT_INHERITED}
    properties |= {
        "image_type": kind,
        "instance_uuid": row.id,
        "user_id": row.user_id,
        "owner_user_name": caller.user_name,
        "owner_project_name": caller.project_name or "",
        "boot_roles": ",".join(sorted(caller.roles)),
    }
    if row.image_id:
        properties["base_image_ref"] = row.image_id
    base = images.find(tx, row.image_id) if row.image_id else None
    formats = {"disk_format": "qcow2", "container_format": "bare"}
    values = {
        "name": name,
        "visibility": "private",
        "owner": row.project_id,
        "min_ram": base.min_ram if base else 0,
        "min_disk": max(base.min_disk if base else 0, row.flavor["root_gb"]),
        **formats,
    }
    return images.create(tx, values, properties | extra)


def create(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, CREATE)["createImage"]
    volume_backed = block_device.boots_from_volume(tx, row.id)
    allowed = (*STATES, states.SHELVED, states.OFFLOADED) if volume_backed else STATES
    check_state(row, "createImage", allowed)
    name, extra = asked["name"].strip(), asked.get("metadata") or {}
    instance_action.start(tx, row.id, "createImage", req.caller)
    if volume_backed:
        req.enforce("os_compute_api:servers:create_image:allow_volume_backed", target_of(row))
        image = new_image(tx, row, req.caller, name, extra)
        volumes.snapshot_all(tx, req.caller, row, image, name)
    else:
        ready(tx, row)
        image = new_image(tx, row, req.caller, name, extra)
        begin(tx, row, image.id)
    if req.microversion >= (2, 45):
        return Response(202, {"image_id": image.id})
    origin = req.base_url.rsplit("/compute", 1)[0]
    place = {"location": f"{origin}/image/images/{image.id}", "content-type": "text/html; charset=UTF-8"}
    return Response(202, None, place)


def begin(tx: Tx, row: Server, image_id: str, **extra: Any) -> None:
    """Leave the copying to a job."""
    instance_action.event(tx, row.id, "compute_snapshot_instance", row.host)
    server.save(tx, row.id, task_state="image_snapshot_pending")
    tx.job("compute.snapshot", row.id, ServerJob(row.id, {"image_id": image_id, **extra}))


def backup(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, BACKUP)["createBackup"]
    check_lock(row, req.caller)
    check_state(row, "createBackup", STATES)
    if block_device.boots_from_volume(tx, row.id):
        raise Invalid("Backup is not supported for volume-backed instances.", type="InvalidRequest")
    ready(tx, row)
    rotation = int(asked["rotation"])
    extra = {**(asked.get("metadata") or {}), "backup_type": asked["backup_type"]}
    instance_action.start(tx, row.id, "createBackup", req.caller)
    image = new_image(tx, row, req.caller, asked["name"].strip(), extra, "backup")
    server.save(tx, row.id, task_state="image_backup")
    instance_action.event(tx, row.id, "compute_backup_instance", row.host)
    tx.job(
        "compute.snapshot",
        row.id,
        ServerJob(row.id, {"image_id": image.id, "backup_type": asked["backup_type"], "rotation": rotation}),
    )
    if req.microversion >= (2, 45):
        return Response(202, {"image_id": image.id} if rotation else None)
    origin = req.base_url.rsplit("/compute", 1)[0]
    return Response(202, None, {"location": f"{origin}/image/images/{image.id}"} if rotation else {})


# --- the job -------------------------------------------------------------------------------------------


async def job(ctx: AsyncContext, asked: ServerJob) -> None:
    """Job ``compute.snapshot``: the host writes, the image becomes active, the server is free again."""
    image_id = str(asked.extra["image_id"])
    row = await ctx.write(lambda tx: _uploading(tx, asked.server_id, image_id))
    if row is None:
        return
    try:
        await copy(ctx, row, image_id)
    except (CallError, Fault, OSError) as problem:
        reason = str(problem) or getattr(problem, "message", "")
        log.warning("snapshot failed", server_id=row.id, image_id=image_id, reason=reason)
        await ctx.write(lambda tx: _failed(tx, asked.server_id, image_id, reason))
        return
    await ctx.write(lambda tx: _done(tx, asked, image_id))


def _uploading(tx: Tx, server_id: str, image_id: str) -> Server | None:
    row = server.find(tx, server_id)
    image = images.find(tx, image_id)
    if row is None or row.task_state == "deleting" or image is None:
        if row is not None and (row.task_state or "").startswith("image_"):
            server.save(tx, server_id, task_state=None)
        return None
    if image.status == "queued":
        images.move(tx, image, "saving")
    task = row.task_state
    if task == "image_snapshot_pending":
        task = "image_uploading"
    elif task == "shelving":
        task = "shelving_image_uploading"
    return server.save(tx, server_id, task_state=task)


async def copy(ctx: AsyncContext, row: Server, image_id: str) -> None:
    """The root disk into the image's file, and the image active."""
    store = Store(ctx.settings)
    path = store.incoming(image_id)
    await ctx.thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    await ctx.call(row.host, "instance.snapshot", Snapshot(instance_id=row.id, path=str(path)), SNAPSHOT_S)
    taken = await ctx.thread(lambda: measure(path))
    image = await ctx.read(lambda tx: images.find(tx, image_id))
    if image is None:
        store.discard(image_id)
        return
    await settle(store, ctx, image, taken)


def measure(path: Path) -> Content:
    """Size and hashes of a file."""
    md5, sha512, size = hashlib.md5(usedforsecurity=False), hashlib.sha512(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            md5.update(chunk)
            sha512.update(chunk)
            size += len(chunk)
    return Content(size=size, checksum=md5.hexdigest(), os_hash_value=sha512.hexdigest())


def _failed(tx: Tx, server_id: str, image_id: str, reason: str) -> None:
    image = images.find(tx, image_id)
    if image is not None and image.status != "active":
        images.remove(tx, image, half_made=True)
    row = server.find(tx, server_id)
    if row is None or row.task_state == "deleting":
        return
    instance_action.finish_all(tx, server_id, reason)
    server.save(tx, server_id, task_state=None, fault=server.fault(tx, reason, details=reason))


def _done(tx: Tx, asked: ServerJob, image_id: str) -> None:
    row = server.find(tx, asked.server_id)
    if row is None or row.task_state == "deleting":
        return
    if "backup_type" in asked.extra:
        instance_action.finish(tx, row.id, "compute_backup_instance")
        _rotate(tx, row, str(asked.extra["backup_type"]), int(asked.extra["rotation"]))
    if asked.extra.get("then") == "offload":
        server.save(
            tx,
            row.id,
            touch=True,
            task_state="shelving_offloading",
            vm_state=states.SHELVED,
            shelved_image_id=image_id,
            on_host=False,
        )
        return
    instance_action.finish(tx, row.id, "compute_snapshot_instance")
    server.save(tx, row.id, task_state=None)


def _rotate(tx: Tx, row: Server, backup_type: str, rotation: int) -> None:
    """Only the newest backups of a kind stay."""
    mine = select(image_property.c.image_id).where(
        image_property.c.name == "instance_uuid", image_property.c.value == row.id
    )
    typed = select(image_property.c.image_id).where(
        image_property.c.name == "backup_type", image_property.c.value == backup_type
    )
    rows = tx.all(
        select(image_table.c.id)
        .where(image_table.c.id.in_(mine), image_table.c.id.in_(typed))
        .order_by(image_table.c.created_at.desc(), image_table.c.id.desc())
    )
    for old in rows[rotation:]:
        image = images.find(tx, old.id)
        if image is not None and not image.protected:
            images.remove(tx, image)


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("createImage", on_server("servers:create_image", create)),
        action_route("createBackup", on_server("os-create-backup", backup)),
    ]
