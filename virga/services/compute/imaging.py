"""What Compute asks of Image: the facts of an image before a server may use it, and new images of servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from virga.db.tx import Tx
from virga.services.compute.faults import Invalid
from virga.services.image import image as images
from virga.services.image.faults import ImageNotFound


@dataclass(frozen=True)
class Image:
    """An image as a server sees it."""

    id: str
    name: str
    status: str
    min_ram: int
    min_disk: int
    size: int
    disk_format: str
    container_format: str
    owner: str
    checksum: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)


def _from(row: images.Image) -> Image:
    return Image(
        id=row.id,
        name=row.name or "",
        status=row.status,
        min_ram=row.min_ram,
        min_disk=row.min_disk,
        size=row.virtual_size or row.size or 0,
        disk_format=row.disk_format or "raw",
        container_format=row.container_format or "bare",
        owner=row.owner or "",
        checksum=row.checksum,
        properties=dict(row.properties),
    )


def find(tx: Tx, caller: Any, image_id: str) -> Image | None:
    """The image, if the caller may see it."""
    try:
        return _from(images.get(tx, caller, image_id))
    except ImageNotFound:
        return None


def stored(tx: Tx, image_id: str) -> Image | None:
    """The image whoever asks: for hosts, which serve whom the row says."""
    row = images.find(tx, image_id)
    return _from(row) if row is not None else None


def usable(tx: Tx, caller: Any, image_id: str, flavor: dict[str, Any] | None = None) -> Image:
    """The image, fit to boot from with this flavor. Raises Invalid."""
    found = find(tx, caller, image_id)
    if found is None:
        raise Invalid("Can not find requested image")
    if found.status != "active":
        raise Invalid(f"Image {image_id} is not active.", type="ImageNotActive")
    if flavor is not None:
        check_fits(found, flavor)
    return found


def check_fits(found: Image, flavor: dict[str, Any]) -> None:
    """The flavor must have the memory and disk that the image asks for."""
    if flavor["memory_mb"] < found.min_ram:
        raise Invalid("Flavor's memory is too small for requested image.", type="FlavorMemoryTooSmall")
    root = flavor["root_gb"]
    if not root:
        return
    if found.size > root << 30:
        raise Invalid(
            f"Flavor's disk is too small for requested image. Flavor disk is {root << 30} bytes, image is "
            f"{found.size} bytes.",
            type="FlavorDiskSmallerThanImage",
        )
    if found.min_disk > root:
        raise Invalid(
            f"Flavor's disk is smaller than the minimum size specified in image metadata. Flavor disk is "
            f"{root << 30} bytes, minimum size is {found.min_disk << 30} bytes.",
            type="FlavorDiskSmallerThanMinDisk",
        )
