"""Rescue and back: the server boots from another image and sees its own disk as the second."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import block_device, imaging, instance_action, server, server_create, states
from virga.services.compute.action import action_route
from virga.services.compute.action_power import ready
from virga.services.compute.faults import Invalid
from virga.services.compute.schema import TEXT, UUID, always, check_body, obj
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.settings import Settings

_BODY = {
    "type": ["object", "null"],
    "properties": {"adminPass": TEXT, "rescue_image_ref": UUID},
    "additionalProperties": False,
}
RESCUE = always(obj({"rescue": _BODY}, ["rescue"]))
UNRESCUE = always(obj({"unrescue": {}}, ["unrescue"]))


def rescue(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, RESCUE)["rescue"] or {}
    check_lock(row, req.caller)
    check_state(row, "rescue", (states.ACTIVE, states.STOPPED, states.ERROR))
    ready(tx, row)
    if block_device.boots_from_volume(tx, row.id) and req.microversion < (2, 87):
        raise Invalid(f"Instance {row.id} cannot be rescued: Cannot rescue a volume-backed instance")
    image_id = asked.get("rescue_image_ref") or row.image_id
    found = imaging.find(tx, req.caller, image_id) if image_id else None
    if found is None or found.status != "active":
        raise Invalid(f"Image {image_id} could not be found.")
    instance_action.start(tx, row.id, "rescue", req.caller)
    instance_action.event(tx, row.id, "compute_rescue_instance", row.host)
    server.save(
        tx, row.id, touch=True, task_state="rescuing", rescue_image_id=found.id, wanted_power="running"
    )
    return {"adminPass": asked.get("adminPass") or server_create.password()}


def unrescue(tx: Tx, req: Request, row: Server) -> Any:
    check_body(req, UNRESCUE)
    check_lock(row, req.caller)
    check_state(row, "unrescue", (states.RESCUED,))
    ready(tx, row)
    instance_action.start(tx, row.id, "unrescue", req.caller)
    instance_action.event(tx, row.id, "compute_unrescue_instance", row.host)
    server.save(tx, row.id, touch=True, task_state="unrescuing", rescue_image_id=None, wanted_power="running")
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    return [
        action_route("rescue", on_server("os-rescue", rescue), status=200),
        action_route("unrescue", on_server("os-unrescue", unrescue)),
    ]
