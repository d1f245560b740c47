"""Rebuild: the same server, ports and volumes, with a fresh root disk; and evacuate, the same on another host."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import (
    block_device,
    build,
    host,
    imaging,
    instance_action,
    keypair,
    limit_table,
    migration_row,
    port_allocation,
    server,
    server_create,
    states,
)
from virga.services.compute.action import action_route
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.page import links
from virga.services.compute.schema import (
    BOOLEAN,
    FQDN,
    TEXT,
    V21,
    Versioned,
    changed,
    check_body,
    obj,
    wrapped,
)
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.services.compute.server_schema import REBUILD
from virga.services.compute.server_update import changed_view
from virga.services.placement import claim
from virga.settings import Settings

_EVACUATE = wrapped(
    "evacuate", obj({"host": FQDN, "onSharedStorage": BOOLEAN, "adminPass": TEXT}, ["onSharedStorage"])
)
_EVACUATE_214 = wrapped("evacuate", obj({"host": FQDN, "adminPass": TEXT}))
EVACUATE = Versioned(
    (V21, _EVACUATE),
    ((2, 14), _EVACUATE_214),
    ((2, 29), changed(_EVACUATE_214, "evacuate", force=BOOLEAN)),
    ((2, 68), _EVACUATE_214),
)


def rebuild(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, REBUILD)["rebuild"]
    if asked.get("trusted_image_certificates"):
        req.enforce("os_compute_api:servers:rebuild:trusted_certs", server.target_of(row))
    check_lock(row, req.caller)
    check_state(row, "rebuild", (states.ACTIVE, states.STOPPED, states.ERROR))
    image = imaging.find(tx, req.caller, asked["imageRef"])
    if image is None:
        raise Invalid("Cannot find image for rebuild")
    if image.status != "active":
        raise Invalid(f"Image {image.id} is not active.", type="ImageNotActive")
    imaging.check_fits(image, row.flavor)
    if block_device.boots_from_volume(tx, row.id) and image.id != row.image_id and req.microversion < (2, 93):
        raise Invalid(
            "Unable to rebuild with a different image for a volume-backed server.", type="ImageUnacceptable"
        )
    values = _values(tx, req, row, asked)
    values |= {
        "image_id": image.id,
        "image_properties": dict(image.properties),
        "kernel_id": image.properties.get("kernel_id", "") or "",
        "ramdisk_id": image.properties.get("ramdisk_id", "") or "",
    }
    password = asked.get("adminPass") or server_create.password()
    instance_action.start(tx, row.id, "rebuild", req.caller)
    instance_action.event(tx, row.id, "compute_rebuild_instance", row.host)
    power = "shutdown" if row.vm_state == states.STOPPED else "running"
    row = server.save(
        tx,
        row.id,
        touch=True,
        task_state="rebuilding",
        build=row.build + 1,
        wanted_power=power,
        rescue_image_id=None,
        admin_password=password,
        progress=0,
        fault=None,
        **values,
    )
    return _answer(tx, req, row, password)


def _answer(tx: Tx, req: Request, row: Server, password: str) -> Response:
    body = changed_view(tx, req, row)
    if req.microversion >= (2, 54):
        body["key_name"] = row.key_name
    body["adminPass"] = password
    if req.microversion >= (2, 57):
        body["user_data"] = row.user_data
        body.pop("OS-EXT-SRV-ATTR:user_data", None)
    return Response(202, {"server": body}, {"location": links(req, "servers", row.id)[0]["href"]})


def _values(tx: Tx, req: Request, row: Server, asked: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "name" in asked:
        values["name"] = asked["name"].strip()
    for field, column in (
        ("description", "description"),
        ("hostname", "hostname"),
        ("user_data", "user_data"),
        ("accessIPv4", "access_ip_v4"),
        ("accessIPv6", "access_ip_v6"),
        ("personality", "personality"),
        ("trusted_image_certificates", "trusted_certs"),
    ):
        if field in asked:
            values[column] = asked[field]
    for column in ("access_ip_v4", "access_ip_v6"):
        if values.get(column):
            values[column] = server_create.plain_address(values[column])
    if "OS-DCF:diskConfig" in asked:
        values["auto_disk_config"] = asked["OS-DCF:diskConfig"] == "AUTO"
    if "metadata" in asked:
        limit = limit_table.limits_of(tx, row.project_id)["metadata_items"]
        if 0 <= limit < len(asked["metadata"]):
            raise Refused(f"Maximum number of metadata items exceeds {limit}")
        values["metadata"] = asked["metadata"]
    if "key_name" in asked:
        values |= _key(tx, row, asked["key_name"])
    return values


def _key(tx: Tx, row: Server, name: str | None) -> dict[str, Any]:
    if name is None:
        return {"key_name": None, "key_data": None}
    found = keypair.find(tx, row.user_id, name)
    if found is None:
        raise Invalid("Invalid key_name provided.")
    return {"key_name": name, "key_data": found.public_key}


def evacuate(tx: Tx, req: Request, row: Server, settings: Settings) -> Any:
    """The host is dead: build the server again, with its ports and volumes, on another."""
    asked = check_body(req, EVACUATE)["evacuate"]
    check_lock(row, req.caller)
    check_state(row, "evacuate", (states.ACTIVE, states.STOPPED, states.ERROR), tasks=None)
    wanted = asked.get("host")
    if wanted == row.host:
        raise Invalid("The target host can't be the same one.")
    if wanted and host.service_of(tx, wanted) is None:
        raise NotFoundHere(f"Compute host {wanted} not found.")
    if host.host_is_up(tx, row.host):
        raise Invalid(f"Compute service of {row.host} is still in use.", type="ComputeServiceInUse")
    try:
        chosen = build.choose(tx, row, settings, exclude=[row.host], only=wanted)
    except build.NoHost:
        raise Invalid(build.NO_HOST) from None
    instance_action.start(tx, row.id, "evacuate", req.caller)
    instance_action.event(tx, row.id, "compute_rebuild_instance", chosen.host)
    move = migration_row.start(tx, row, "evacuation", chosen.host, None, req.caller)
    claim.release(tx, row.id)
    build.claim_on(tx, row, chosen.provider_id)
    migration_row.change(tx, move.id, status="done")
    stopped = row.vm_state == states.STOPPED or req.microversion >= (2, 95)
    password = asked.get("adminPass") or server_create.password()
    server.save(
        tx,
        row.id,
        touch=True,
        host=chosen.host,
        task_state="rebuilding",
        build=row.build + 1,
        wanted_power="shutdown" if stopped else "running",
        realised="",
        rescue_image_id=None,
    )
    port_allocation.bind(tx, row.id, chosen.host, row.availability_zone or "nova")
    if req.microversion >= (2, 14):
        return Response(200)
    return Response(200, {"adminPass": password})


def routes(settings: Settings) -> list[Route]:
    def on_evacuate(tx: Tx, req: Request, row: Server) -> Any:
        return evacuate(tx, req, row, settings)

    return [
        action_route("rebuild", on_server("servers:rebuild", rebuild)),
        action_route("evacuate", on_server("os-evacuate", on_evacuate), status=200),
    ]
