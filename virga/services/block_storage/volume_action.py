"""Actions on volumes: they share one URL; the key of the body says which it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.services.block_storage import (
    attachment,
    qos_limits,
    quota,
    schema,
    snapshot,
    upload,
    volume,
    volume_api,
    volume_type,
)
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import (
    Invalid,
    invalid_input,
    invalid_snapshot,
    invalid_volume,
    snapshot_not_found,
)
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.schema import Body, obj, truth, wrapped
from virga.services.block_storage.volume import Volume
from virga.settings import Settings

AT = "/volumes/{volume_id}/action"
Verb = Callable[[Tx, Request, Volume, Any], Any]

STATUSES = [
    "creating",
    "available",
    "deleting",
    "error",
    "error_deleting",
    "error_managing",
    "managing",
    "attaching",
    "in-use",
    "detaching",
    "maintenance",
    "restoring-backup",
    "error_restoring",
    "reserved",
    "awaiting-transfer",
    "backing-up",
    "error_backing-up",
    "error_extending",
    "downloading",
    "uploading",
    "retyping",
    "extending",
]
EXTEND = Body(wrapped("os-extend", obj({"new_size": schema.SIZE}, ["new_size"]), extra=True))
BOOTABLE = Body(wrapped("os-set_bootable", obj({"bootable": schema.BOOLEAN}, ["bootable"]), extra=True))
READONLY = Body(
    wrapped("os-update_readonly_flag", obj({"readonly": schema.BOOLEAN}, ["readonly"]), extra=True)
)
RESET = Body(
    wrapped(
        "os-reset_status",
        obj(
            {
                "status": {"type": ["string", "null"]},
                "attach_status": {"type": ["string", "null"]},
                "migration_status": {"type": ["string", "null"]},
            }
        ),
        extra=True,
    )
)
ATTACH = Body(
    wrapped(
        "os-attach",
        obj(
            {
                "instance_uuid": schema.UUID,
                "mountpoint": {"type": "string", "minLength": 1, "maxLength": 255},
                "host_name": {"type": "string", "maxLength": 255},
                "mode": {"type": "string", "enum": ["rw", "ro"]},
            },
            ["mountpoint"],
        ),
        extra=True,
    )
)
CONNECT = Body(
    wrapped(
        "os-initialize_connection",
        obj({"connector": {"type": ["object", "string"]}}, ["connector"]),
        extra=True,
    )
)
RETYPE = Body(
    wrapped(
        "os-retype",
        obj(
            {
                "new_type": schema.REAL_NAME,
                "migration_policy": {"type": ["string", "null"], "enum": ["on-demand", "never", None]},
            },
            ["new_type"],
        ),
        extra=True,
    )
)
REVERT = Body(
    wrapped("revert", obj({"snapshot_id": {"type": "string", "format": "uuid"}}, ["snapshot_id"]), extra=True)
)


def _extend(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    size = int(EXTEND.check(req)["os-extend"]["new_size"])
    if size <= row.size:
        raise invalid_input(
            f"New size for extend must be greater than current size. (current: {row.size}, extended: {size})."
        )
    live = req.microversion >= (3, 42) and row.status == "in-use"
    if row.status != "available" and not live:
        raise invalid_volume(
            f"Volume {row.id} status must be 'available' to extend, currently {row.status}."
            if not req.microversion >= (3, 42)
            else f"Volume {row.id} status must be 'available' or 'in-use' to extend, currently {row.status}."
        )
    if live:
        req.enforce("volume:extend_attached_volume", volume.target(row))
        if row.export:
            raise invalid_volume(
                f"Volume {row.id} is attached by iSCSI and cannot be extended while it is in use. Detach it first."
            )
    quota.check_single(tx, row.project_id, size)
    quota.check(tx, row.project_id, {"gigabytes": size - row.size}, row.volume_type_id)
    volume.save(tx, row.id, status="extending", previous_status=row.status)
    tx.job("volume.extend", f"volume-{row.id}", VolumeJob(row.id, {"size": size}))
    return Response(202)


def _bootable(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    volume.save(tx, row.id, bootable=truth(BOOTABLE.check(req)["os-set_bootable"]["bootable"]))
    return Response(200)


def _readonly(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    wanted = truth(READONLY.check(req)["os-update_readonly_flag"]["readonly"])
    if row.status != "available":
        raise invalid_volume(
            f"Volume {row.id} status must be available to update readonly flag, but current status is: {row.status}."
        )
    volume.save(tx, row.id, read_only=wanted)
    return Response(202)


def _reset(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    wanted = {k: v.lower() for k, v in RESET.check(req)["os-reset_status"].items() if v}
    if not wanted:
        raise Invalid("Must specify 'status', 'attach_status' or 'migration_status' for update.")
    if "status" in wanted and wanted["status"] not in STATUSES:
        raise Invalid(
            f"Invalid input for field/attribute status. Value: {wanted['status']}. '{wanted['status']}' is not one of "
            f"{STATUSES}"
        )
    if wanted.get("attach_status") not in (
        None,
        "attached",
        "detached",
        "attaching",
        "detaching",
        "error_attaching",
        "error_detaching",
        "reserved",
        "deleted",
    ):
        raise Invalid(f"Invalid attach status: {wanted['attach_status']}")
    if wanted.get("attach_status") == "detached":
        for one in attachment.of_volume(tx, row.id):
            attachment.remove(tx, one.id)
    if "status" in wanted:
        volume.save(tx, row.id, status=wanted["status"])
    return Response(202)


def _force_delete(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    volume.delete(tx, row, force=True)
    return Response(202)


# --- the old way of attaching --------------------------------------------------------------------------


def _reserve(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    if row.status != "available":
        raise invalid_volume(
            f"Volume {row.id} status must be available to reserve, but current status is: {row.status}."
        )
    volume.save(tx, row.id, status="attaching", previous_status=row.status)
    return Response(202)


def _unreserve(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    if row.status == "attaching":
        attachment.settle(tx, row.id)
    return Response(202)


def _attach(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    asked = ATTACH.check(req)["os-attach"]
    if (asked.get("instance_uuid") is None) == (asked.get("host_name") is None):
        raise Invalid(
            "Invalid request to attach volume to an instance and/or to a host: one of them must be named."
        )
    if row.status not in ("available", "attaching", "reserved"):
        raise invalid_volume(
            f"Volume {row.id} status must be available or attaching to attach, but is {row.status}."
        )
    mode = asked.get("mode", "rw")
    if row.read_only and mode == "rw":
        raise invalid_volume(f"The volume {row.id} is readonly and cannot be attached as rw.")
    volume.save(tx, row.id, status="available")
    made = attachment.reserve(tx, volume.need(tx, row.id), asked.get("instance_uuid"))
    attachment.save(tx, made, host=asked.get("host_name"), device=asked["mountpoint"], mode=mode)
    attachment.complete(tx, made)
    return Response(202)


def _detach(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    wanted = (asked or {}).get("attachment_id") if isinstance(asked, dict) else None
    found = attachment.of_volume(tx, row.id)
    if wanted:
        found = [one for one in found if one.id == wanted]
    elif len(found) > 1:
        raise invalid_volume("Detach volume failed: More than one attachment, but no attachment_id provided.")
    for one in found:
        attachment.remove(tx, one.id)
    if not found:
        attachment.settle(tx, row.id)
    return Response(202)


def _begin_detaching(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    attachment.begin_detaching(tx, row)
    return Response(202)


def _roll_detaching(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    attachment.roll_detaching(tx, row)
    return Response(202)


def connection(tx: Tx, row: Volume) -> dict[str, Any]:
    """What an initiator has to know, in the form of os-brick."""
    return {
        "driver_volume_type": "iscsi",
        "data": {
            "target_discovered": False,
            "target_portal": row.portal or "",
            "target_iqn": volume.iqn(row.id),
            "target_lun": 1,
            "volume_id": row.id,
            "auth_method": "CHAP",
            "auth_username": row.auth_user,
            "auth_password": row.auth_password,
            "encrypted": False,
            "qos_specs": qos_limits.of_volume(tx, row),
            "access_mode": "ro" if row.read_only else "rw",
            "cacheable": False,
            "discard": False,
        },
    }


def _initialize(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    CONNECT.check(req)
    if not row.export:
        row = volume.save(tx, row.id, touch=True, export=True, exported=False)
    return {"connection_info": connection(tx, row)}


def _terminate(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    if row.export and not attachment.of_volume(tx, row.id):
        volume.save(tx, row.id, touch=True, export=False, exported=False)
    return Response(202)


# --- types and snapshots -------------------------------------------------------------------------------


def _retype(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    asked = RETYPE.check(req)["os-retype"]
    kind = volume_type.by_name_or_id(tx, req.caller, asked["new_type"])
    if row.status not in ("available", "in-use"):
        raise invalid_volume(
            f"Volume {row.id} status must be available or in-use to retype, but current status is: {row.status}."
        )
    if kind.id == row.volume_type_id:
        raise invalid_input(f"New volume_type same as original: {kind.id}.")
    if row.volume_type_id:
        quota.check(tx, row.project_id, {"volumes": 0, "gigabytes": 0}, kind.id)
    backend = kind.extra_specs.get("volume_backend_name")
    if backend not in (None, "file"):
        volume.fail(tx, row.id, row.status, "schedule", "")
        return Response(202)
    shared = volume_type.is_multiattach(kind)
    if shared != row.multiattach and row.status == "in-use":
        raise invalid_input(
            f"Retyping volume {row.id} between multiattach and non-multiattach types is only allowed while it "
            "is available."
        )
    volume.save(tx, row.id, volume_type_id=kind.id, multiattach=shared)
    return Response(202)


def _revert(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    snapshot_id = REVERT.check(req)["revert"]["snapshot_id"]
    taken = snapshot.get(tx, req.caller, snapshot_id)
    if taken.volume_id != row.id:
        raise snapshot_not_found(snapshot_id)
    if snapshot.ids_of(tx, row.id)[-1] != snapshot_id:
        raise invalid_input(
            f"Specified snapshot id {snapshot_id} is None or not the latest one of volume {row.id}."
        )
    if row.size != taken.size:
        raise invalid_volume(
            f"Can't revert volume {row.id} to its latest snapshot {snapshot_id}. The volume size must "
            "be equal to the snapshot size."
        )
    if row.status != "available":
        raise invalid_volume(
            f"Volume {row.id} status must be available to revert to snapshot, but current status is: {row.status}."
        )
    if taken.status != "available":
        raise invalid_snapshot(f"Snapshot {snapshot_id} status must be available.")
    volume.save(tx, row.id, status="reverting")
    snapshot.save(tx, snapshot_id, status="restoring")
    tx.job("volume.revert", f"volume-{row.id}", VolumeJob(row.id, {"snapshot_id": snapshot_id}))
    return Response(202)


def _unknown(tx: Tx, req: Request) -> Any:
    name = next(iter(req.body)) if isinstance(req.body, dict) and req.body else None
    raise Invalid(f"There is no such action: {name}" if name else "Malformed request body")


def _on(rule: str, verb: Verb, name: str) -> Callable[[Tx, Request], Any]:
    def handler(tx: Tx, req: Request) -> Any:
        row = volume.get(tx, req.caller, req["volume_id"])
        req.enforce(rule, volume.target(row))
        return verb(tx, req, row, req.body.get(name))

    return handler


def routes(settings: Settings) -> list[Both]:
    actions, admin = "volume_extension:volume_actions:", "volume_extension:volume_admin_actions:"
    image = "volume_extension:volume_image_metadata:"
    table: list[tuple[str, str, Verb, tuple[int, int] | None]] = [
        ("os-extend", "volume:extend", _extend, None),
        ("os-set_bootable", actions + "set_bootable", _bootable, None),
        ("os-update_readonly_flag", "volume:update_readonly_flag", _readonly, None),
        ("os-volume_upload_image", actions + "upload_image", upload.begin, None),
        ("os-reset_status", admin + "reset_status", _reset, None),
        ("os-force_delete", admin + "force_delete", _force_delete, None),
        ("os-force_detach", admin + "force_detach", _detach, None),
        ("os-reserve", actions + "reserve", _reserve, None),
        ("os-unreserve", actions + "unreserve", _unreserve, None),
        ("os-attach", actions + "attach", _attach, None),
        ("os-detach", actions + "detach", _detach, None),
        ("os-begin_detaching", actions + "begin_detaching", _begin_detaching, None),
        ("os-roll_detaching", actions + "roll_detaching", _roll_detaching, None),
        ("os-initialize_connection", actions + "initialize_connection", _initialize, None),
        ("os-terminate_connection", actions + "terminate_connection", _terminate, None),
        ("os-retype", "volume:retype", _retype, None),
        ("revert", "volume:revert_to_snapshot", _revert, (3, 40)),
        ("os-set_image_metadata", image + "set", volume_api.change_image_metadata, None),
        ("os-show_image_metadata", image + "show", volume_api.show_image_metadata, None),
        ("os-unset_image_metadata", image + "remove", volume_api.remove_image_metadata, None),
    ]
    found = [
        Both(
            "POST",
            AT,
            _on(rule, verb, name),
            AUTHENTICATED,
            status=_status(name),
            action=name,
            min_version=least,
        )
        for name, rule, verb, least in table
    ]
    return [*found, Both("POST", AT, _unknown, AUTHENTICATED)]


def _status(name: str) -> int:
    """Status of an action that answers with a body."""
    return 202 if name == "os-volume_upload_image" else 200
