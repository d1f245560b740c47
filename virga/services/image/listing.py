"""``GET /v2/images``: what the caller may see, filtered, sorted and cut into pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, UnaryExpression, and_, exists, false, or_, select

from virga.api.faults import BadRequest
from virga.api.request import Caller, Request
from virga.db.tx import Tx
from virga.lib.clock import parse_iso
from virga.services.image import models
from virga.services.image.attributes import SORT_KEYS, VISIBILITIES
from virga.services.image.image import Image, assemble
from virga.services.image.limits import PAGE_DEFAULT, PAGE_MAX

_T = models.image
_COMPARISONS = {
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "eq": lambda column, value: column == value,
    "neq": lambda column, value: column != value,
}
_OPERATOR = re.compile(r"(in|gt|gte|lt|lte|eq|neq):(.*)\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sorting:
    key: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Page:
    images: list[Image]
    next_marker: str | None


def page(tx: Tx, req: Request) -> Page:
    """The images of this request."""
    values = dict(req.query)
    limit = min(_limit(values.pop("limit", None)), PAGE_MAX)
    marker = values.pop("marker", None)
    member_status = values.pop("member_status", "accepted")
    if member_status not in ("pending", "accepted", "rejected", "all"):
        raise BadRequest(f"Invalid status: {member_status}")
    sorting = _sorting(req)
    for name in ("sort", "sort_key", "sort_dir", "tag"):
        values.pop(name, None)
    where = [_seen_by(req.caller, values.pop("visibility", None), member_status)]
    where += [_has_tag(tag.strip()) for tag in req.params("tag")]
    where += _conditions(values)
    if marker is not None:
        where.append(_after(tx, req.caller, marker, sorting))
    order = [_ordered(item) for item in sorting]
    rows = tx.all(select(_T).where(*where).order_by(*order).limit(limit)) if limit else []
    images = assemble(tx, rows)
    return Page(images, images[-1].id if rows and len(rows) == limit else None)


def links(req: Request, next_marker: str | None) -> dict[str, str]:
    """``first`` and ``next``."""
    values = {key: value for key, value in req.query if key != "marker"}
    query = urlencode(values)
    found = {"first": "/v2/images" + (f"?{query}" if query else "")}
    if next_marker is not None:
        found["next"] = "/v2/images?" + urlencode({**values, "marker": next_marker})
    return found


def _limit(text: str | None) -> int:
    if text is None:
        return PAGE_DEFAULT
    try:
        value = int(text)
    except ValueError:
        raise BadRequest("limit param must be an integer") from None
    if value < 0:
        raise BadRequest("limit param must be positive")
    return value


def _sorting(req: Request) -> list[Sorting]:
    keys, dirs = [], []
    combined = req.param("sort")
    if combined is not None:
        if req.params("sort_key") or req.params("sort_dir"):
            raise BadRequest("Old and new sorting syntax cannot be combined")
        for part in combined.strip().split(","):
            key, _, direction = part.partition(":")
            keys.append(_key(key.strip()))
            dirs.append(_direction(direction.strip() or "desc"))
    else:
        keys = [_key(text.strip()) for text in req.params("sort_key")]
        dirs = [_direction(text.strip()) for text in req.params("sort_dir")]
        if len(dirs) > 1 and len(dirs) != len(keys):
            raise BadRequest("Number of sort dirs does not match the number of sort keys")
    keys = keys or ["created_at"]
    default = dirs[0] if len(dirs) == 1 else "desc"
    if len(dirs) != len(keys):
        dirs = [default] * len(keys)
    for key in ("created_at", "id"):
        if key not in keys:
            keys.append(key)
            dirs.append(default)
    return [Sorting(key, direction == "desc") for key, direction in zip(keys, dirs, strict=True)]


def _ordered(item: Sorting) -> UnaryExpression[Any]:
    """Rows without a value come first, as in every database that OpenStack is used with."""
    column = _T.c[item.key]
    return column.desc().nulls_last() if item.descending else column.asc().nulls_first()


def _key(text: str) -> str:
    if text not in SORT_KEYS:
        raise BadRequest(
            f"Invalid sort key: {text}. It must be one of the following: {', '.join(SORT_KEYS)}."
        )
    return text


def _direction(text: str) -> str:
    if text not in ("asc", "desc"):
        raise BadRequest(f"Invalid sort direction: {text}")
    return text


def _seen_by(caller: Caller, visibility: str | None, member_status: str) -> ColumnElement[bool]:
    if visibility and visibility not in (*VISIBILITIES, "all"):
        raise BadRequest(f"Invalid visibility value: {visibility}")
    own = _T.c.owner == caller.project_id
    parts: list[ColumnElement[bool]] = []
    if not caller.is_admin:
        member = models.image_member
        shared = [member.c.image_id == _T.c.id, member.c.member_id == caller.project_id]
        if member_status != "all":
            shared.append(member.c.status == member_status)
        parts.append(
            or_(
                _T.c.visibility.in_(("public", "community")),
                own,
                and_(_T.c.visibility == "shared", exists().where(*shared)),
            )
        )
    if visibility and visibility != "all":
        parts.append(_T.c.visibility == visibility)
    elif not visibility:
        parts.append(or_(own, _T.c.visibility != "community"))
    return and_(True, *parts)


def _has_tag(tag: str) -> ColumnElement[bool]:
    table = models.image_tag
    return exists().where(table.c.image_id == _T.c.id, table.c.value == tag)


def _conditions(values: Mapping[str, str]) -> list[ColumnElement[bool]]:
    if "changes-since" in values:
        raise BadRequest('The "changes-since" filter is no longer available on v2.')
    hidden = values.get("os_hidden", "false").lower()
    found: list[ColumnElement[bool]] = [_T.c.os_hidden.is_(_flag(hidden, "os_hidden"))]
    for name, value in values.items():
        if name == "os_hidden":
            continue
        found.append(_condition(name, value))
    return found


def _flag(text: str, name: str) -> bool:
    if text not in ("true", "false"):
        raise BadRequest(f"Invalid value '{text}' for '{name}' filter. Valid values are 'true' or 'false'.")
    return text == "true"


def _condition(name: str, value: str) -> ColumnElement[bool]:
    if name == "protected":
        return _T.c.protected.is_(_flag(value, name))
    if name.endswith(("_min", "_max")) and name[:-4] in ("size", "min_ram", "min_disk", "virtual_size"):
        try:
            number = int(value)
        except ValueError:
            raise BadRequest("Unable to filter on a range with a non-numeric value.") from None
        number = max(-(2**63), min(number, 2**63 - 1))
        column = _T.c[name[:-4]]
        return column >= number if name.endswith("_min") else column <= number
    if name in ("created_at", "updated_at"):
        return _moment(name, value)
    if name in ("name", "id", "status", "container_format", "disk_format"):
        return _named(name, value)
    if name in ("size", "min_disk", "min_ram", "virtual_size"):
        return _T.c[name] == (int(value) if value.isdecimal() and len(value) < 19 else -1)
    if name in ("owner", "checksum", "os_hash_value", "os_hash_algo"):
        return _T.c[name] == value
    table = models.image_property
    return exists().where(table.c.image_id == _T.c.id, table.c.name == name, table.c.value == value)


def _operator(text: str) -> tuple[str, str]:
    match = _OPERATOR.match(text)
    if match:
        return match[1], match[2]
    return "eq", text


def _moment(name: str, value: str) -> ColumnElement[bool]:
    operator, text = _operator(value)
    try:
        moment = parse_iso(text)
    except ValueError:
        raise BadRequest(f'Bad "{name}" query filter format. Use ISO 8601 DateTime notation.') from None
    if operator not in _COMPARISONS:
        raise BadRequest(f"Unable to filter by unknown operator '{operator}'.")
    # Clients know seconds only, so a whole second counts as one moment.
    column = _T.c[name] // 1_000_000
    result: ColumnElement[bool] = _COMPARISONS[operator](column, moment // 1_000_000)
    return result


def _named(name: str, value: str) -> ColumnElement[bool]:
    operator, text = _operator(value)
    if operator == "in":
        return _T.c[name].in_(split_quoted(text))
    if operator == "eq":
        return _T.c[name] == text
    raise BadRequest(f"Unable to filter by unknown operator '{operator}'.")


def split_quoted(text: str) -> list[str]:
    """``a,"b,c",d`` to its three values; quotes must pair up and stand beside commas."""
    pattern = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,"]*)')
    found: list[str] = []
    position = 0
    while True:
        match = pattern.match(text, position)
        assert match is not None
        position = match.end()
        if match[1] is not None:
            found.append(match[1].replace('\\"', '"'))
        else:
            found.append(match[2])
        if position == len(text):
            return found
        if text[position] != ",":
            raise BadRequest(f"Invalid filter value {text}. There is no comma before opening quotation mark.")
        position += 1


def _after(tx: Tx, caller: Caller, marker: str, sorting: Sequence[Sorting]) -> ColumnElement[bool]:
    """Rows that come after the marker in this order."""
    row = tx.first(select(_T).where(_T.c.id == marker))
    if row is None:
        raise BadRequest(f"No image found with ID {marker}")
    alternatives: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for item in sorting:
        column, value = _T.c[item.key], row._mapping[item.key]
        if value is None:
            # NULLs sort first; nothing is smaller, and everything that has a value is greater.
            beyond: ColumnElement[bool] = false() if item.descending else column.is_not(None)
            same: ColumnElement[bool] = column.is_(None)
        else:
            beyond = or_(column < value, column.is_(None)) if item.descending else column > value
            same = column == value
        alternatives.append(and_(*equal, beyond))
        equal.append(same)
    return or_(*alternatives)
