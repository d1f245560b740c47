"""Images, members and tasks as clients see them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from virga.lib.clock import iso_seconds
from virga.services.image.image import Image

STORE = "file"
"""Name of the one store there is."""
HIDDEN_PROPERTIES = ("os_glance_stage_host", "os_glance_hash_op_host")
WITH_BYTES = ("active", "deactivated")


def image_view(image: Image) -> dict[str, Any]:
    """The JSON of one image: custom properties first, as OpenStack orders them."""
    path = f"/v2/images/{image.id}"
    view: dict[str, Any] = {k: v for k, v in image.properties.items() if k not in HIDDEN_PROPERTIES}
    view |= {
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility,
        "size": image.size,
        "virtual_size": image.virtual_size,
        "status": image.status,
        "checksum": image.checksum,
        "protected": image.protected,
        "min_ram": image.min_ram,
        "min_disk": image.min_disk,
        "owner": image.owner,
        "os_hidden": image.os_hidden,
        "os_hash_algo": image.os_hash_algo,
        "os_hash_value": image.os_hash_value,
        "id": image.id,
        "created_at": iso_seconds(image.created_at),
        "updated_at": iso_seconds(image.updated_at),
        "tags": list(image.tags),
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }
    if image.status in WITH_BYTES:
        view["stores"] = STORE
    return view


def member_view(row: Row[Any]) -> dict[str, Any]:
    """The JSON of one member."""
    return {
        "member_id": row.member_id,
        "image_id": row.image_id,
        "status": row.status,
        "created_at": iso_seconds(row.created_at),
        "updated_at": iso_seconds(row.updated_at),
        "schema": "/v2/schemas/member",
    }


def task_view(row: Row[Any], with_details: bool = True) -> dict[str, Any]:
    """The JSON of one task."""
    view: dict[str, Any] = {
        "id": row.id,
        "type": row.type,
        "status": row.status,
        "owner": row.owner,
        "created_at": iso_seconds(row.created_at),
        "updated_at": iso_seconds(row.updated_at),
        "self": f"/v2/tasks/{row.id}",
        "schema": "/v2/schemas/task",
    }
    if row.expires_at is not None:
        view["expires_at"] = iso_seconds(row.expires_at)
    if with_details:
        view |= {
            "input": row.input,
            "result": row.result,
            "message": row.message,
            "user_id": row.user_id,
            "image_id": row.image_id,
            "request_id": row.request_id,
        }
    return view
