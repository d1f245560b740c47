"""``/v2/images/{id}/members``: the projects that a shared image is shared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, update

from virga.api.faults import BadRequest
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.image import access
from virga.services.image import image as images
from virga.services.image.faults import ImageFault, ImageNotFound, gone_from_view
from virga.services.image.image import Image
from virga.services.image.limits import check_members
from virga.services.image.models import image_member as table
from virga.services.image.view import member_view

STATUSES = ("pending", "accepted", "rejected")


def _image(tx: Tx, req: Request) -> Image:
    try:
        return images.get(tx, req.caller, req["image_id"])
    except ImageNotFound as fault:
        raise ImageFault(404, f"Image {req['image_id']} not found.") from fault


def _require(tx: Tx, req: Request, image: Image, rule: str, refusal: str) -> None:
    """Only shared images have members, and only some may touch them."""
    if image.visibility != "shared" or not req.allows(rule, access.target(tx, req, image)):
        raise ImageFault(403, refusal)


def _member(tx: Tx, req: Request, image: Image) -> Row[Any]:
    row = images.membership(tx, image.id, req["member_id"])
    mine = req.caller.project_id in (req["member_id"], image.owner)
    if row is None or not (mine or req.caller.is_admin):
        raise ImageFault(404, f"{req['member_id']} not found in the member list of the image {image.id}.")
    return row


def create(tx: Tx, req: Request) -> dict[str, Any]:
    """Share the image with a project, which then may accept."""
    image_id = req["image_id"]
    if req.body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(req.body, Mapping):
        raise BadRequest('Expected a member in the form: {"member": "image_id"}')
    if "member" not in req.body:
        raise BadRequest("Member to be added not specified")
    member_id = req.body["member"]
    if not member_id:
        raise BadRequest("Member can't be empty")
    if not isinstance(member_id, str) or len(member_id) > 255:
        raise BadRequest('Expected a member in the form: {"member": "image_id"}')
    image = _image(tx, req)
    _require(tx, req, image, "add_member", f"Not allowed to create members for image {image_id}.")
    if images.membership(tx, image_id, member_id) is not None:
        raise ImageFault(409, f"Member {member_id} is duplicated for image {image_id}")
    count = tx.scalar(select(func.count()).select_from(table).where(table.c.image_id == image_id))
    check_members(count + 1)
    values = {"image_id": image_id, "member_id": member_id, "status": "pending"}
    tx.execute(insert(table).values(**values, created_at=tx.now, updated_at=tx.now))
    row = images.membership(tx, image_id, member_id)
    assert row is not None
    return member_view(row)


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """All members for the owner; a member sees itself."""
    image = _image(tx, req)
    refusal = f"Not allowed to list members for image {image.id}: "
    if image.visibility != "shared":
        raise ImageFault(403, refusal + "Only shared images have members.")
    _require(
        tx, req, image, "get_members", refusal + "You are not authorized to complete get_members action."
    )
    where = [table.c.image_id == image.id]
    if not req.caller.is_admin and req.caller.project_id != image.owner:
        where.append(table.c.member_id == req.caller.project_id)
    rows = tx.all(select(table).where(*where).order_by(table.c.created_at, table.c.member_id))
    return {"members": [member_view(row) for row in rows], "schema": "/v2/schemas/members"}


def show(tx: Tx, req: Request) -> dict[str, Any]:
    """One member."""
    image = _image(tx, req)
    if image.visibility != "shared":
        raise ImageFault(404, "Only shared images have members.")
    if not req.allows("get_member", access.target(tx, req, image)):
        raise gone_from_view()
    return member_view(_member(tx, req, image))


def update_status(tx: Tx, req: Request) -> dict[str, Any]:
    """The member accepts, or rejects, what was shared with it."""
    image_id = req["image_id"]
    if req.body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(req.body, Mapping):
        raise BadRequest('Expected a status in the form: {"status": "status"}')
    if "status" not in req.body:
        raise BadRequest("Status not specified")
    image = _image(tx, req)
    refusal = f"Not allowed to update members for image {image_id}."
    if image.visibility != "shared":
        raise ImageFault(403, refusal)
    row = _member(tx, req, image)
    _require(tx, req, image, "modify_member", refusal)
    status = req.body["status"]
    if status not in STATUSES:
        raise BadRequest('Incorrect request: Status must be "pending", "accepted" or "rejected".')
    same = (table.c.image_id == image_id, table.c.member_id == row.member_id)
    tx.execute(update(table).where(*same).values(status=status, updated_at=tx.now))
    changed = images.membership(tx, image_id, row.member_id)
    assert changed is not None
    return member_view(changed)


def remove(tx: Tx, req: Request) -> Response:
    """Stop sharing with a project."""
    image = _image(tx, req)
    refusal = f"Not allowed to delete members for image {image.id}."
    if image.visibility != "shared":
        raise ImageFault(403, refusal)
    row = _member(tx, req, image)
    _require(tx, req, image, "delete_member", refusal)
    tx.execute(delete(table).where(table.c.image_id == image.id, table.c.member_id == row.member_id))
    return Response(204)
