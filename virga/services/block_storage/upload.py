"""A volume as an image: made at once as a queued image, filled by a job with what the host writes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from virga.api.context import AsyncContext, CallError
from virga.api.faults import Fault
from virga.api.request import Request
from virga.contract.calls import VolumeCopyOut
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.log import log_for
from virga.services.block_storage import in_use, schema, volume, volume_type
from virga.services.block_storage.faults import Invalid, invalid_volume
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.schema import Body, obj, truth
from virga.services.block_storage.volume import Volume
from virga.services.block_storage.volume_create import IMAGE_FIELDS
from virga.services.image import image as images
from virga.services.image.content import settle
from virga.services.image.image import Content
from virga.services.image.store import Store

log = log_for(__name__)

UPLOAD_S = 3600.0
FORMATS = ("raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop")
UPLOAD = Body(
    schema.wrapped(
        "os-volume_upload_image",
        obj(
            {
                "image_name": schema.REAL_NAME,
                "force": {
                    "type": ["boolean", "string", "integer", "null"],
                    "enum": [*schema.TRUE, *schema.FALSE, None],
                },
                "disk_format": {"type": ["string", "null"], "enum": [*FORMATS, None]},
                "container_format": {"type": ["string", "null"]},
                "visibility": {
                    "type": ["string", "null"],
                    "enum": ["community", "public", "private", "shared", None],
                },
                "protected": {
                    "type": ["boolean", "string", "null"],
                    "enum": [*schema.TRUE, *schema.FALSE, None],
                },
            },
            ["image_name"],
        ),
        extra=True,
    )
)


def begin(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    asked = UPLOAD.check(req)["os-volume_upload_image"]
    force = asked.get("force") is not None and truth(asked["force"])
    if row.status not in (("available", "in-use") if force else ("available",)):
        raise invalid_volume(
            f"Volume {row.id} status must be available or in-use, but current status is: {row.status}."
            if force
            else f"Volume status must be available to upload to image, but current status is: {row.status}."
        )
    disk_format = asked.get("disk_format") or "raw"
    if disk_format not in ("raw", "qcow2", "vmdk", "vdi", "vhdx"):
        raise Invalid(f"Image format {disk_format} is not supported by the store of images.")
    container = asked.get("container_format") or "bare"
    visibility = (asked.get("visibility") or "private") if req.microversion >= (3, 1) else "shared"
    protected = truth(asked.get("protected") or False) if req.microversion >= (3, 1) else False
    values = {
        "name": asked["image_name"],
        "visibility": visibility,
        "owner": req.caller.project_id,
        "disk_format": disk_format,
        "container_format": container,
        "min_disk": int((row.image_metadata or {}).get("min_disk", 0)),
        "min_ram": int((row.image_metadata or {}).get("min_ram", 0)),
        "protected": protected,
    }
    image = images.create(tx, values, _properties(row))
    row = volume.save(tx, row.id, status="uploading", previous_status=row.status)
    tx.job(
        "volume.upload", f"volume-{row.id}", VolumeJob(row.id, {"image_id": image.id, "format": disk_format})
    )
    return {"os-volume_upload_image": _view(tx, req, row, image, asked["image_name"])}


def _properties(row: Volume) -> dict[str, str]:
    """What the volume's own image had, but for what describes its bytes."""
    skipped = {*IMAGE_FIELDS, "image_id", "image_name", "signature_verified"}
    return {k: str(v) for k, v in (row.image_metadata or {}).items() if k not in skipped}


def _view(tx: Tx, req: Request, row: Volume, image: Any, name: str) -> dict[str, Any]:
    body = {
        "id": row.id,
        "updated_at": iso_micro(row.updated_at, ""),
        "status": row.status,
        "display_description": row.description,
        "size": row.size,
        "volume_type": _type(tx, row),
        "image_id": image.id,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "image_name": name,
    }
    if req.microversion >= (3, 1):
        body |= {"protected": image.protected, "visibility": image.visibility}
    return body


def _type(tx: Tx, row: Volume) -> dict[str, Any] | None:
    kind = volume_type.find(tx, row.volume_type_id)
    if kind is None:
        return None
    return {
        "id": kind.id,
        "name": kind.name,
        "description": kind.description,
        "is_public": kind.is_public,
        "extra_specs": kind.extra_specs,
        "qos_specs_id": kind.qos_specs_id,
        "created_at": iso_micro(kind.created_at, ""),
        "updated_at": iso_micro(kind.updated_at, ""),
        "deleted_at": None,
        "deleted": False,
    }


async def job(ctx: AsyncContext, asked: VolumeJob) -> None:
    """Job ``volume.upload``: from ``uploading`` to what it was; the image active, or gone."""
    image_id = str(asked.extra["image_id"])
    row, image = await ctx.read(lambda tx: (volume.find(tx, asked.volume_id), images.find(tx, image_id)))
    if row is None or row.status != "uploading":
        return
    try:
        if image is not None and image.status != "active":
            await _copy(ctx, row, image, str(asked.extra["format"]))
    except (CallError, Fault, OSError) as problem:
        reason = str(problem) or getattr(problem, "message", "")
        log.warning("upload failed", volume_id=row.id, image_id=image_id, reason=reason)
        await ctx.write(lambda tx: _drop(tx, image_id))

    def done(tx: Tx) -> None:
        found = volume.find(tx, asked.volume_id)
        if found is not None and found.status == "uploading":
            volume.save(tx, asked.volume_id, status=found.previous_status or "available")

    await ctx.write(done)


async def _copy(ctx: AsyncContext, row: Volume, image: Any, disk_format: str) -> None:
    store = Store(ctx.settings)
    path = store.incoming(image.id)
    await ctx.thread(lambda: path.parent.mkdir(parents=True, exist_ok=True))
    if image.status == "queued":
        await ctx.write(lambda tx: images.move(tx, image, "saving"))
    copy = await in_use.copied(ctx, row, image.id)
    wish = VolumeCopyOut(volume_id=row.id, path=str(path), disk_format=disk_format, copy_path=copy)
    await ctx.call(row.host, "volume.copy_out", wish, UPLOAD_S)
    taken = await ctx.thread(lambda: measure(path))
    current = await ctx.read(lambda tx: images.find(tx, image.id))
    if current is None:
        store.discard(image.id)
        return
    await settle(store, ctx, current, taken)


def measure(path: Path) -> Content:
    """Size and hashes of a file."""
    md5, sha512, size = hashlib.md5(usedforsecurity=False), hashlib.sha512(), 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            md5.update(chunk)
            sha512.update(chunk)
            size += len(chunk)
    return Content(size=size, checksum=md5.hexdigest(), os_hash_value=sha512.hexdigest())


def _drop(tx: Tx, image_id: str) -> None:
    image = images.find(tx, image_id)
    if image is not None and image.status != "active":
        images.remove(tx, image, half_made=True)
