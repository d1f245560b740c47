"""Schemas of metadata definitions: what a body may be, and what ``/v2/schemas/metadefs/…`` shows."""

from __future__ import annotations

from typing import Any

from virga.api.schema import Checker

_TYPES = ["array", "boolean", "integer", "number", "object", "string", None]
_COUNT = {"type": "integer", "minimum": 0}
_WORDS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_NAME = {"type": "string", "maxLength": 80, "minLength": 1}
_MOMENT = {"type": "string", "readOnly": True, "format": "date-time"}

PROPERTY_FIELDS: dict[str, Any] = {
    "name": _NAME,
    "title": {"type": "string"},
    "description": {"type": "string"},
    "operators": {"type": "array", "items": {"type": "string"}},
    "type": {"type": "string", "enum": _TYPES},
    "required": _WORDS,
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "maxLength": _COUNT,
    "minLength": _COUNT,
    "pattern": {"type": "string"},
    "enum": {"type": "array"},
    "readonly": {"type": "boolean"},
    "default": {},
    "items": {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": _TYPES}, "enum": {"type": "array"}},
    },
    "maxItems": _COUNT,
    "minItems": _COUNT,
    "uniqueItems": {"type": "boolean", "default": False},
    "additionalItems": {"type": "boolean"},
}
_ONE_PROPERTY = {"type": "object", "required": ["title", "type"], "properties": PROPERTY_FIELDS}
_PROPERTIES = {"type": "object", "additionalProperties": _ONE_PROPERTY}
_LINKS = {"self": {"type": "string"}, "schema": {"type": "string"}}
OBJECT_FIELDS: dict[str, Any] = {
    "name": _NAME,
    "description": {"type": "string"},
    "required": _WORDS,
    "properties": _PROPERTIES,
    **_LINKS,
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
ASSOCIATION_FIELDS: dict[str, Any] = {
    "name": _NAME,
    "prefix": {"type": "string", "maxLength": 80},
    "properties_target": {"type": "string", "maxLength": 80},
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
}
TAG_FIELDS: dict[str, Any] = {"name": _NAME, "created_at": _MOMENT, "updated_at": _MOMENT}


def _item(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": ["name"]}


NAMESPACE_FIELDS: dict[str, Any] = {
    "namespace": _NAME,
    "display_name": {"type": "string", "maxLength": 80},
    "description": {"type": "string", "maxLength": 500},
    "visibility": {"type": "string", "enum": ["public", "private"]},
    "protected": {"type": "boolean"},
    "owner": {"type": "string", "maxLength": 255},
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
    **_LINKS,
    "resource_type_associations": {"type": "array", "items": _item(ASSOCIATION_FIELDS)},
    "properties": _PROPERTIES,
    "objects": {"type": "array", "items": _item(OBJECT_FIELDS)},
    "tags": {"type": "array", "items": _item(TAG_FIELDS)},
}


def _schema(name: str, fields: dict[str, Any], required: tuple[str, ...] = ("name",)) -> dict[str, Any]:
    return {
        "name": name,
        "type": "object",
        "properties": fields,
        "additionalProperties": False,
        "required": list(required),
    }


def _list(name: str, items: dict[str, Any]) -> dict[str, Any]:
    fields = {
        name: {"type": "array", "items": items},
        "first": {"type": "string"},
        "next": {"type": "string"},
        "schema": {"type": "string"},
    }
    return {
        "name": name,
        "properties": fields,
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


NAMESPACE = _schema("namespace", NAMESPACE_FIELDS, ("namespace",))
OBJECT = _schema("object", OBJECT_FIELDS)
PROPERTY = _schema("property", PROPERTY_FIELDS, ("name", "title", "type"))
TAG = _schema("tag", TAG_FIELDS)
ASSOCIATION = _schema("resource_type_association", ASSOCIATION_FIELDS)

SCHEMAS: dict[str, dict[str, Any]] = {
    "metadefs/namespace": NAMESPACE,
    "metadefs/namespaces": _list("namespaces", NAMESPACE),
    "metadefs/resource_type": ASSOCIATION,
    "metadefs/resource_types": _list("resource_type_associations", ASSOCIATION),
    "metadefs/object": OBJECT,
    "metadefs/objects": _list("objects", OBJECT),
    "metadefs/property": PROPERTY,
    "metadefs/properties": {
        "name": "properties",
        "properties": {"properties": {"type": "object", "additionalProperties": PROPERTY}},
        "links": [{"rel": "first", "href": "{first}"}, {"rel": "next", "href": "{next}"}],
    },
    "metadefs/tag": TAG,
    "metadefs/tags": _list("tags", TAG),
}

CHECK_NAMESPACE = Checker(NAMESPACE)
CHECKS = {
    "object": Checker(OBJECT),
    "property": Checker(PROPERTY),
    "tag": Checker(TAG),
    "resource_type": Checker(ASSOCIATION),
    "tags": Checker(
        {
            "type": "object",
            "properties": {"tags": {"type": "array", "items": _item(TAG_FIELDS)}},
            "required": ["tags"],
        }
    ),
}
