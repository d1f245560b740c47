"""``/v2/info``: import methods, stores and usage; ``/v2/schemas``: the shapes of things."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request
from virga.db.tx import Tx
from virga.services.image.attributes import IMAGE_SCHEMA
from virga.services.image.image_api import IMPORT_METHODS
from virga.services.image.metadef_schema import SCHEMAS as METADEF_SCHEMAS
from virga.services.image.store import READ, Store
from virga.services.image.view import STORE

_UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_TEXT = {"type": "string"}

MEMBER_SCHEMA: dict[str, Any] = {
    "name": "member",
    "properties": {
        "member_id": {**_TEXT, "description": "An identifier for the image member (tenantId)"},
        "image_id": {**_TEXT, "description": "An identifier for the image", "pattern": _UUID},
        "created_at": {**_TEXT, "description": "Date and time of image member creation"},
        "updated_at": {**_TEXT, "description": "Date and time of last modification of image member"},
        "status": {
            **_TEXT,
            "description": "The status of this image member",
            "enum": ["pending", "accepted", "rejected"],
        },
        "schema": {"readOnly": True, "type": "string"},
    },
}

TASK_SCHEMA: dict[str, Any] = {
    "name": "task",
    "properties": {
        "id": {**_TEXT, "description": "An identifier for the task", "pattern": _UUID},
        "type": {
            **_TEXT,
            "description": "The type of task represented by this content",
            "enum": ["import", "api_image_import", "location_import"],
        },
        "status": {
            **_TEXT,
            "description": "The current status of this task",
            "enum": ["pending", "processing", "success", "failure"],
        },
        "input": {"description": "The parameters required by task, JSON blob", "type": ["null", "object"]},
        "result": {"description": "The result of current task, JSON blob", "type": ["null", "object"]},
        "owner": {**_TEXT, "description": "An identifier for the owner of this task"},
        "message": {
            **_TEXT,
            "description": "Human-readable informative message only included when appropriate "
            "(usually on failure)",
        },
        "image_id": {**_TEXT, "description": "Image associated with the task"},
        "request_id": {**_TEXT, "description": "Human-readable informative request-id"},
        "user_id": {**_TEXT, "description": "User associated with the task"},
        "expires_at": {
            **_TEXT,
            "description": "Datetime when this resource would be subject to removal",
        },
        "created_at": {**_TEXT, "description": "Datetime when this resource was created"},
        "updated_at": {**_TEXT, "description": "Datetime when this resource was updated"},
        "self": {"readOnly": True, **_TEXT},
        "schema": {"readOnly": True, **_TEXT},
    },
}


def _collection(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": _TEXT,
            "next": _TEXT,
            "schema": _TEXT,
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "image": IMAGE_SCHEMA,
    "images": _collection("images", IMAGE_SCHEMA),
    "member": MEMBER_SCHEMA,
    "members": {
        "name": "members",
        "properties": {"members": {"type": "array", "items": MEMBER_SCHEMA}, "schema": _TEXT},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    },
    "task": TASK_SCHEMA,
    "tasks": _collection("tasks", TASK_SCHEMA),
    **METADEF_SCHEMAS,
}


def schema(name: str, tx: Tx, req: Request) -> dict[str, Any]:
    """The JSON schema of this name."""
    return SCHEMAS[name]


def import_methods(tx: Tx, req: Request) -> dict[str, Any]:
    """How images can be imported."""
    return {
        "import-methods": {
            "description": "Import methods available.",
            "type": "array",
            "value": list(IMPORT_METHODS),
        }
    }


def stores(tx: Tx, req: Request) -> dict[str, Any]:
    """Where images are kept."""
    return {"stores": [{"id": STORE, "default": "true"}]}


def stores_detail(store: Store, tx: Tx, req: Request) -> dict[str, Any]:
    """The same with what an admin may know."""
    properties = {"data_dir": str(store.directory), "chunk_size": READ, "thin_provisioning": False}
    return {
        "stores": [{"id": STORE, "default": "true", "type": "file", "weight": 0, "properties": properties}]
    }


def usage(tx: Tx, req: Request) -> dict[str, Any]:
    """Quotas in use: there are none."""
    return {"usage": {}}
