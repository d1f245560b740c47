"""What happens to bytes that came in: they are looked at, put in their place, and the image becomes active."""

from __future__ import annotations

import dataclasses

from virga.api.context import AsyncContext
from virga.services.image import image as images
from virga.services.image.faults import ImageFault, ImageNotFound, unsupported_content
from virga.services.image.image import Content, Image
from virga.services.image.inspector import judge
from virga.services.image.store import Store


async def settle(store: Store, ctx: AsyncContext, image: Image, taken: Content) -> None:
    """From the incoming file to an active image. Raises 415 for bytes that may not be used, 410 when it was deleted."""
    path = store.incoming(image.id)
    whole = dataclasses.replace(taken, virtual_size=None)
    if image.container_format == "bare":
        verdict = await ctx.thread(lambda: judge(path, image.disk_format or ""))
        if verdict.unsafe:
            raise unsupported_content("Image failed safety checks")
        if verdict.mismatch and ctx.settings.image_format_match:
            raise unsupported_content(verdict.mismatch)
        whole = dataclasses.replace(
            taken, virtual_size=verdict.virtual_size, detected_format=verdict.detected
        )
    await ctx.thread(lambda: store.adopt(path, image.id))
    try:
        await ctx.write(lambda tx: images.activate(tx, image.id, whole))
    except ImageNotFound:
        store.discard(image.id)
        raise ImageFault(
            410,
            f"Image {image.id} could not be found after upload. The image may have been deleted during the "
            "upload, cleaning up the chunks uploaded.",
        ) from None
