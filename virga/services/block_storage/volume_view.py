"""A volume as each microversion shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.block_storage import host, volume, volume_type


def links(req: Request, collection: str, ident: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": req.url(f"/v3/{collection}/{ident}")},
        {"rel": "bookmark", "href": req.url(f"/{collection}/{ident}")},
    ]


def brief(req: Request, row: Any) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(req, "volumes", row.id)}


def full(tx: Tx, req: Request, rows: Sequence[Any], *, shown: bool = True) -> list[dict[str, Any]]:
    """Whole volumes; ``shown`` adds what only GET answers have."""
    names = volume_type.names(tx)
    attached = volume.attachments(tx, [row.id for row in rows])
    services = {row.host: row.id for row in host.services(tx, "cinder-volume")}
    return [_one(req, row, names, attached[row.id], services, shown) for row in rows]


def _one(
    req: Request,
    row: Any,
    names: dict[str, str],
    attachments: list[Any],
    services: dict[str, str],
    shown: bool,
) -> dict[str, Any]:
    admin, version = req.caller.is_admin, req.microversion
    connected = [one for one in attachments if one.status == "attached"]
    body: dict[str, Any] = {
        "id": row.id,
        "status": row.status,
        "size": row.size,
        "availability_zone": row.availability_zone,
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
        "name": row.name,
        "description": row.description,
        "volume_type": names.get(row.volume_type_id),
        "snapshot_id": row.snapshot_id,
        "source_volid": row.source_volid,
        "metadata": metadata(row, connected),
        "links": links(req, "volumes", row.id),
        "user_id": row.user_id,
        "bootable": "true" if row.bootable else "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": row.multiattach,
        "attachments": [_attachment(one, admin) for one in connected],
    }
    if admin:
        body["migration_status"] = None
    if version >= (3, 13):
        body["group_id"] = row.group_id
    if version >= (3, 21) and admin:
        body["provider_id"] = None
    if version >= (3, 48):
        body["shared_targets"] = False
        body["service_uuid"] = services.get(row.host)
    if version >= (3, 61) and admin:
        body["cluster_name"] = None
    if version >= (3, 63):
        body["volume_type_id"] = row.volume_type_id
    if version >= (3, 65):
        body["consumes_quota"] = True
    if shown:
        body |= _extensions(req, row)
    return body


def metadata(row: Any, connected: Sequence[Any] = ()) -> dict[str, str]:
    """The user's own, with what Cinder lets shine through of its own."""
    found = dict(row.metadata)
    if row.read_only is not None:
        found["readonly"] = str(row.read_only)
    elif connected:
        found["readonly"] = "False"
    if connected:
        found["attached_mode"] = connected[-1].mode
    return found


def _attachment(one: Any, admin: bool) -> dict[str, Any]:
    return {
        "id": one.volume_id,
        "attachment_id": one.id,
        "volume_id": one.volume_id,
        "server_id": one.server_id,
        "host_name": one.host if admin else None,
        "device": one.device,
        "attached_at": iso_micro(one.attached_at, ""),
    }


def _extensions(req: Request, row: Any) -> dict[str, Any]:
    target = volume.target(row)
    found: dict[str, Any] = {}
    if req.allows("volume_extension:volume_tenant_attribute", target):
        found["os-vol-tenant-attr:tenant_id"] = row.project_id
    if req.allows("volume_extension:volume_host_attribute", target):
        found["os-vol-host-attr:host"] = host.pool(row.host) if row.host else None
    if req.allows("volume_extension:volume_mig_status_attribute", target):
        found |= {"os-vol-mig-status-attr:migstat": None, "os-vol-mig-status-attr:name_id": None}
    if row.image_metadata:
        found["volume_image_metadata"] = row.image_metadata
    return found
