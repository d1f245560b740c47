"""What Compute asks of Block Storage: volumes of new servers, and of running ones.

A volume is reserved with the server's row, made by the build when there is none yet, connected when its host can
serve it (a target may have to come up first: a report tells), and attached when the guest's host shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from virga.api.context import AsyncContext
from virga.api.faults import Fault
from virga.api.request import Caller
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.block_storage import attachment, snapshot, volume, work
from virga.services.block_storage.jobs_arguments import VolumeJob
from virga.services.block_storage.volume_create import understand
from virga.services.compute import block_device, instance_action, server, states
from virga.services.compute.block_device import Device
from virga.services.compute.faults import Invalid
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.models import block_device as table
from virga.services.image import image as images
from virga.services.image.image import Content

log = log_for(__name__)

OFF = (states.STOPPED, states.SHELVED, states.OFFLOADED)


# --- before there is a server --------------------------------------------------------------------------


def check_kind(kind: str) -> None:
    """Raises where volumes are asked for an instance that has no disks."""
    if kind == "namespace":
        raise Invalid("An instance of kind namespace has no disks: volumes cannot be attached to it.")


def check_new(
    tx: Tx, caller: Any, devices: list[Device], count: int, kind: str = "qemu", with_image: bool = False
) -> list[Device]:
    """Volumes and snapshots that a create names exist and are free. Who names an image too answers for what boots."""
    for device in devices:
        if not device.is_volume:
            continue
        check_kind(kind)
        if count > 1 and device.volume_id:
            raise Invalid(
                "Cannot attach one or more volumes to multiple instances", type="MultiplePortsNotApplicable"
            )
        if device.volume_id:
            _check_volume(tx, caller, device, with_image)
        elif device.snapshot_id:
            try:
                snapshot.get(tx, caller, device.snapshot_id)
            except Fault:
                raise block_device.invalid(f"failed to get snapshot {device.snapshot_id}.") from None
    return devices


def _check_volume(tx: Tx, caller: Any, device: Device, with_image: bool) -> None:
    try:
        row = volume.get(tx, caller, device.volume_id)
    except Fault:
        raise block_device.invalid(f"failed to get volume {device.volume_id}.") from None
    if device.boot_index == 0 and not row.bootable and not with_image:
        raise Invalid(f"Block Device {row.id} is not bootable.", type="InvalidBDMVolumeNotBootable")
    if row.status != "available" and not row.multiattach:
        raise Invalid(
            f"Invalid volume: volume '{row.id}' status must be 'available'. Currently in '{row.status}'",
            type="InvalidVolume",
        )


def from_image(properties: Mapping[str, Any]) -> list[Device]:
    """The devices that an image of a volume-backed server stands for."""
    text = properties.get("block_device_mapping")
    if not text:
        return []
    try:
        items = json.loads(text)
    except ValueError:
        raise block_device.invalid("the image's block_device_mapping is not valid JSON") from None
    return block_device.from_request({"block_device_mapping_v2": items}, None)


def reserve_all(tx: Tx, server_id: str) -> None:
    """Nobody else takes the volumes that the server is about to have."""
    for row in block_device.volumes_of(tx, server_id):
        reserved = attachment.reserve(tx, volume.need(tx, row.volume_id), server_id)
        block_device.change(tx, row.id, attachment_id=reserved)


# --- while it is built ---------------------------------------------------------------------------------


async def attach_all(ctx: AsyncContext, server_id: str) -> str | None:
    """Make and connect the volumes of a new server. None when all are there; else why it has to wait ("") or to end."""
    devices = await ctx.read(lambda tx: [d for d in block_device.of_server(tx, server_id) if _is_volume(d)])
    waiting = False
    for device in devices:
        try:
            volume_id = device.volume_id or await _make(ctx, server_id, device)
            problem = await _finished(ctx, volume_id)
            if problem:
                return problem
            if not await _connect(ctx, server_id, device.id):
                waiting = True
        except Fault as fault:
            return fault.message
    return "" if waiting else None


async def _connect(ctx: AsyncContext, server_id: str, device_id: str) -> bool:
    return await ctx.write(lambda tx: connect(tx, server_id, device_id, ctx.settings.volume_attach))


def _is_volume(row: Any) -> bool:
    return bool(row.destination_type == "volume" or row.volume_id)


async def _make(ctx: AsyncContext, server_id: str, device: Any) -> str:
    def make(tx: Tx) -> str:
        row = server.get(tx, server_id)
        owner = Caller(project_id=row.project_id, user_id=row.user_id, roles=frozenset({"member"}))
        wish = understand(
            tx,
            owner,
            {
                "size": device.volume_size,
                "name": "" if device.source_type != "blank" else f"{row.id}-blank-vol",
                "imageRef": device.image_id,
                "snapshot_id": device.snapshot_id,
                "volume_type": device.volume_type,
            },
        )
        made = volume.create(tx, owner, wish, queue=False)
        reserved = attachment.reserve_new(tx, made, server_id)
        block_device.change(tx, device.id, volume_id=made, attachment_id=reserved)
        return made

    return await ctx.write(make)


async def _finished(ctx: AsyncContext, volume_id: str) -> str:
    """Why the volume cannot be used; empty when it can."""
    row = await ctx.read(lambda tx: volume.find(tx, volume_id))
    if row is not None and row.status in ("creating", "downloading"):
        await work.create(ctx, VolumeJob(volume_id))
        await ctx.write(lambda tx: attachment.settle(tx, volume_id) if _is_available(tx, volume_id) else None)
        row = await ctx.read(lambda tx: volume.find(tx, volume_id))
    if row is None or row.status.startswith("error"):
        status = "deleted" if row is None else row.status
        return f"Volume {volume_id} did not finish being created. And its status is {status}."
    return ""


def _is_available(tx: Tx, volume_id: str) -> bool:
    row = volume.find(tx, volume_id)
    return row is not None and row.status == "available"


def connect(tx: Tx, server_id: str, device_id: str, mode: str) -> bool:
    """Give the device its connection; False while the volume's target is not there."""
    row = server.find(tx, server_id)
    device = tx.first(select(table).where(table.c.id == device_id))
    if row is None or device is None or device.attachment_id is None:
        return True
    # Several guests may write to one volume only through the one daemon that has its file open.
    local = mode == "local" and not volume.need(tx, device.volume_id).multiattach
    connection = attachment.connect(tx, device.attachment_id, row.host or "", local)
    if connection is None:
        return False
    attachment.save(tx, device.attachment_id, device=device.device_name)
    block_device.change(tx, device_id, connection=connection, attached=True)
    return True


# --- while it runs -------------------------------------------------------------------------------------


def reachable(tx: Tx, volume_id: str) -> None:
    """A target came up: the servers that wait for it go on."""
    for device in tx.all(select(table).where(table.c.volume_id == volume_id, table.c.attached.is_(False))):
        tx.job("compute.attach", device.server_id, ServerJob(device.server_id, {"volume_id": volume_id}))


def unreachable(tx: Tx, volume_id: str, reason: str) -> None:
    """A target cannot come up: nobody waits for it any longer."""
    for device in tx.all(select(table).where(table.c.volume_id == volume_id, table.c.attached.is_(False))):
        row = server.find(tx, device.server_id)
        problem = f"The target of volume {volume_id} cannot be made: {reason}"
        if row is not None and row.vm_state == states.BUILDING:
            extra = {"volume_id": volume_id, "problem": problem}
            tx.job("compute.attach", row.id, ServerJob(row.id, extra))
        elif row is not None:
            _give_back(tx, device, problem)


def _give_back(tx: Tx, device: Any, reason: str) -> None:
    log.warning("volume not attached", server_id=device.server_id, volume_id=device.volume_id, reason=reason)
    if device.attachment_id:
        attachment.remove(tx, device.attachment_id)
    block_device.remove(tx, device.id)
    instance_action.finish(tx, device.server_id, "compute_attach_volume", reason)
    server.save(tx, device.server_id, touch=True)


async def attach(ctx: AsyncContext, job: ServerJob) -> None:
    """A volume for a server that is there: connected, and handed to the host."""

    def step(tx: Tx) -> None:
        row = server.find(tx, job.server_id)
        device = block_device.find_volume(tx, job.server_id, str(job.extra["volume_id"]))
        if row is None or device is None or device.attached:
            return
        if not connect(tx, row.id, device.id, ctx.settings.volume_attach):
            return
        server.save(tx, row.id, touch=True)
        if row.vm_state in OFF or not row.on_host:
            _attached(tx, device)

    await ctx.write(step)


def _attached(tx: Tx, device: Any) -> None:
    attachment.complete(tx, device.attachment_id, device.device_name)
    instance_action.finish(tx, device.server_id, "compute_attach_volume")


def seen(tx: Tx, row: Any, details: Mapping[str, Any]) -> None:
    """A host shows a server: volumes that it has are attached; one that it could not plug is given back."""
    shown = details.get("volumes")
    present = str(shown).split(",") if shown is not None else None
    for device in block_device.volumes_of(tx, row.id):
        if not device.attached or not device.attachment_id:
            continue
        found = attachment.find(tx, device.attachment_id)
        if found is None or found.status != "attaching":
            continue
        if present is None or device.volume_id in present:
            _attached(tx, device)
        elif (problem := details.get(f"volume_error:{device.volume_id}")) and row.vm_state != states.BUILDING:
            _give_back(tx, device, str(problem))


# --- when it goes --------------------------------------------------------------------------------------


def snapshot_all(tx: Tx, caller: Any, row: Any, image: Any, name: str) -> None:
    """An image of a volume-backed server: snapshots of its volumes, named by the image."""
    mapping = []
    for device in block_device.volumes_of(tx, row.id):
        source = volume.need(tx, device.volume_id)
        taken = snapshot.create(tx, caller, source, name=f"snapshot for {name}", force=True)
        mapping.append(
            {
                "source_type": "snapshot",
                "destination_type": "volume",
                "snapshot_id": taken,
                "volume_size": source.size,
                "boot_index": device.boot_index,
                "device_name": device.device_name,
                "delete_on_termination": device.delete_on_termination,
                "disk_bus": device.disk_bus,
                "device_type": device.device_type or "disk",
                "guest_format": device.guest_format,
                "tag": device.tag,
            }
        )
    images.set_property(tx, image.id, "block_device_mapping", json.dumps(mapping))
    images.set_property(tx, image.id, "bdm_v2", "True")
    images.set_property(tx, image.id, "root_device_name", row.root_device_name or "/dev/vda")
    current = images.find(tx, image.id)
    if current is not None:
        images.move(tx, current, "saving")
        images.activate(tx, image.id, EMPTY)


EMPTY = Content(
    size=0,
    checksum="d41d8cd98f00b204e9800998ecf8427e",
    os_hash_value=(
        "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
        "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
    ),
)


def let_go(tx: Tx, server_id: str) -> None:
    """The server could not be built: its volumes are free again, and stay its own until it is deleted."""
    for device in block_device.volumes_of(tx, server_id):
        if device.attachment_id:
            attachment.remove(tx, device.attachment_id)
        block_device.change(tx, device.id, attachment_id=None, attached=False, connection=None)


def release_all(tx: Tx, server_id: str) -> None:
    """The server goes: detach its volumes, delete those that were to go with it."""
    for device in block_device.volumes_of(tx, server_id):
        if device.attachment_id:
            attachment.remove(tx, device.attachment_id)
        row = volume.find(tx, device.volume_id)
        if row is None or not device.delete_on_termination:
            continue
        try:
            volume.delete(tx, row)
        except Fault as fault:
            log.warning("volume stays after its server", volume_id=row.id, reason=fault.message)
    block_device.remove_all(tx, server_id)
