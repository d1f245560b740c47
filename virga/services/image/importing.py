"""``POST /v2/images/{id}/import``: bytes that were staged, or that lie at a URL, become the image's.

The request leaves a task and a job; the job fetches, looks, and activates. Only one task at a time
holds an image: its id is the property ``os_glance_import_task``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from virga.api.faults import BadRequest
from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.image import access, task
from virga.services.image import image as images
from virga.services.image.faults import ImageFault, not_authorized
from virga.services.image.fetch import is_fetchable
from virga.services.image.image import Image
from virga.services.image.image_api import IMPORT_METHODS
from virga.services.image.view import STORE

LOCK = "os_glance_import_task"
IMPORTING = "os_glance_importing_to_stores"
FAILED = "os_glance_failed_import"
JOB = "image.import"


class ImportArguments(msgspec.Struct):
    """What the job is told."""

    task_id: str
    image_id: str
    method: str
    uri: str = ""


def create(tx: Tx, req: Request) -> None:
    """Accept an import."""
    body = _body(req.body)
    method = body["method"]["name"]
    image = images.get(tx, req.caller, req["image_id"])
    _check_state(image, method)
    if method == "copy-image":
        if not req.allows("copy_image", access.target(tx, req, image)):
            raise not_authorized("copy_image")
    else:
        access.require(tx, req, image, "modify_image")
    if LOCK in image.properties:
        raise ImageFault(409, "Image has active task")
    _check_stores(body)
    if method == "copy-image":
        # The one store there is holds it already, so the copy is complete.
        if body.get("all_stores"):
            images.set_property(tx, image.id, IMPORTING, "")
            images.set_property(tx, image.id, FAILED, "")
            return
        raise BadRequest(f"Image is already present at store '{STORE}'")
    uri = body["method"].get("uri")
    if method == "web-download" and not (isinstance(uri, str) and is_fetchable(uri)):
        raise BadRequest(f"URI for web-download does not pass filtering: {uri}")
    start(tx, req, image, ImportArguments("", image.id, method, uri or ""), {"import_req": body})


def start(tx: Tx, req: Request, image: Image, arguments: ImportArguments, given: dict[str, Any]) -> str:
    """Make the task, lock the image and leave the job."""
    given = {"image_id": image.id, **given, "backend": [STORE]}
    task_id = task.add(tx, req, "api_image_import", image.id, given)
    images.set_property(tx, image.id, LOCK, task_id)
    images.set_property(tx, image.id, IMPORTING, STORE)
    images.set_property(tx, image.id, FAILED, "")
    tx.job(JOB, f"image:{image.id}", msgspec.structs.replace(arguments, task_id=task_id))
    return task_id


def _body(body: Any) -> dict[str, Any]:
    if body is None:
        raise BadRequest("Body expected in request.")
    if not isinstance(body, Mapping) or "method" not in body:
        raise BadRequest("Import request requires a 'method' field.")
    if not isinstance(body["method"], Mapping) or "name" not in body["method"]:
        raise BadRequest("Import request requires a 'name' field.")
    name = body["method"]["name"]
    if name not in IMPORT_METHODS:
        raise BadRequest(f"Unknown import method name '{name}'.")
    for flag in ("all_stores_must_succeed", "all_stores"):
        if not isinstance(body.get(flag, True), bool):
            raise BadRequest(f"'{flag}' must be boolean value only")
    return dict(body)


def _check_stores(body: Mapping[str, Any]) -> None:
    stores = body.get("stores", [])
    if not isinstance(stores, list):
        raise BadRequest("'stores' must be a list")
    if stores and body.get("all_stores"):
        raise BadRequest(
            "All_stores parameter can't be used with x-image-meta-store header or stores parameter"
        )
    for store in stores:
        if store != STORE:
            raise ImageFault(409, f"Unknown scheme '{store}' found in URI")


def _check_state(image: Image, method: str) -> None:
    problem = None
    if image.status == "active" and method != "copy-image":
        problem = "Image with status active cannot be target for import"
    elif image.status != "active" and method == "copy-image":
        problem = "Only images with status active can be targeted for copying"
    elif image.status != "queued" and method == "web-download":
        problem = f"Image needs to be in 'queued' state to use '{method}' method"
    elif image.status != "uploading" and method == "glance-direct":
        problem = "Image needs to be staged before 'glance-direct' method can be used"
    else:
        for name in ("container_format", "disk_format"):
            if not getattr(image, name):
                problem = f"'{name}' needs to be set before import"
                break
    if problem is not None:
        raise ImageFault(409, problem)
