"""POST /volumes: the references are resolved, the sizes compared, then a row and a job."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.services.block_storage import backup_row, host, schema, snapshot, volume, volume_type, volume_view
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import (
    Invalid,
    Missing,
    invalid_backup,
    invalid_input,
    invalid_snapshot,
    invalid_volume,
)
from virga.services.block_storage.models import volume_group
from virga.services.block_storage.schema import Body, obj, truth
from virga.services.block_storage.volume import Wish
from virga.services.image import image as images
from virga.services.image.faults import ImageNotFound
from virga.settings import Settings

GIB = 1 << 30
CREATE = Body(
    obj(
        {
            "volume": obj(
                {
                    "name": schema.NAME,
                    "description": schema.DESCRIPTION,
                    "display_name": schema.NAME,
                    "display_description": schema.DESCRIPTION,
                    "volume_type": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
                    "metadata": schema.METADATA_OR_NULL,
                    "snapshot_id": {"type": ["string", "null"]},
                    "source_volid": {"type": ["string", "null"]},
                    "size": schema.SIZE_OR_NULL,
                    "availability_zone": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
                    "multiattach": {
                        "type": ["boolean", "string", "null"],
                        "enum": [*schema.TRUE, *schema.FALSE, None],
                    },
                    "image_id": {"type": ["string", "null"], "minLength": 0},
                    "imageRef": {"type": ["string", "null"], "minLength": 0},
                    "backup_id": {"type": ["string", "null"]},
                    "consistencygroup_id": {"type": ["string", "null"]},
                    "group_id": {"type": ["string", "null"]},
                },
                extra=True,
            )
        },
        ["volume"],
        extra=True,
    )
)
# What an image gives to its volume, beside its properties.
IMAGE_FIELDS = ("checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")


def create(tx: Tx, req: Request) -> Any:
    asked = CREATE.check(req)["volume"]
    req.enforce("volume:create", {"project_id": req.caller.project_id, "user_id": req.caller.user_id})
    wish = understand(tx, req.caller, asked, req.microversion)
    if wish.image_id:
        req.enforce("volume:create_from_image", {"project_id": req.caller.project_id})
    row = volume.need(tx, volume.create(tx, req.caller, wish))
    return {"volume": volume_view.full(tx, req, [row], shown=False)[0]}


def understand(tx: Tx, caller: Any, asked: dict[str, Any], version: tuple[int, int] = (3, 71)) -> Wish:
    """A request's words as a wish; raises what Cinder says of references, sizes and states."""
    if asked.get("consistencygroup_id"):
        raise Invalid(f"ConsistencyGroup {asked['consistencygroup_id']} could not be found.", status=404)
    taken = snapshot.get(tx, caller, asked["snapshot_id"]) if asked.get("snapshot_id") else None
    source = volume.get(tx, caller, asked["source_volid"]) if asked.get("source_volid") else None
    kept = (
        backup_row.get(tx, caller, asked["backup_id"])
        if asked.get("backup_id") and version >= (3, 47)
        else None
    )
    image = _image(tx, caller, asked)
    if image is not None and taken is None and version >= (3, 46):
        taken = _snapshot_behind(tx, caller, image)
        image = None if taken is not None else image
    kind = _type(tx, caller, asked.get("volume_type"), taken, source, image)
    if kind is not None and kind.encryption:
        raise Invalid(f"Volume type {kind.name} is encrypted, and this cloud has no key manager.")
    group_id = _group(tx, caller, asked.get("group_id"), kind) if version >= (3, 13) else None
    size = _size(asked.get("size"), taken, source, kept)
    _check_states(taken, source, kept, size)
    if image is not None:
        _check_image(image, size)
    zone = _zone(asked.get("availability_zone"), source)
    if asked.get("multiattach") is not None and truth(asked["multiattach"]):
        raise Invalid(
            "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. "
            "Contact your administrator to create a multiattach enabled volume type and use it to create multiattach "
            "volumes."
        )
    multi = volume_type.is_multiattach(kind)
    origin = source if source is not None else volume.find(tx, taken.volume_id) if taken is not None else None
    return Wish(
        size=size,
        name=_text(asked, "name"),
        description=_text(asked, "description"),
        volume_type_id=kind.id if kind else None,
        availability_zone=zone,
        metadata=asked.get("metadata") or {},
        snapshot_id=taken.id if taken is not None else None,
        source_volid=source.id if source is not None else None,
        image_id=image.id if image else None,
        backup_id=kept.id if kept is not None else None,
        image_metadata=image_metadata(image)
        if image
        else origin.image_metadata
        if origin is not None
        else None,
        bootable=bool(image) or bool(origin is not None and origin.bootable),
        multiattach=multi,
        group_id=group_id,
    )


def _group(tx: Tx, caller: Any, group_id: str | None, kind: Any) -> str | None:
    if not group_id:
        return None
    row = tx.first(select(volume_group).where(volume_group.c.id == group_id))
    if row is None or not (caller.is_admin or row.project_id == caller.project_id):
        raise Missing(f"Group {group_id} could not be found.", type="GroupNotFound")
    if kind is None or kind.id not in row.volume_types:
        raise invalid_input(
            f"Volume type {kind.name if kind else None} is not one that group {group_id} holds."
        )
    return str(row.id)


def _text(asked: dict[str, Any], name: str) -> str | None:
    value = asked.get(name) if asked.get(name) is not None else asked.get(f"display_{name}")
    return value.strip() if isinstance(value, str) else None


def _image(tx: Tx, caller: Any, asked: dict[str, Any]) -> Any:
    image_id = asked.get("imageRef") or asked.get("image_id")
    if not image_id:
        return None
    image_id = str(image_id).rstrip("/").rpartition("/")[2]
    try:
        found = images.get(tx, caller, image_id)
    except ImageNotFound:
        raise Invalid("Invalid image identifier or unable to access requested image.") from None
    if found.status != "active":
        raise invalid_input(f"Image {image_id} is not active.")
    return found


def _snapshot_behind(tx: Tx, caller: Any, image: Any) -> Any:
    """The snapshot that the image of a volume-backed server stands for; its own bytes are none."""
    try:
        found = json.loads(image.properties.get("block_device_mapping") or "[]")
    except ValueError:
        return None
    devices = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    boots = [d for d in devices if d.get("source_type") == "snapshot" and d.get("boot_index") == 0]
    if not boots:
        return None
    ident = boots[0].get("snapshot_id")
    try:
        return snapshot.get(tx, caller, ident)
    except Missing:
        raise Missing(
            f"Nova specific image is found, but boot volume snapshot {ident} could not be found."
        ) from None


def image_metadata(image: Any) -> dict[str, Any]:
    """What a volume remembers of its image."""
    found = {name: getattr(image, name) for name in IMAGE_FIELDS}
    return {
        "image_id": image.id,
        "image_name": image.name or "",
        **{name: str(value) for name, value in found.items() if value is not None},
        **{name: str(value) for name, value in image.properties.items()},
    }


def _type(tx: Tx, caller: Any, asked: str | None, taken: Any, source: Any, image: Any) -> Any:
    if asked:
        return volume_type.by_name_or_id(tx, caller, asked)
    origin = taken if taken is not None else source
    if origin is not None and origin.volume_type_id:
        return volume_type.find(tx, origin.volume_type_id)
    if image is not None and (named := image.properties.get("cinder_img_volume_type")):
        return volume_type.by_name_or_id(tx, caller, named)
    return volume_type.default(tx, caller.project_id)


def _size(asked: Any, taken: Any, source: Any, kept: Any) -> int:
    if asked is None:
        for origin in (taken, source, kept):
            if origin is not None:
                return int(origin.size)
        raise invalid_input(
            "Invalid volume size provided for create request: None (size argument must be an integer (or string "
            "representation of an integer) and greater than zero)."
        )
    return int(asked)


def _check_states(taken: Any, source: Any, kept: Any, size: int) -> None:
    if taken is not None:
        if taken.status != "available":
            raise invalid_snapshot(
                f"Originating snapshot status must be one of 'available' values, but it is {taken.status}."
            )
        if size < taken.size:
            raise invalid_input(
                f"Volume size '{size}'GB cannot be smaller than the snapshot size {taken.size}GB. They must be >= "
                "original snapshot size."
            )
    if source is not None:
        if source.status not in ("available", "in-use"):
            raise invalid_volume(
                "Unable to create a volume from an errored source volume."
                if source.status == "error"
                else f"Originating volume status must be one of 'available, in-use' values, but it is {source.status}."
            )
        if size < source.size:
            raise invalid_input(
                f"Volume size '{size}'GB cannot be smaller than original volume size {source.size}GB. They must be >= "
                "original volume size."
            )
    if kept is not None:
        if kept.status not in ("available", "restoring"):
            raise invalid_backup("Backup status must be available or restoring to create a volume.")
        if size < kept.size:
            raise invalid_input(
                f"Volume size {size}GB cannot be smaller than the backup size {kept.size}GB. It must be >= backup size."
            )


def _check_image(image: Any, size: int) -> None:
    least = -(-max(image.size or 0, image.virtual_size or 0) // GIB)
    if least > size:
        raise invalid_input(f"Size of specified image {least}GB is larger than volume size {size}GB.")
    if image.min_disk > size:
        raise invalid_input(
            f"Volume size {size}GB cannot be smaller than the image minDisk size {image.min_disk}GB."
        )


def _zone(asked: str | None, source: Any) -> str:
    if asked is not None and asked != host.ZONE:
        raise invalid_input(f"Availability zone '{asked}' is invalid.")
    return asked or (str(source.availability_zone) if source is not None else host.ZONE)


def routes(settings: Settings) -> list[Both]:
    return [Both("POST", "/volumes", create, AUTHENTICATED, status=202)]
