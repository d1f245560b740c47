"""``/v2/images/{id}/tags/{tag}`` and ``/actions``: small changes of one image."""

from __future__ import annotations

from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.image import access
from virga.services.image import image as images
from virga.services.image.attributes import check
from virga.services.image.faults import ImageFault, ImageNotFound, gone_from_view
from virga.services.image.image import Image


def _image(tx: Tx, req: Request, refusal: str) -> Image:
    image_id = req["image_id"]
    try:
        image = images.get(tx, req.caller, image_id)
    except ImageNotFound:
        raise ImageFault(404, f"Image {image_id} not found.") from None
    try:
        access.require(tx, req, image, "modify_image")
    except ImageFault as fault:
        raise (ImageFault(403, refusal) if fault.status == 403 else fault) from None
    return image


def add(tx: Tx, req: Request) -> Response:
    """Put a tag on the image; one that is there stays."""
    tag = req["tag"]
    check({"tags": [tag]})
    image = _image(tx, req, f"Not allowed to update tags for image {req['image_id']}.")
    images.save(tx, image, {}, tags=[*image.tags, tag])
    return Response(204)


def remove(tx: Tx, req: Request) -> Response:
    """Take a tag off."""
    image = _image(tx, req, f"Not allowed to delete tags for image {req['image_id']}.")
    if req["tag"] not in image.tags:
        raise gone_from_view()
    images.save(tx, image, {}, tags=[tag for tag in image.tags if tag != req["tag"]])
    return Response(204)


def deactivate(tx: Tx, req: Request) -> Response:
    """Nobody but an admin may download it any more."""
    return _turn(tx, req, "deactivate", "active", "deactivated")


def reactivate(tx: Tx, req: Request) -> Response:
    """It may be downloaded again."""
    return _turn(tx, req, "reactivate", "deactivated", "active")


def _turn(tx: Tx, req: Request, rule: str, before: str, after: str) -> Response:
    image = images.get(tx, req.caller, req["image_id"])
    access.require(tx, req, image, rule)
    if image.status == before:
        images.save(tx, image, {"status": after})
    elif image.status != after:
        raise ImageFault(403, f"Not allowed to {rule} image in status '{image.status}'")
    return Response(204)
