"""What Compute asks of Image: the facts of an image before a server may use it, and new images of servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from virga.db.tx import Tx
from virga.services.compute.faults import Invalid


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
    path: str = ""
    checksum: str | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    virtual_size: int = 0


def find(tx: Tx, caller: Any, image_id: str) -> Image | None:
    """The image, if the caller may see it."""
    return None


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


def stored(tx: Tx, image_id: str) -> Image | None:
    """The image whoever asks: for hosts, which serve whom the row says."""
    return None
