"""Policies on images: who may not change an image learns whether it exists only if it may be seen."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.image import image as images
from virga.services.image.faults import ImageFault, gone_from_view, not_authorized
from virga.services.image.image import Image


def target(tx: Tx, req: Request, image: Image) -> dict[str, Any]:
    """What policies look at; ``member_id`` is the caller's project where the image is shared with it."""
    member = None
    if image.visibility == "shared" and image.owner != req.caller.project_id:
        row = images.membership(tx, image.id, req.caller.project_id)
        member = row.member_id if row is not None else None
    return image.target(req.caller, member)


def require(tx: Tx, req: Request, image: Image, rule: str) -> None:
    """Raise 403, or 404 where the caller may not even see the image."""
    about = target(tx, req, image)
    if req.allows(rule, about):
        return
    if rule == "get_image" or not req.allows("get_image", about):
        raise gone_from_view()
    raise not_authorized(rule)


def visible(tx: Tx, req: Request) -> Image:
    """The image of the URL, if the caller may see it."""
    found = images.get(tx, req.caller, req["image_id"])
    require(tx, req, found, "get_image")
    return found


def require_visibility(req: Request, about: dict[str, Any], visibility: str) -> None:
    """Not everybody may show an image to everybody."""
    rule = {"public": "publicize_image", "community": "communitize_image"}.get(visibility)
    if rule is not None and not req.allows(rule, about):
        raise not_authorized(rule)


def reworded(fault: Exception) -> ImageFault:
    """A refusal at the route in the service's own words."""
    name = str(fault).removeprefix("Policy doesn't allow ").removesuffix(" to be performed.")
    return not_authorized(name)
