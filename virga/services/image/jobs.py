"""Background work of the Image service: imports. Each may run again after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from sqlalchemy import select

from virga.api.context import AsyncContext
from virga.api.faults import Fault
from virga.api.jobs import Job
from virga.db.tx import Tx
from virga.services.image import content, task
from virga.services.image import image as images
from virga.services.image.fetch import FetchError, pieces
from virga.services.image.image import Image
from virga.services.image.importing import FAILED, IMPORTING, LOCK, ImportArguments
from virga.services.image.importing import JOB as IMPORT_JOB
from virga.services.image.models import image_task
from virga.services.image.store import Intake, Store, measure
from virga.services.image.task import JOB as TASK_JOB
from virga.services.image.task import TaskArguments
from virga.services.image.view import STORE


async def run_import(ctx: AsyncContext, arguments: ImportArguments) -> None:
    """Fetch or take the staged bytes, look at them, activate; on failure the image is queued again."""
    store = Store(ctx.settings)
    image = await ctx.write(lambda tx: _begin(tx, arguments))
    if image is None:
        return
    problem: str | None = None
    try:
        taken = await _take(store, ctx, arguments)
        await content.settle(store, ctx, image, taken)
    except Fault as fault:
        problem = getattr(fault, "detail", "") or fault.message
    except (FetchError, OSError) as error:
        problem = str(error)
    if problem is not None:
        store.incoming(image.id).unlink(missing_ok=True)
        store.staged(image.id).unlink(missing_ok=True)
    await ctx.write(lambda tx: _end(tx, arguments, problem))


def _begin(tx: Tx, arguments: ImportArguments) -> Image | None:
    """The image, now importing; None when it is gone or was imported before the crash."""
    task.begin(tx, arguments.task_id)
    image = images.find(tx, arguments.image_id)
    if image is None:
        task.finish(tx, arguments.task_id, None, f"Image {arguments.image_id} was deleted")
        return None
    if image.status == "active":
        _end(tx, arguments, None)
        return None
    if image.status != "importing":
        images.move(tx, image, "importing")
    return images.find(tx, arguments.image_id)


def _end(tx: Tx, arguments: ImportArguments, problem: str | None) -> None:
    image_id = arguments.image_id
    task.finish(tx, arguments.task_id, image_id, problem)
    if images.find(tx, image_id) is None:
        return
    images.set_property(tx, image_id, LOCK, None)
    images.set_property(tx, image_id, IMPORTING, "")
    images.set_property(tx, image_id, FAILED, STORE if problem else "")
    if problem is not None:
        images.restore(tx, image_id)


async def _take(store: Store, ctx: AsyncContext, arguments: ImportArguments) -> images.Content:
    incoming = store.incoming(arguments.image_id)
    if arguments.method == "web-download":
        return await Intake(incoming, ctx.thread).take(_fetched(ctx, arguments.uri))
    incoming.parent.mkdir(parents=True, exist_ok=True)
    staged = store.staged(arguments.image_id)
    if staged.exists():
        staged.replace(incoming)
    return await ctx.thread(lambda: measure(incoming))


async def _fetched(ctx: AsyncContext, uri: str) -> AsyncIterator[bytes]:
    source = pieces(uri)
    while True:
        piece = await asyncio.to_thread(next, source, None)
        if piece is None:
            return
        yield piece


async def run_task(ctx: AsyncContext, arguments: TaskArguments) -> None:
    """A task of type ``import``: make an image, then import it from the URL."""
    made = await ctx.write(lambda tx: _make_image(tx, arguments.task_id))
    if made is not None:
        await run_import(ctx, made)


def _make_image(tx: Tx, task_id: str) -> ImportArguments | None:
    row = tx.first(select(image_task).where(image_task.c.id == task_id))
    if row is None or row.status in ("success", "failure"):
        return None
    if row.type != "import":
        task.finish(tx, task_id, None, f"Tasks of type {row.type} are started by the Image API itself.")
        return None
    given: dict[str, Any] = row.input
    if row.image_id is None:
        properties = dict(given.get("image_properties") or {})
        known = ("name", "visibility", "disk_format", "container_format", "min_disk", "min_ram")
        values = {name: properties.pop(name) for name in known if name in properties}
        values.setdefault("disk_format", given["import_from_format"])
        values.setdefault("container_format", "bare")
        try:
            image = images.create(
                tx, {**values, "owner": row.owner}, {k: str(v) for k, v in properties.items()}
            )
        except Fault as fault:
            task.finish(tx, task_id, None, fault.message)
            return None
        tx.execute(image_task.update().where(image_task.c.id == task_id).values(image_id=image.id))
        return ImportArguments(task_id, image.id, "web-download", str(given["import_from"]))
    return ImportArguments(task_id, row.image_id, "web-download", str(given["import_from"]))


JOBS = {
    IMPORT_JOB: Job(run_import, ImportArguments),
    TASK_JOB: Job(run_task, TaskArguments),
}
