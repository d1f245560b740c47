"""Volumes of a server over HTTP: listed, attached, detached (os-volume_attachments)."""

from __future__ import annotations

from typing import Any

from virga.api.context import AsyncContext, CallError
from virga.api.faults import Fault
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.contract.calls import DetachDisk
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.block_storage import attachment, volume
from virga.services.compute import block_device, instance_action, server, states, volumes
from virga.services.compute.block_device import Device
from virga.services.compute.faults import Busy, Invalid, NotFoundHere
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.page import limit_of
from virga.services.compute.schema import (
    BOOLEAN,
    TAG,
    UUID,
    V21,
    Versioned,
    changed,
    check_body,
    obj,
    truth,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.settings import Settings

log = log_for(__name__)

_DEVICE = {
    "type": ["string", "null"],
    "pattern": r"(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$",
}
_CREATE = wrapped("volumeAttachment", obj({"volumeId": UUID, "device": _DEVICE}, ["volumeId"]))
_CREATE_249 = changed(_CREATE, "volumeAttachment", tag=TAG)
CREATE = Versioned(
    (V21, _CREATE),
    ((2, 49), _CREATE_249),
    ((2, 79), changed(_CREATE_249, "volumeAttachment", delete_on_termination=BOOLEAN)),
)
UPDATE = Versioned(
    (
        V21,
        wrapped(
            "volumeAttachment",
            obj(
                {
                    "volumeId": UUID,
                    "delete_on_termination": BOOLEAN,
                    "device": _DEVICE,
                    "serverId": UUID,
                    "tag": TAG,
                    "id": UUID,
                },
                ["volumeId"],
            ),
        ),
    )
)
STATES = (
    states.ACTIVE,
    states.PAUSED,
    states.STOPPED,
    states.RESIZED,
    states.SUSPENDED,
    states.SHELVED,
    states.OFFLOADED,
)
DETACH_S = 120.0


def _view(req: Request, row: Any) -> dict[str, Any]:
    version = req.microversion
    body: dict[str, Any] = {"serverId": row.server_id, "volumeId": row.volume_id, "device": row.device_name}
    if version < (2, 89):
        body["id"] = row.volume_id
    else:
        body |= {"attachment_id": row.attachment_id, "bdm_uuid": row.id}
    if version >= (2, 70):
        body["tag"] = row.tag
    if version >= (2, 79):
        body["delete_on_termination"] = row.delete_on_termination
    return body


def index(tx: Tx, req: Request, row: Server) -> Any:
    found = block_device.volumes_of(tx, row.id)
    offset = req.param("offset") or "0"
    if not offset.isdecimal():
        raise Invalid(
            "offset param must be an integer"
            if not offset.startswith("-")
            else "offset param must be positive"
        )
    found = found[int(offset) :][: limit_of(req, 1000)]
    return {"volumeAttachments": [_view(req, one) for one in found]}


def _find(tx: Tx, req: Request, row: Server) -> Any:
    found = block_device.find_volume(tx, row.id, req["volume_id"])
    if found is None:
        raise NotFoundHere(f"Instance {row.id} is not attached to volume {req['volume_id']}")
    return found


def show(tx: Tx, req: Request, row: Server) -> Any:
    return {"volumeAttachment": _view(req, _find(tx, req, row))}


def _volume(tx: Tx, req: Request, volume_id: str) -> Any:
    try:
        return volume.get(tx, req.caller, volume_id)
    except Fault:
        raise NotFoundHere(f"Volume {volume_id} could not be found.", type="VolumeNotFound") from None


def _create(tx: Tx, req: Request, row: Server, default_kind: str) -> Any:
    asked = check_body(req, CREATE)["volumeAttachment"]
    check_lock(row, req.caller)
    check_state(row, "attach_volume", STATES)
    volumes.check_kind(row.flavor["extra_specs"].get("virga:kind", default_kind))
    found = _volume(tx, req, asked["volumeId"])
    if block_device.find_volume(tx, row.id, found.id) is not None:
        raise Invalid(f"Invalid volume: volume {found.id} already attached", type="InvalidVolume")
    if found.status != "available" and not (found.multiattach and req.microversion >= (2, 60)):
        raise Invalid(
            f"Invalid volume: volume '{found.id}' status must be 'available'. Currently in '{found.status}'",
            type="InvalidVolume",
        )
    name = _device_name(tx, row, asked.get("device"))
    ident = block_device.add(
        tx,
        row.id,
        Device(
            "volume",
            "volume",
            volume_id=found.id,
            device_name=name,
            delete_on_termination=truth(asked.get("delete_on_termination", False)),
            tag=asked.get("tag"),
        ),
    )
    block_device.change(tx, ident, attachment_id=attachment.reserve(tx, found, row.id))
    instance_action.start(tx, row.id, "attach_volume", req.caller)
    instance_action.event(tx, row.id, "compute_attach_volume", row.host)
    tx.job("compute.attach", row.id, ServerJob(row.id, {"volume_id": found.id}))
    return {"volumeAttachment": _view(req, block_device.find_volume(tx, row.id, found.id))}


def _device_name(tx: Tx, row: Server, asked: str | None) -> str:
    taken = {
        str(one.device_name).removeprefix("/dev/")
        for one in block_device.of_server(tx, row.id)
        if one.device_name
    } | {"vda"}
    if asked is None:
        return block_device.next_device(taken)
    if asked.removeprefix("/dev/") in taken:
        raise Busy(f"The supplied device path ({asked}) is in use.", type="DevicePathInUse")
    return asked if asked.startswith("/dev/") else f"/dev/{asked}"


def change(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, UPDATE)["volumeAttachment"]
    device = _find(tx, req, row)
    if asked["volumeId"] != device.volume_id:
        raise Busy(
            "Swapping the volume of a server is not supported by this host; detach it, and attach the other."
        )
    if "delete_on_termination" in asked and req.microversion >= (2, 85):
        wanted = truth(asked["delete_on_termination"])
        block_device.change(tx, device.id, delete_on_termination=wanted)
    return Response(202)


def delete(tx: Tx, req: Request, row: Server) -> Any:
    check_lock(row, req.caller)
    check_state(row, "detach_volume", STATES)
    found = _volume(tx, req, req["volume_id"])
    device = _find(tx, req, row)
    if device.boot_index == 0:
        raise Invalid("Cannot detach a root device volume")
    if device.attachment_id and attachment.find(tx, device.attachment_id) is None:
        # It was taken away by force; what is left is our own row.
        block_device.remove(tx, device.id)
        server.save(tx, row.id, touch=True)
        return Response(202)
    if found.status != "in-use":
        raise Invalid(
            "Invalid volume: Invalid volume: Unable to detach volume. Volume status must be 'in-use' and attach_status "
            f"must be 'attached' to detach. Currently: status: '{found.status}'.",
            type="InvalidVolume",
        )
    attachment.begin_detaching(tx, found)
    instance_action.start(tx, row.id, "detach_volume", req.caller)
    instance_action.event(tx, row.id, "compute_detach_volume", row.host)
    tx.job("compute.detach", row.id, ServerJob(row.id, {"volume_id": found.id}))
    return Response(202)


async def detach(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.detach``: the guest lets go, then the rows do. A guest that does not keeps its volume."""
    volume_id = str(job.extra["volume_id"])

    def look(tx: Tx) -> Any:
        return server.find(tx, job.server_id), block_device.find_volume(tx, job.server_id, volume_id)

    row, device = await ctx.read(look)
    if row is None or device is None:
        return
    if row.on_host and row.vm_state not in (states.STOPPED, states.SHELVED, states.OFFLOADED):
        try:
            wish = DetachDisk(instance_id=row.id, volume_id=volume_id)
            await ctx.call(row.host, "instance.detach_disk", wish, DETACH_S)
        except CallError as problem:
            if problem.kind != "DiskNotFound":
                reason = str(problem)
                await ctx.write(lambda tx: _kept(tx, job.server_id, volume_id, reason))
                return
    await ctx.write(lambda tx: _let_go(tx, job.server_id, volume_id))


def _kept(tx: Tx, server_id: str, volume_id: str, reason: str) -> None:
    log.warning("volume not detached", server_id=server_id, volume_id=volume_id, reason=reason)
    found = volume.find(tx, volume_id)
    if found is not None:
        attachment.roll_detaching(tx, found)
    instance_action.finish(tx, server_id, "compute_detach_volume", reason)


def _let_go(tx: Tx, server_id: str, volume_id: str) -> None:
    device = block_device.find_volume(tx, server_id, volume_id)
    if device is None:
        return
    block_device.remove(tx, device.id)
    if device.attachment_id:
        attachment.remove(tx, device.attachment_id)
    instance_action.finish(tx, server_id, "compute_detach_volume")
    server.save(tx, server_id, touch=True)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}/os-volume_attachments"
    rule = "os-volumes-attachments:"

    def create(tx: Tx, req: Request, row: Server) -> Any:
        return _create(tx, req, row, settings.instance_kind)

    return [
        Route("GET", at, on_server(rule + "index", index), AUTHENTICATED),
        Route("POST", at, on_server(rule + "create", create), AUTHENTICATED),
        Route("GET", at + "/{volume_id}", on_server(rule + "show", show), AUTHENTICATED),
        Route("PUT", at + "/{volume_id}", on_server(rule + "update", change), AUTHENTICATED),
        Route("DELETE", at + "/{volume_id}", on_server(rule + "delete", delete), AUTHENTICATED),
    ]
