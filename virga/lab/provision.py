"""What a new cloud starts with, made through its own APIs: flavors, the public network, and the guest image.

Everything is looked for by name first, so it may be run again. A cloud that was provisioned once is left alone:
what its administrator removed stays removed.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from virga.lab.credentials import accounts
from virga.lab.wire import Wire
from virga.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Flavor:
    name: str
    vcpus: int
    ram: int
    disk: int
    extra_specs: tuple[tuple[str, str], ...] = ()


FLAVORS = (
    Flavor("m1.nano", 1, 128, 1),
    Flavor("m1.micro", 1, 192, 1),
    Flavor("m1.tiny", 1, 512, 1),
    Flavor("m1.small", 1, 2048, 20),
    Flavor("m1.medium", 2, 4096, 40),
    Flavor("ns.tiny", 1, 16, 0, (("virga:kind", "namespace"),)),
)


@dataclass(frozen=True, slots=True)
class GuestFile:
    """One file of the built guest, and the image it becomes."""

    image: str
    file: str
    disk_format: str
    container_format: str


GUEST_FILES = (
    GuestFile("tiny", "tiny.qcow2", "qcow2", "bare"),
    GuestFile("tiny-kernel", "tiny-vmlinuz", "aki", "aki"),
    GuestFile("tiny-ramdisk", "tiny-initrd", "ari", "ari"),
    GuestFile("tiny-ami", "tiny-rootfs.img", "ami", "ami"),
)


DEFAULT_POOLS = (
    ("shared-default-subnetpool-v4", "10.0.0.0/16", 26),
    ("shared-default-subnetpool-v6", "fd12:67:1::/48", 64),
)
"""Name, prefix, length of a subnet cut from it; the names are DevStack's."""


def provision(settings: Settings, outside_cidr: str, guest: Path, say: Say) -> None:
    """Make all of it unless this cloud was provisioned before. Idempotent. Mark: the file ``provisioned``."""
    done = settings.state_dir / "provisioned"
    have = set(json.loads(done.read_text())) if done.exists() else set()
    wire = Wire(settings, accounts(settings)[0])
    steps: list[tuple[str, str, Callable[[], None]]] = [
        ("flavors", "Making flavors", lambda: _flavors(wire)),
        ("public", "Making the public network", lambda: _public(wire, outside_cidr)),
        ("pools", "Making the default subnet pools", lambda: _pools(wire)),
        ("image", "Publishing the guest image", lambda: _images(wire, guest)),
    ]
    for name, sentence, step in steps:
        if name in have:
            continue
        if name == "image" and not (guest / GUEST_FILES[0].file).exists():
            say(
                f"There is no guest image in {guest}: `make guest` builds it, the next `virga up` publishes it"
            )
            continue
        say(sentence)
        step()
        have.add(name)
        done.write_text(json.dumps(sorted(have)))


def _flavors(wire: Wire) -> None:
    present = {flavor["name"] for flavor in wire.get("/compute/v2.1/flavors", is_public="None")["flavors"]}
    for flavor in FLAVORS:
        if flavor.name in present:
            continue
        body = {"name": flavor.name, "vcpus": flavor.vcpus, "ram": flavor.ram, "disk": flavor.disk}
        made = wire.post("/compute/v2.1/flavors", {"flavor": body})["flavor"]
        if flavor.extra_specs:
            specs = {"extra_specs": dict(flavor.extra_specs)}
            wire.post(f"/compute/v2.1/flavors/{made['id']}/os-extra_specs", specs)


def _public(wire: Wire, cidr: str) -> None:
    network = _only(wire.get("/network/v2.0/networks", name="public")["networks"])
    if network is None:
        body = {
            "name": "public",
            "router:external": True,
            "is_default": True,
            "provider:network_type": "flat",
            "provider:physical_network": "public",
        }
        network = wire.post("/network/v2.0/networks", {"network": body})["network"]
    if wire.get("/network/v2.0/subnets", network_id=network["id"])["subnets"]:
        return
    addresses = ipaddress.ip_network(cidr)
    # The lower addresses are left to people who give some by hand to things outside the cloud.
    first = 10 if addresses.num_addresses >= 64 else 2
    body = {
        "name": "public-subnet",
        "network_id": network["id"],
        "ip_version": 4,
        "cidr": cidr,
        "gateway_ip": str(addresses[1]),
        "enable_dhcp": False,
        "allocation_pools": [{"start": str(addresses[first]), "end": str(addresses[-2])}],
    }
    wire.post("/network/v2.0/subnets", {"subnet": body})


def _pools(wire: Wire) -> None:
    """With a default pool and a default public network, ``networks: auto`` makes a project's first network."""
    for name, prefix, length in DEFAULT_POOLS:
        if not wire.get("/network/v2.0/subnetpools", name=name)["subnetpools"]:
            body = {
                "name": name,
                "prefixes": [prefix],
                "default_prefixlen": length,
                "is_default": True,
                "shared": True,
            }
            wire.post("/network/v2.0/subnetpools", {"subnetpool": body})


def _only(found: list[dict[str, Any]]) -> dict[str, Any] | None:
    return found[0] if found else None


def _images(wire: Wire, guest: Path) -> None:
    ids: dict[str, str] = {}
    for one in GUEST_FILES:
        if (guest / one.file).exists():
            ids[one.image] = _image(wire, one, guest / one.file, ids)


def _kernel_arguments(manifest: Path) -> dict[str, str]:
    """What makes the guest's kernel boot quickly, as the property that OpenStack has for it."""
    found = json.loads(manifest.read_text()).get("kernel_arguments") if manifest.exists() else None
    return {"os_command_line": f"root=/dev/vda {found}"} if found else {}


def _image(wire: Wire, one: GuestFile, file: Path, ids: dict[str, str]) -> str:
    image = _only(wire.get("/image/v2/images", name=one.image)["images"])
    if image is None:
        body: dict[str, Any] = {
            "name": one.image,
            "disk_format": one.disk_format,
            "container_format": one.container_format,
            "visibility": "public",
        }
        if one.container_format == "ami" and "tiny-kernel" in ids and "tiny-ramdisk" in ids:
            body |= {"kernel_id": ids["tiny-kernel"], "ramdisk_id": ids["tiny-ramdisk"]}
            body |= _kernel_arguments(file.parent / "manifest.json")
        image = wire.post("/image/v2/images", body)
    if image["status"] == "queued":
        wire.put_file(f"/image/v2/images/{image['id']}/file", file)
    return str(image["id"])
