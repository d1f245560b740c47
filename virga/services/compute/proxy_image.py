"""/images as Compute had it before Image: up to 2.35 (metadata up to 2.38), answered by Image's verbs."""

from __future__ import annotations

from functools import partial
from typing import Any

from sqlalchemy import or_, select

from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_seconds
from virga.services.compute import limit_table
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.page import after_marker, bookmark, limit_of, links, next_link
from virga.services.compute.schema import METADATA, always, check_body, wrapped
from virga.services.image import image as images
from virga.services.image.faults import ImageNotFound
from virga.services.image.image import Image
from virga.services.image.models import image as table
from virga.services.image.models import image_member
from virga.services.image.store import Store
from virga.settings import Settings

LAST, LAST_METADATA = (2, 35), (2, 38)
METADATA_BODY = always(wrapped("metadata", METADATA))
META_BODY = always(wrapped("meta", METADATA | {"minProperties": 1, "maxProperties": 1}))
STATUS = {
    "queued": "SAVING",
    "saving": "SAVING",
    "uploading": "SAVING",
    "importing": "SAVING",
    "active": "ACTIVE",
}


def _get(tx: Tx, req: Request) -> Image:
    try:
        return images.get(tx, req.caller, req["image_id"])
    except ImageNotFound:
        raise NotFoundHere("Image not found.") from None


def _brief(req: Request, image: Image) -> dict[str, Any]:
    alternate = {
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": f"{req.base_url.rsplit('/compute', 1)[0]}/image/images/{image.id}",
    }
    return {"id": image.id, "name": image.name, "links": [*links(req, "images", image.id), alternate]}


def _view(req: Request, image: Image) -> dict[str, Any]:
    status = STATUS.get(image.status, "UNKNOWN")
    body: dict[str, Any] = {
        "id": image.id,
        "name": image.name,
        "minRam": image.min_ram,
        "minDisk": image.min_disk,
        "metadata": dict(image.properties),
        "created": iso_seconds(image.created_at),
        "updated": iso_seconds(image.updated_at),
        "status": status,
        "progress": {"SAVING": 25, "ACTIVE": 100}.get(status, 0),
        "OS-EXT-IMG-SIZE:size": image.size or 0,
        "links": _brief(req, image)["links"],
    }
    automatic = image.properties.get("auto_disk_config")
    if automatic is not None:
        body["OS-DCF:diskConfig"] = (
            "AUTO" if str(automatic).lower() in ("true", "1", "on", "yes") else "MANUAL"
        )
    origin = image.properties.get("instance_uuid")
    if origin:
        server_links = [links(req, "servers", origin)[0], bookmark(req, "servers", origin)[0]]
        body["server"] = {"id": origin, "links": server_links}
    return body


def _visible(tx: Tx, req: Request) -> list[Image]:
    caller = req.caller
    statement = (
        select(table).where(table.c.os_hidden.is_(False)).order_by(table.c.created_at.desc(), table.c.id)
    )
    if not caller.is_admin:
        shared = select(image_member.c.image_id).where(
            image_member.c.member_id == caller.project_id, image_member.c.status == "accepted"
        )
        statement = statement.where(
            or_(table.c.visibility == "public", table.c.owner == caller.project_id, table.c.id.in_(shared))
        )
    found = images.assemble(tx, tx.all(statement))
    return [image for image in found if _passes(req, image)]


def _passes(req: Request, image: Image) -> bool:
    """The old API's filters."""
    for name, value in req.query:
        if name == "name" and image.name != value:
            return False
        if name == "status" and STATUS.get(image.status, "UNKNOWN") != value.upper():
            return False
        if name == "server" and image.properties.get("instance_uuid") != value.rstrip("/").rpartition("/")[2]:
            return False
        if name == "type" and image.properties.get("image_type", "base") != {
            "SERVER": "snapshot",
            "BASE": "base",
        }.get(value, value):
            return False
        if name == "changes-since" and (iso_seconds(image.updated_at) or "") < value:
            return False
        if name == "minRam" and value.isdecimal() and image.min_ram < int(value):
            return False
        if name == "minDisk" and value.isdecimal() and image.min_disk < int(value):
            return False
    return True


def index(tx: Tx, req: Request, *, page_limit: int, whole: bool) -> Any:
    found = after_marker(_visible(tx, req), req.param("marker"), limit_of(req, page_limit))
    items = [_view(req, image) if whole else _brief(req, image) for image in found]
    body: dict[str, Any] = {"images": items}
    path = "/v2.1/images" + ("/detail" if whole else "")
    if more := next_link(req, path, [image.id for image in found], page_limit):
        body["images_links"] = more
    return body


def show(tx: Tx, req: Request) -> Any:
    return {"image": _view(req, _get(tx, req))}


def remove(tx: Tx, req: Request, *, settings: Settings) -> Any:
    image = _get(tx, req)
    _check_owner(req, image, "delete")
    try:
        images.remove(tx, image)
    except Forbidden:
        raise Refused("You are not allowed to delete the image.") from None
    tx.after_commit(lambda: Store(settings).discard(image.id))
    return Response(204)


def _check_owner(req: Request, image: Image, verb: str) -> None:
    if not req.caller.is_admin and image.owner != req.caller.project_id:
        raise Refused(f"You are not allowed to {verb} the image.")


# --- metadata ------------------------------------------------------------------------------------------


def metadata(tx: Tx, req: Request) -> Any:
    return {"metadata": dict(_get(tx, req).properties)}


def meta(tx: Tx, req: Request) -> Any:
    found = _get(tx, req).properties
    if req["key"] not in found:
        raise NotFoundHere("Metadata item was not found")
    return {"meta": {req["key"]: found[req["key"]]}}


def _write(tx: Tx, req: Request, image: Image, wanted: dict[str, str]) -> None:
    _check_owner(req, image, "update")
    limit = limit_table.limits_of(tx, req.caller.project_id)["metadata_items"]
    if 0 <= limit < len(wanted):
        raise Refused("Image metadata limit exceeded")
    images.save(tx, image, {}, properties=wanted)


def add_metadata(tx: Tx, req: Request) -> Any:
    asked = check_body(req, METADATA_BODY)["metadata"]
    image = _get(tx, req)
    wanted = {**image.properties, **asked}
    _write(tx, req, image, wanted)
    return {"metadata": wanted}


def replace_metadata(tx: Tx, req: Request) -> Any:
    asked = check_body(req, METADATA_BODY)["metadata"]
    _write(tx, req, _get(tx, req), asked)
    return {"metadata": asked}


def set_meta(tx: Tx, req: Request) -> Any:
    asked = check_body(req, META_BODY)["meta"]
    if req["key"] not in asked:
        raise Invalid("Request body and URI mismatch")
    image = _get(tx, req)
    _write(tx, req, image, {**image.properties, **asked})
    return {"meta": asked}


def delete_meta(tx: Tx, req: Request) -> Any:
    image = _get(tx, req)
    if req["key"] not in image.properties:
        raise NotFoundHere("Metadata item was not found")
    _write(tx, req, image, {k: v for k, v in image.properties.items() if k != req["key"]})
    return Response(204)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/images/{image_id}"
    limit = settings.page_limit

    def route(method: str, path: str, handler: Any, last: tuple[int, int] = LAST) -> Route:
        return Route(method, path, handler, AUTHENTICATED, max_version=last)

    return [
        route("GET", "/v2.1/images", partial(index, page_limit=limit, whole=False)),
        route("GET", "/v2.1/images/detail", partial(index, page_limit=limit, whole=True)),
        route("GET", at, show),
        route("DELETE", at, partial(remove, settings=settings)),
        route("GET", at + "/metadata", metadata, LAST_METADATA),
        route("POST", at + "/metadata", add_metadata, LAST_METADATA),
        route("PUT", at + "/metadata", replace_metadata, LAST_METADATA),
        route("GET", at + "/metadata/{key}", meta, LAST_METADATA),
        route("PUT", at + "/metadata/{key}", set_meta, LAST_METADATA),
        route("DELETE", at + "/metadata/{key}", delete_meta, LAST_METADATA),
    ]
