"""Volumes over HTTP: shown, renamed, deleted; their metadata and that of their images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.services.block_storage import schema, volume, volume_list, volume_view
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, Missing
from virga.services.block_storage.metadata import MetadataOf
from virga.services.block_storage.schema import Body, obj, query_truth
from virga.services.block_storage.volume import Volume
from virga.settings import Settings

Verb = Callable[[Tx, Request, Volume], Any]

UPDATE = Body(
    obj(
        {
            "volume": obj(
                {
                    "name": schema.NAME,
                    "description": schema.DESCRIPTION,
                    "display_name": schema.NAME,
                    "display_description": schema.DESCRIPTION,
                    "metadata": schema.METADATA_OR_NULL,
                },
            )
        },
        ["volume"],
    )
)


def on_volume(rule: str, verb: Verb) -> Callable[[Tx, Request], Any]:
    """A handler that finds the volume, asks the policy about it, and calls ``verb``."""

    def handler(tx: Tx, req: Request) -> Any:
        row = volume.get(tx, req.caller, req["volume_id"])
        req.enforce(rule, volume.target(row))
        return verb(tx, req, row)

    return handler


def show(tx: Tx, req: Request, row: Volume) -> Any:
    return {"volume": volume_view.full(tx, req, [row])[0]}


def change(tx: Tx, req: Request, row: Volume) -> Any:
    asked = UPDATE.check(req)["volume"]
    values: dict[str, Any] = {}
    for name in ("name", "description"):
        for key in (f"display_{name}", name):
            if key in asked:
                values[name] = asked[key].strip() if isinstance(asked[key], str) else asked[key]
    if asked.get("metadata") is not None:
        values["metadata"] = asked["metadata"]
    if not values:
        raise Invalid(
            "At least one of the 'name', 'description', 'display_name', 'display_description', 'metadata' must be set."
        )
    row = volume.save(tx, row.id, **values)
    return {"volume": volume_view.full(tx, req, [row], shown=False)[0]}


def remove(tx: Tx, req: Request, row: Volume) -> Any:
    cascade = query_truth("cascade", req.param("cascade") or "false")
    force = req.microversion >= (3, 23) and query_truth("force", req.param("force") or "false")
    if force:
        req.enforce("volume:force_delete", volume.target(row))
    volume.delete(tx, row, force=force, cascade=cascade)
    return Response(202)


def change_image_metadata(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    asked = SET_IMAGE_METADATA.check(req)["os-set_image_metadata"]
    if row.image_metadata is None and not asked["metadata"]:
        return {"metadata": {}}
    merged = {**(row.image_metadata or {}), **asked["metadata"]}
    volume.save(tx, row.id, image_metadata=merged)
    return {"metadata": merged}


SET_IMAGE_METADATA = Body(
    schema.wrapped("os-set_image_metadata", obj({"metadata": schema.METADATA}, ["metadata"]))
)
UNSET_IMAGE_METADATA = Body(
    schema.wrapped("os-unset_image_metadata", obj({"key": schema.REAL_NAME}, ["key"]))
)


def show_image_metadata(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    return {"metadata": row.image_metadata or {}}


def remove_image_metadata(tx: Tx, req: Request, row: Volume, asked: Any) -> Any:
    key = UNSET_IMAGE_METADATA.check(req)["os-unset_image_metadata"]["key"]
    kept = dict(row.image_metadata or {})
    if key not in kept:
        raise Missing("Metadata does not exist.")
    del kept[key]
    volume.save(tx, row.id, image_metadata=kept or None)
    return Response(200)


METADATA = MetadataOf(
    "Volume",
    "volume_id",
    volume.get,
    lambda tx, row, values: volume.save(tx, row.id, metadata=values),
    "volume:{verb}_volume_metadata",
    shown=lambda tx, row: volume_view.metadata(
        row, [a for a in volume.attachments(tx, [row.id])[row.id] if a.status == "attached"]
    ),
)


def routes(settings: Settings) -> list[Both]:
    return [
        Both("GET", "/volumes", volume_list.index, "volume:get_all"),
        Both("GET", "/volumes/detail", volume_list.detail, "volume:get_all"),
        Both("GET", "/volumes/summary", volume_list.summary, "volume:get_all", min_version=(3, 12)),
        Both("GET", "/volumes/{volume_id}", on_volume("volume:get", show), AUTHENTICATED),
        Both("PUT", "/volumes/{volume_id}", on_volume("volume:update", change), AUTHENTICATED),
        Both("DELETE", "/volumes/{volume_id}", on_volume("volume:delete", remove), AUTHENTICATED, status=202),
        *METADATA.routes("/volumes/{volume_id}"),
    ]
