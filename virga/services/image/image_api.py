"""``/v2/images``: create, list, show, patch and delete over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from virga.api.faults import BadRequest
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.image import access, listing, patch
from virga.services.image import image as images
from virga.services.image.attributes import (
    NEVER_IN_CREATE,
    NOT_SETTABLE_AT_CREATE,
    RESERVED,
    RESERVED_PREFIX,
    SETTABLE,
    check,
)
from virga.services.image.faults import ImageFault, ImageNotFound, not_authorized
from virga.services.image.image import Image
from virga.services.image.patch import Change
from virga.services.image.store import Store
from virga.services.image.view import STORE, image_view

IMPORT_METHODS = ("glance-direct", "web-download", "copy-image")


def create(tx: Tx, req: Request) -> Response:
    """A record without bytes; they are uploaded afterwards."""
    body = _body(req)
    values = {name: body.pop(name) for name in ("id", *SETTABLE) if name in body}
    tags = body.pop("tags", [])
    if "owner" not in values:
        values["owner"] = req.caller.project_id
    _may_create(req, values)
    made = images.create(tx, values, body, tags)
    headers = {
        "location": req.url(f"/v2/images/{made.id}"),
        "openstack-image-import-methods": ",".join(IMPORT_METHODS),
        "openstack-image-store-ids": STORE,
    }
    return Response(201, image_view(made), headers)


def _body(req: Request) -> dict[str, Any]:
    if req.body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(req.body, Mapping):
        raise BadRequest(
            f"Provided object does not match schema 'image': {req.body!r} is not of type 'object'"
        )
    body = dict(req.body)
    for name in NEVER_IN_CREATE:
        if name in body:
            raise ImageFault(403, f"Attribute '{name}' is read-only.")
    check(body)
    for name in body:
        if name in NOT_SETTABLE_AT_CREATE or name in ("os_hash_algo", "os_hash_value"):
            raise ImageFault(403, f"Attribute '{name}' is read-only.")
        if len(name) > 255:
            raise BadRequest("Custom property should not be greater than 255 characters.")
        if name in RESERVED or name.startswith(RESERVED_PREFIX):
            raise ImageFault(403, f"Attribute '{name}' is reserved.")
    if "locations" in body:
        raise ImageFault(403, "It's not allowed to update locations if locations are invisible.")
    return body


def _may_create(req: Request, values: Mapping[str, Any]) -> None:
    visibility = values.get("visibility", "private")
    about = {"project_id": values["owner"], "owner": values["owner"], "visibility": visibility}
    if not req.allows("add_image", about):
        if values["owner"] != req.caller.project_id:
            raise ImageFault(403, f"You are not permitted to create images owned by '{values['owner']}'")
        raise not_authorized("add_image")
    access.require_visibility(req, about, visibility)


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """A page of images."""
    if not req.allows("get_images", {"project_id": req.caller.project_id}):
        raise not_authorized("get_images")
    page = listing.page(tx, req)
    return {
        "images": [image_view(image) for image in page.images],
        **listing.links(req, page.next_marker),
        "schema": "/v2/schemas/images",
    }


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One image."""
    return image_view(access.visible(tx, req))


def update(tx: Tx, req: Request) -> dict[str, Any]:
    """Apply a JSON patch: all of it or nothing."""
    changes = patch.read(req.headers.get("content-type", ""), req.body)
    image = images.get(tx, req.caller, req["image_id"])
    draft = _Draft(image)
    about = access.target(tx, req, image)
    for change in changes:
        if change.name == "locations":
            raise ImageFault(403, "It's not allowed to update locations if locations are invisible.")
        if change.op == "replace" and change.name == "owner" and not req.caller.is_admin:
            raise ImageFault(403, "Owner can't be updated by non admin.")
        if change.name == "visibility" and change.op != "remove":
            access.require_visibility(req, about, change.value)
        access.require(tx, req, image, "modify_image")
        draft.apply(change)
    if changes:
        image = images.save(tx, image, draft.values, draft.properties, draft.tags)
    return image_view(image)


class _Draft:
    """An image while a patch is applied to it."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.values: dict[str, Any] = {}
        self.properties = dict(image.properties)
        self.tags: list[str] | None = None

    def apply(self, change: Change) -> None:
        name = change.name
        if name in SETTABLE or name == "tags":
            self._base(change)
        elif change.op == "remove":
            if name not in self.properties:
                raise ImageFault(409, f"Property {name} does not exist.")
            del self.properties[name]
        elif change.op == "replace" and name not in self.properties:
            raise ImageFault(409, f"Property {name} does not exist.")
        elif change.op == "add" and change.is_old_dialect and name in self.properties:
            raise ImageFault(409, f"Property {name} already present.")
        else:
            self.properties[name] = str(change.value)

    def _base(self, change: Change) -> None:
        name = change.name
        if change.op == "remove":
            raise ImageFault(403, f"Property {name} may not be removed.")
        if change.op == "add" and change.is_old_dialect:
            raise ImageFault(409, f"Property {name} already present.")
        if name in ("container_format", "disk_format") and self.image.status not in ("queued", "importing"):
            raise ImageFault(403, f"Attribute {name} can be only replaced for a queued image.")
        if name == "tags":
            self.tags = list(change.value)
        else:
            self.values[name] = change.value


def delete(store: Store, tx: Tx, req: Request) -> Response:
    """Forget the image and its bytes; what runs from it keeps its own copy."""
    image_id = req["image_id"]
    try:
        image = images.get(tx, req.caller, image_id)
        access.require(tx, req, image, "delete_image")
    except ImageNotFound:
        raise ImageFault(404, f"Failed to find image {image_id} to delete") from None
    images.remove(tx, image)
    tx.after_commit(lambda: store.discard(image_id))
    return Response(204)
