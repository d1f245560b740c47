"""``/v2/images/{id}/file`` and ``/stage``: the bytes, streamed in both directions in flat memory."""

from __future__ import annotations

import re

from virga.api.context import AsyncContext
from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.image import access, content
from virga.services.image import image as images
from virga.services.image.faults import MEDIA_TYPE, ImageFault, ImageNotFound
from virga.services.image.image import Image
from virga.services.image.store import Intake, Store, read
from virga.services.image.view import WITH_BYTES


async def upload(store: Store, ctx: AsyncContext, req: Request) -> Response:
    """Take the bytes, look at them, and make the image active; after a failure it is queued again."""
    _check_headers(req)
    image = await ctx.write(lambda tx: _begin(tx, req, "upload_image", "saving"))
    assert req.stream is not None
    try:
        taken = await Intake(store.incoming(image.id), ctx.thread).take(req.stream)
        await content.settle(store, ctx, image, taken)
    except BaseException:
        store.incoming(image.id).unlink(missing_ok=True)
        await ctx.write(lambda tx: images.restore(tx, image.id))
        raise
    return Response(204)


def _check_headers(req: Request) -> None:
    kind = req.headers.get("content-type", "").partition(";")[0].strip()
    if kind != "application/octet-stream":
        raise ImageFault(415, MEDIA_TYPE, f"Invalid content type {kind or None}")
    size = req.headers.get("x-openstack-image-size")
    if size is not None and not size.isdecimal():
        raise ImageFault(400, "Invalid or missing image size in request headers.")


def _begin(tx: Tx, req: Request, rule: str, status: str) -> Image:
    image = images.get(tx, req.caller, req["image_id"])
    try:
        access.require(tx, req, image, rule)
    except ImageFault as fault:
        if fault.status != 403:
            raise
        raise ImageFault(403, f"Not allowed to upload image data for image {image.id}") from None
    images.move(tx, image, status)
    return image


async def stage(store: Store, ctx: AsyncContext, req: Request) -> Response:
    """Take the bytes but leave them aside until they are imported."""
    _check_headers(req)
    image = await ctx.write(lambda tx: _begin(tx, req, "modify_image", "uploading"))
    assert req.stream is not None
    try:
        taken = await Intake(store.staged(image.id), ctx.thread).take(req.stream)
        await ctx.write(lambda tx: _note_size(tx, image.id, taken.size))
    except BaseException:
        store.staged(image.id).unlink(missing_ok=True)
        await ctx.write(lambda tx: images.restore(tx, image.id))
        raise
    return Response(204)


def _note_size(tx: Tx, image_id: str, size: int) -> None:
    image = images.find(tx, image_id)
    if image is None:
        raise ImageNotFound(image_id)
    images.save(tx, image, {"size": size})


async def download(store: Store, ctx: AsyncContext, req: Request) -> Response:
    """The bytes, or a range of them."""
    image = await ctx.read(lambda tx: _may_download(tx, req))
    if image.status not in WITH_BYTES or image.size is None:
        return Response(204)
    wanted = byte_range(req.headers.get("range"), req.headers.get("content-range"), image.size)
    start, stop = (0, image.size) if wanted is None else wanted
    headers = {"content-type": "application/octet-stream", "content-length": str(stop - start)}
    if image.checksum:
        headers["content-md5"] = image.checksum
    if wanted is not None:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{image.size}"
    path = store.path(image.id)
    if not path.exists():
        return Response(204)
    return Response(
        200 if wanted is None else 206, None, headers, read(path, start, stop - start, ctx.thread)
    )


def _may_download(tx: Tx, req: Request) -> Image:
    image = images.get(tx, req.caller, req["image_id"])
    if image.status == "deactivated" and not req.caller.is_admin:
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    access.require(tx, req, image, "download_image")
    return image


_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*\Z", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)\s*\Z", re.IGNORECASE)


def byte_range(wanted: str | None, content_range: str | None, size: int) -> tuple[int, int] | None:
    """Start and stop (exclusive) of a Range header, or of a Content-Range as older clients send; None for all."""
    if wanted is not None:
        return _from_range(wanted, size)
    if content_range is None:
        return None
    match = _CONTENT_RANGE.match(content_range)
    if match is None or int(match[1]) > int(match[2]):
        raise ImageFault(416, "Invalid Content-Range header.")
    start, stop = int(match[1]), int(match[2]) + 1
    for name, value, limit in (("stop", stop, size), ("start", start, size - 1)):
        if value > limit:
            raise ImageFault(
                416,
                f"Invalid {name} position in Content-Range header. "
                f"{'The stop' if name == 'stop' else 'Start'} position MUST be in the inclusive range [0, {size - 1}].",
            )
    return start, stop


def _from_range(text: str, size: int) -> tuple[int, int]:
    if "," in text:
        raise ImageFault(
            400,
            "Requests with multiple ranges are not supported in Glance. You may make multiple single-range "
            "requests instead.",
        )
    match = _RANGE.match(text)
    if (
        match is None
        or not (match[1] or match[2])
        or (match[1] and match[2] and int(match[1]) > int(match[2]))
    ):
        raise ImageFault(416, "Invalid Range header.")
    if not match[1]:
        return max(0, size - int(match[2])), size
    start = int(match[1])
    if start >= size:
        raise ImageFault(
            416,
            "Invalid start position in Range header. "
            f"Start position MUST be in the inclusive range [0, {size - 1}].",
        )
    return start, min(int(match[2]) + 1, size) if match[2] else size
