"""The story the guides tell of volumes: made, grown, copied, attached to a machine, booted from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lib.lab import ROOT, Lab, ssh, wait_for


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
    assert volume.size == 2
    lab.openstack_says("volume set --size 5 data", "demo")
    available(demo, volume, 5)
    server = place.server("with-disk", image_id=demo.image.find_image("tiny").id)
    address = place.address_of(server)
    wait_for("the machine answers SSH", lambda: place.run(address, "true").returncode == 0, 180)
    lab.openstack("server add volume with-disk data", "demo")
    wait_for("the volume is in use", lambda: demo.block_storage.get_volume(volume.id).status == "in-use")
    targets = lab.on("host1", "tgtadm --op show --mode target")
    assert f"iqn.2010-10.org.openstack:volume-{volume.id}" in targets
    mine = targets[targets.index(f"volume-{volume.id}") :]
    unit = mine[mine.index("LUN: 1") :]
    assert "Type: disk" in unit
    assert "Size: 5369 MB" in unit
    account = unit[unit.index("Account information:") : unit.index("ACL information:")].splitlines()[1:]
    assert [line for line in account if line.strip()], "there is a CHAP account"
    assert "Initiator: iqn.2010-10.org.openstack:virga-vol-" in mine, "QEMU's own initiator is logged in"
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


def test_machines_boot_from_three_clones_of_a_bootable_volume(lab: Lab, place: Place, demo: Any) -> None:
    lab.openstack("volume create --image tiny --size 1 --bootable golden", "demo")
    golden = available(demo, demo.block_storage.find_volume("golden"))
    assert golden.is_bootable
    for number in range(3):
        lab.openstack(f"volume create --source golden --size 1 clone{number}", "demo")
    clones = [available(demo, demo.block_storage.find_volume(f"clone{n}")) for n in range(3)]
    options = f"--flavor m1.nano --network {place.network.id} --key-name {place.pair.name}"
    for number in range(3):
        words = (
            f"server create --volume clone{number} {options} --security-group {place.group.id} boots{number}"
        )
        lab.openstack(words, "demo")
        place.servers.append(demo.compute.find_server(f"boots{number}"))
    for number in range(3):
        server = demo.compute.wait_for_server(demo.compute.find_server(f"boots{number}"), wait=300)
        address = place.address_of(server)
        wait_for("the machine answers SSH", lambda a=address: place.run(a, "true").returncode == 0, 180)  # type: ignore[misc]
        assert place.run(address, "hostname").stdout.strip() == f"boots{number}"
        place.run(address, f"sudo sh -c 'echo mine{number} > /root/who; sync'")
        assert place.run(address, "sudo cat /root/who").stdout.strip() == f"mine{number}"
        demo.compute.delete_server(server)
    for clone in clones:
        available(demo, clone)
        lab.openstack_says(f"volume delete {clone.id}", "demo")
    demo.block_storage.delete_volume(golden.id)
    for volume in (*clones, golden):
        gone = lambda v=volume: demo.block_storage.find_volume(v.id) is None  # type: ignore[misc]  # noqa: E731
        wait_for("the volume is gone", gone)
    pool = lab.state_dir / "hosts/host1/volumes"
    assert wait_for("the pool is empty", lambda: not list(pool.iterdir()))


def test_rows_pool_targets_and_disks_agree(lab: Lab) -> None:
    command = [sys.executable, "-m", "virga.cli.main", "volume", "check", "--state-dir", str(lab.state_dir)]

    def agree() -> bool:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return done.returncode == 0 and "no differences" in done.stdout

    wait_for("`virga volume check` finds no differences", agree, 30)
    stray = lab.state_dir / "hosts/host1/volumes/layer-stray"
    stray.write_bytes(b"x")
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "layer-stray is reached by no volume" in done.stdout
    finally:
        stray.unlink()
