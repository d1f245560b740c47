"""Images: the verbs that other services and the HTTP handlers use.

States: queued -> saving -> active <-> deactivated; queued -> uploading -> importing -> active. A failed
upload falls back to queued, so that it can be tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from virga.api.faults import Conflict, Forbidden
from virga.api.request import Caller
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.image import models
from virga.services.image.faults import ImageFault, ImageNotFound, WrongStatus
from virga.services.image.limits import check_properties, check_tags

NEXT_STATES = {
    "queued": {"saving", "uploading", "importing", "active", "deleted"},
    "saving": {"active", "deleted", "queued"},
    "uploading": {"importing", "queued", "deleted"},
    "importing": {"active", "deleted", "queued"},
    "active": {"deleted", "deactivated"},
    "deactivated": {"active", "deleted"},
}


@dataclass(frozen=True, slots=True)
class Image:
    """One image with its custom properties and tags."""

    id: str
    name: str | None
    status: str
    visibility: str
    owner: str | None
    size: int | None
    virtual_size: int | None
    disk_format: str | None
    container_format: str | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    min_disk: int
    min_ram: int
    protected: bool
    os_hidden: bool
    detected_format: str | None
    created_at: int
    updated_at: int
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    def target(self, caller: Caller | None = None, member_id: str | None = None) -> dict[str, Any]:
        """What policies look at."""
        return {
            "project_id": self.owner,
            "owner": self.owner,
            "visibility": self.visibility,
            "member_id": member_id,
        }


@dataclass(frozen=True, slots=True)
class Content:
    """What was measured while the bytes came in."""

    size: int
    checksum: str
    os_hash_value: str
    virtual_size: int | None = None
    detected_format: str | None = None
    os_hash_algo: str = "sha512"


def assemble(tx: Tx, rows: Sequence[Row[Any]]) -> list[Image]:
    """Rows with their properties and tags: two more queries, however many rows there are."""
    ids = [row.id for row in rows]
    properties: dict[str, dict[str, str]] = {}
    tags: dict[str, list[str]] = {}
    for start in range(0, len(ids), 500):
        part = ids[start : start + 500]
        table = models.image_property
        for row in tx.all(select(table).where(table.c.image_id.in_(part)).order_by(table.c.name)):
            properties.setdefault(row.image_id, {})[row.name] = row.value
        for row in tx.all(select(models.image_tag).where(models.image_tag.c.image_id.in_(part))):
            tags.setdefault(row.image_id, []).append(row.value)
    return [
        Image(**row._mapping, properties=properties.get(row.id, {}), tags=tuple(tags.get(row.id, ())))
        for row in rows
    ]


def find(tx: Tx, image_id: str) -> Image | None:
    """The image, whoever owns it; None when there is none."""
    row = tx.first(select(models.image).where(models.image.c.id == image_id))
    return assemble(tx, [row])[0] if row is not None else None


def get(tx: Tx, caller: Caller, image_id: str) -> Image:
    """The image, if the caller may see it. Raises ImageNotFound."""
    found = find(tx, image_id)
    if found is None or not is_visible(tx, caller, found):
        raise ImageNotFound(image_id)
    return found


def is_visible(tx: Tx, caller: Caller, image: Image) -> bool:
    """Whether the caller may know of the image."""
    if caller.is_admin or image.owner is None or image.visibility in ("public", "community"):
        return True
    if caller.project_id is None:
        return False
    if image.owner == caller.project_id:
        return True
    return image.visibility == "shared" and membership(tx, image.id, caller.project_id) is not None


def membership(tx: Tx, image_id: str, project_id: str | None) -> Row[Any] | None:
    """The row that shares the image with the project."""
    table = models.image_member
    return tx.first(select(table).where(table.c.image_id == image_id, table.c.member_id == project_id))


def create(
    tx: Tx,
    values: Mapping[str, Any],
    properties: Mapping[str, str],
    tags: Iterable[str] = (),
) -> Image:
    """A queued image. Policies are the caller's business (see ``image_api.create``)."""
    image_id = values.get("id") or new_uuid()
    if find(tx, image_id) is not None:
        raise Conflict(f"Image ID {image_id} already exists!")
    tag_set = dict.fromkeys(tags)
    check_properties(len(properties))
    check_tags(len(tag_set))
    row = {
        "id": image_id,
        "name": values.get("name"),
        "status": "queued",
        "visibility": values.get("visibility") or "shared",
        "owner": values.get("owner"),
        "disk_format": values.get("disk_format"),
        "container_format": values.get("container_format"),
        "min_disk": _not_negative(values.get("min_disk") or 0, "min_disk"),
        "min_ram": _not_negative(values.get("min_ram") or 0, "min_ram"),
        "protected": bool(values.get("protected")),
        "os_hidden": bool(values.get("os_hidden")),
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    tx.execute(insert(models.image).values(**row))
    _write_properties(tx, image_id, properties)
    _write_tags(tx, image_id, tag_set)
    made = find(tx, image_id)
    assert made is not None
    return made


def _not_negative(value: int, name: str) -> int:
    if not -(2**31) <= value < 2**31:
        raise ImageFault(400, f"Invalid value '{value}' for parameter '{name}': Out of range")
    if value < 0:
        raise ImageFault(400, f"Invalid value '{value}' for parameter '{name}': Cannot be a negative value")
    return value


def _write_properties(tx: Tx, image_id: str, properties: Mapping[str, str]) -> None:
    if properties:
        rows = [{"image_id": image_id, "name": k, "value": str(v)} for k, v in properties.items()]
        tx.execute(insert(models.image_property), rows)


def _write_tags(tx: Tx, image_id: str, tags: Iterable[str]) -> None:
    rows = [{"image_id": image_id, "value": value} for value in tags]
    if rows:
        tx.execute(insert(models.image_tag), rows)


def save(
    tx: Tx,
    image: Image,
    values: Mapping[str, Any],
    properties: Mapping[str, str] | None = None,
    tags: Iterable[str] | None = None,
) -> Image:
    """Change columns; replace all properties and tags where given."""
    for name in ("min_disk", "min_ram"):
        if name in values:
            _not_negative(values[name], name)
    changed = {**values, "updated_at": tx.now}
    tx.execute(update(models.image).where(models.image.c.id == image.id).values(**changed))
    if properties is not None:
        check_properties(len(properties))
        tx.execute(delete(models.image_property).where(models.image_property.c.image_id == image.id))
        _write_properties(tx, image.id, properties)
    if tags is not None:
        tag_set = dict.fromkeys(tags)
        check_tags(len(tag_set))
        tx.execute(delete(models.image_tag).where(models.image_tag.c.image_id == image.id))
        _write_tags(tx, image.id, tag_set)
    saved = find(tx, image.id)
    assert saved is not None
    return saved


def set_property(tx: Tx, image_id: str, name: str, value: str | None) -> None:
    """Write or remove one property, also a reserved one."""
    table = models.image_property
    tx.execute(delete(table).where(table.c.image_id == image_id, table.c.name == name))
    if value is not None:
        tx.execute(insert(table).values(image_id=image_id, name=name, value=value))


def move(tx: Tx, image: Image, status: str) -> None:
    """Change the state. Raises WrongStatus; 400 when data comes before the formats are known."""
    if status not in NEXT_STATES.get(image.status, ()):
        raise WrongStatus(image.status, status)
    if image.status in ("queued", "uploading") and status in ("saving", "active", "importing"):
        missing = [name for name in ("disk_format", "container_format") if not getattr(image, name)]
        if missing:
            noun = "Property" if len(missing) == 1 else "Properties"
            raise ImageFault(400, f"{noun} {', '.join(missing)} must be set prior to saving data.")
    values: dict[str, Any] = {"status": status, "updated_at": tx.now}
    if status == "queued":
        values |= {"size": None, "virtual_size": None}
    tx.execute(update(models.image).where(models.image.c.id == image.id).values(**values))


def activate(tx: Tx, image_id: str, content: Content) -> None:
    """The bytes are in their place: the image may be used. Raises ImageNotFound when it was deleted meanwhile."""
    changed = tx.execute(
        update(models.image)
        .where(models.image.c.id == image_id, models.image.c.status.in_(("queued", "saving", "importing")))
        .values(
            status="active",
            size=content.size,
            virtual_size=content.virtual_size,
            checksum=content.checksum,
            os_hash_algo=content.os_hash_algo,
            os_hash_value=content.os_hash_value,
            detected_format=content.detected_format,
            updated_at=tx.now,
        )
    )
    if not changed.rowcount:
        raise ImageNotFound(image_id)


def restore(tx: Tx, image_id: str) -> None:
    """An upload failed: back to queued, to be tried again."""
    tx.execute(
        update(models.image)
        .where(models.image.c.id == image_id, models.image.c.status.in_(("saving", "importing", "uploading")))
        .values(status="queued", size=None, virtual_size=None, updated_at=tx.now)
    )


def remove(tx: Tx, image: Image, *, half_made: bool = False) -> None:
    """Forget the image; its files are the caller's to remove after the commit. Nothing protects one that never was."""
    if image.protected and not half_made:
        raise Forbidden(f"Image {image.id} is protected and cannot be deleted.")
    tx.execute(delete(models.image).where(models.image.c.id == image.id))
    for table in (models.image_property, models.image_tag, models.image_member):
        tx.execute(delete(table).where(table.c.image_id == image.id))
