"""The story the guides tell of volumes: made, grown, copied, attached to a machine, booted from."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lib.lab import Lab, ssh, wait_for


@dataclass
class Place:
    """A network with a way in, and the machines and volumes that a test leaves."""

    demo: Any
    key: Path
    network: Any
    group: Any
    pair: Any
    flavor: Any
    public: Any
    servers: list[Any]
    floating: list[Any]

    def server(self, name: str, **wanted: Any) -> Any:
        """A machine that is built."""
        made = self.demo.compute.create_server(
            name=name,
            flavor_id=self.flavor.id,
            key_name=self.pair.name,
            networks=[{"uuid": self.network.id}],
            security_groups=[{"name": self.group.name}],
            **wanted,
        )
        self.servers.append(made)
        return self.demo.compute.wait_for_server(made, wait=300)

    def address_of(self, server: Any) -> str:
        port = next(iter(self.demo.network.ports(device_id=server.id)))
        ip = self.demo.network.create_ip(floating_network_id=self.public.id, port_id=port.id)
        self.floating.append(ip)
        return str(ip.floating_ip_address)

    def run(self, address: str, command: str) -> subprocess.CompletedProcess[str]:
        return ssh(address, command, self.key)


@pytest.fixture(scope="module")
def place(lab: Lab, demo: Any, key: Path) -> Iterator[Place]:
    network = demo.network.create_network(name="volumes-net")
    subnet = demo.network.create_subnet(
        network_id=network.id, name="volumes-sub", ip_version=4, cidr="10.10.60.0/24"
    )
    public = demo.network.find_network("public")
    router = demo.network.create_router(name="volumes-r", external_gateway_info={"network_id": public.id})
    demo.network.add_interface_to_router(router, subnet_id=subnet.id)
    group = demo.network.create_security_group(name="volumes-ssh")
    demo.network.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="tcp",
        port_range_min=22, port_range_max=22,
    )  # fmt: skip
    pair = demo.compute.create_keypair(name="volumes", public_key=key.with_suffix(".pub").read_text())
    flavor = demo.compute.find_flavor("m1.nano")
    here = Place(demo, key, network, group, pair, flavor, public, [], [])
    yield here
    for ip in here.floating:
        demo.network.delete_ip(ip.id)
    for server in here.servers:
        demo.compute.delete_server(server, ignore_missing=True)
    for server in here.servers:
        demo.compute.wait_for_delete(server, wait=120)
    demo.network.remove_interface_from_router(router, subnet_id=subnet.id)
    demo.network.delete_router(router)
    demo.network.delete_network(network)
    demo.network.delete_security_group(group)
    demo.compute.delete_keypair(pair)


def available(demo: Any, volume: Any, size: int | None = None) -> Any:
    def look() -> Any:
        found = demo.block_storage.get_volume(volume.id)
        assert not found.status.startswith("error"), found.status
        return found if found.status == "available" and size in (None, found.size) else None

    return wait_for(f"volume {volume.id} is available", look, 120)


def test_a_disk_is_grown_attached_seen_written_and_kept(lab: Lab, place: Place, demo: Any) -> None:
    volume = lab.openstack("volume create --size 2 data", "demo")
    volume = available(demo, demo.block_storage.get_volume(volume["id"]))
    demo.block_storage.extend_volume(volume, 5)
    available(demo, volume, 5)
    server = place.server("with-disk", image_id=demo.image.find_image("tiny").id)
    address = place.address_of(server)
    wait_for("the machine answers SSH", lambda: place.run(address, "true").returncode == 0, 180)
    demo.compute.create_volume_attachment(server, volume_id=volume.id)
    wait_for("the volume is in use", lambda: demo.block_storage.get_volume(volume.id).status == "in-use")
    targets = lab.on("host1", "tgtadm --lld iscsi --op show --mode target")
    assert f"iqn.2010-10.org.openstack:volume-{volume.id}" in targets
    assert "Account information" in targets
    shown = wait_for("fdisk shows the disk", lambda: place.run(address, "sudo fdisk -l /dev/vdb").stdout)
    assert "5368709120 bytes" in shown
    done = place.run(
        address,
        "sudo sh -c 'mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept > /mnt/f && umount /mnt'",
    )
    assert done.returncode == 0, done.stderr
    demo.compute.delete_volume_attachment(server, volume.id)
    available(demo, volume)
    wait_for("the disk is gone", lambda: "/dev/vdb" not in place.run(address, "sudo fdisk -l").stdout)
    demo.compute.create_volume_attachment(server, volume_id=volume.id)
    read = wait_for(
        "what was written is there",
        lambda: place.run(
            address, "sudo sh -c 'mount /dev/vdb /mnt && cat /mnt/f && umount /mnt'"
        ).stdout.strip(),
    )
    assert read == "kept"
    demo.compute.delete_volume_attachment(server, volume.id)
    available(demo, volume)
    demo.block_storage.delete_volume(volume.id)
    wait_for("the volume is gone", lambda: demo.block_storage.find_volume(volume.id) is None)


def test_machines_boot_from_clones_of_a_bootable_volume(lab: Lab, place: Place, demo: Any) -> None:
    golden = demo.block_storage.create_volume(
        name="golden", size=1, image_id=demo.image.find_image("tiny").id
    )
    golden = available(demo, golden)
    assert golden.is_bootable
    clones = [
        demo.block_storage.create_volume(name=f"clone{n}", size=1, source_volume_id=golden.id)
        for n in range(2)
    ]
    clones = [available(demo, clone) for clone in clones]
    made = [
        place.server(
            f"from-clone{n}",
            block_device_mapping=[
                {
                    "boot_index": 0,
                    "uuid": clone.id,
                    "source_type": "volume",
                    "destination_type": "volume",
                    "delete_on_termination": True,
                }
            ],
        )
        for n, clone in enumerate(clones)
    ]
    for server in made:
        address = place.address_of(server)
        wait_for("the machine answers SSH", lambda a=address: place.run(a, "true").returncode == 0, 180)  # type: ignore[misc]
    for server in made:
        demo.compute.delete_server(server)
    for clone in clones:
        wait_for(
            "the clone went with its machine", lambda c=clone: demo.block_storage.find_volume(c.id) is None
        )  # type: ignore[misc]
    demo.block_storage.delete_volume(golden.id)
