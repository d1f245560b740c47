"""The disks that belong to an instance itself: root overlay, rescue disk, ephemeral, swap, config drive."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from virga.agent.drivers import config_drive, qemu_img
from virga.agent.drivers.image_cache import ImageCache
from virga.agent.drivers.instance_home import InstanceHome
from virga.agent.drivers.qemu_command import DiskPlan, disk_name, file_node, iscsi_node
from virga.agent.drivers.qemu_img import GIB, DiskError
from virga.agent.drivers.volume_layers import resolve
from virga.contract.items import Disk, ImageRef, Instance


def build(home: InstanceHome, item: Instance, cache: ImageCache) -> list[str]:
    """Make what is missing; keep what is there. Returns the ids of the images that were used."""
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    used = [image.id for image in (item.image, item.kernel, item.ramdisk, item.rescue_image) if image]
    if not home.disk.exists():
        if item.source_disk and Path(item.source_disk).exists():
            _take_over(Path(item.source_disk), home.disk)
        elif item.image is not None:
            _overlay(home.disk, item.image, cache, item.root_gb)
        elif item.source_disk:
            raise DiskError(f"the disk {item.source_disk} that the instance should take over is not there")
    if item.rescue_image is not None and not home.rescue_disk.exists():
        _overlay(home.rescue_disk, item.rescue_image, cache, 0)
    if item.rescue_image is None:
        home.rescue_disk.unlink(missing_ok=True)
    if item.ephemeral_gb and not home.ephemeral_disk.exists():
        argv = ["mkfs.ext4", "-q", "-F", "-L", "ephemeral0"]
        _formatted(home.ephemeral_disk, item.ephemeral_gb * GIB, argv)
    if item.swap_mb and not home.swap_disk.exists():
        _formatted(home.swap_disk, item.swap_mb * 1024 * 1024, ["mkswap"])
    if item.config_drive and not home.config_drive.exists():
        config_drive.build(home.config_drive, item.config_drive_files)
    return used


def build_empty(home: InstanceHome, item: Instance, sizes: Mapping[str, int]) -> None:
    """Disks of exactly these sizes, for another host to fill."""
    home.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    places = {
        "disk-root": (home.disk, "qcow2"),
        "disk-eph0": (home.ephemeral_disk, "raw"),
        "disk-swap": (home.swap_disk, "raw"),
    }
    for name, size in sizes.items():
        path, disk_format = places[name]
        path.unlink(missing_ok=True)
        qemu_img.create(path, size, disk_format)


def grow_root(home: InstanceHome, item: Instance) -> None:
    """A bigger flavor grows the disk of a stopped instance; a smaller one leaves it."""
    if item.root_gb and home.disk.exists():
        qemu_img.grow(home.disk, item.root_gb * GIB)


def discard(home: InstanceHome) -> None:
    """Throw away what a rebuild makes anew. Volumes and the log of the console stay."""
    for path in (
        home.disk,
        home.rescue_disk,
        home.ephemeral_disk,
        home.swap_disk,
        home.config_drive,
        home.memory,
    ):
        path.unlink(missing_ok=True)


def own_disks(home: InstanceHome, item: Instance) -> list[DiskPlan]:
    """The instance's own disks in the order in which the guest shall name them."""
    plans = []
    rescue = item.rescue_image is not None
    if rescue:
        plans.append(_own("disk-rescue", home.rescue_disk, "qcow2", item.disk_bus, boot_index=0))
    if home.disk.exists():
        plans.append(_own("disk-root", home.disk, "qcow2", item.disk_bus, boot_index=-1 if rescue else 0))
    if item.ephemeral_gb:
        plans.append(_own("disk-eph0", home.ephemeral_disk, "raw", item.disk_bus))
    if item.swap_mb:
        plans.append(_own("disk-swap", home.swap_disk, "raw", item.disk_bus))
    return plans


def volume_plan(disk: Disk, home: InstanceHome) -> DiskPlan:
    """A volume as QEMU reaches it."""
    name = disk_name(disk.volume_id)
    iscsi = disk.connection.get("driver") == "iscsi"
    path, disk_format = "", "raw"
    if disk.connection.get("driver") == "pool":
        found, disk_format = resolve(Path(str(disk.connection["path"])))
        path = str(found)
    elif not iscsi:
        path, disk_format = str(disk.connection["path"]), str(disk.connection.get("format", "raw"))
    secret = str(home.path / f"{name}.secret") if iscsi and disk.connection.get("user") else ""
    return DiskPlan(
        name=name,
        file=iscsi_node(disk.connection, name) if iscsi else file_node(path),
        disk_format=disk_format,
        bus=disk.disk_bus,
        serial=disk.volume_id,
        boot_index=disk.boot_index,
        read_only=disk.read_only,
        secret_file=secret,
    )


def write_secret(plan: DiskPlan, disk: Disk) -> None:
    """The CHAP password, where only root reads it, for the time of a start."""
    if plan.secret_file:
        descriptor = os.open(plan.secret_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(str(disk.connection.get("password", "")))


def _own(name: str, path: Path, disk_format: str, bus: str, boot_index: int = -1) -> DiskPlan:
    return DiskPlan(
        name=name, file=file_node(str(path)), disk_format=disk_format, bus=bus, boot_index=boot_index
    )


def _overlay(target: Path, image: ImageRef, cache: ImageCache, root_gb: int) -> None:
    cached = cache.fetch(image)
    size = root_gb * GIB or cached.virtual_size
    if size < cached.virtual_size:
        raise DiskError(
            f"image {image.id} needs a disk of {-(-cached.virtual_size // GIB)} GB, the flavor gives {root_gb} GB"
        )
    qemu_img.create_overlay(target, Path(cached.path), cached.disk_format, size)


def _take_over(source: Path, target: Path) -> None:
    """Move where the file system allows, else copy; half a copy is never taken for the disk."""
    facts = qemu_img.inspect(source, "qcow2")
    if facts.backing or facts.data_file:
        raise DiskError(f"the disk {source} refers to another file")
    try:
        source.rename(target)
    except OSError:
        part = target.with_name(target.name + ".part")
        shutil.copyfile(source, part)
        part.rename(target)


def _formatted(target: Path, size: int, argv: list[str]) -> None:
    part = target.with_name(target.name + ".part")
    with part.open("wb") as file:
        file.truncate(size)
    done = subprocess.run([*argv, str(part)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DiskError(f"{argv[0]} failed: {done.stderr.strip()}")
    part.rename(target)
