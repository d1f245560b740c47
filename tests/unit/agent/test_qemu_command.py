"""The command line of a QEMU machine says exactly what the plan says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from virga.agent.drivers.qemu_command import (
    DiskPlan,
    MachinePlan,
    block_node,
    disk_name,
    file_node,
    iscsi_node,
    netdev,
    render,
)
from virga.contract.items import Nic

ID = "11111111-2222-4333-8444-555555555555"
NIC = Nic("aaaaaaaa-0000-4000-8000-000000000001", "net", "fa:16:3e:00:00:01", "tapaaaaaaaa-00", 1450)


def options(argv: list[str], name: str) -> list[str]:
    return [argv[i + 1] for i, word in enumerate(argv) if word == name]


def devices(argv: list[str]) -> list[dict[str, Any]]:
    return [json.loads(text) for text in options(argv, "-device") if text.startswith("{")]


def plan(**changes: Any) -> MachinePlan:
    root = DiskPlan(name="disk-root", file=file_node("/i/disk"), boot_index=0)
    return MachinePlan(
        **{"instance_id": ID, "name": "vm", "home": "/i", "disks": (root,), "nics": (NIC,)} | changes
    )


def test_it_starts_paused_and_keeps_the_process_when_the_guest_powers_off() -> None:
    argv = render(plan(), monitor_fd=7)
    assert "-S" in argv
    assert "-no-shutdown" in argv
    assert options(argv, "-uuid") == [ID]
    assert any("fd=7" in text for text in options(argv, "-chardev"))


def test_a_nic_is_a_tap_without_checksum_offload_and_with_the_networks_mtu() -> None:
    argv = render(plan(), 3)
    host = json.loads(options(argv, "-netdev")[0])
    assert (host["ifname"], host["vnet_hdr"], host["script"]) == ("tapaaaaaaaa-00", False, "no")
    nic = next(device for device in devices(argv) if device["driver"] == "virtio-net-pci")
    assert (nic["mac"], nic["host_mtu"], nic["netdev"]) == (NIC.mac_address, 1450, host["id"])


@pytest.mark.parametrize(("accelerator", "processor"), [("tcg", "Nehalem,+rdrand"), ("kvm", "host")])
def test_the_processor_follows_the_accelerator(accelerator: str, processor: str) -> None:
    argv = render(plan(accelerator=accelerator), 3)
    assert options(argv, "-cpu") == [processor]
    assert options(argv, "-accel")[0].split(",")[0] == accelerator


def test_kernel_and_ramdisk_bring_their_arguments() -> None:
    argv = render(plan(kernel="/k", ramdisk="/r"), 3)
    assert options(argv, "-kernel") == ["/k"]
    assert options(argv, "-initrd") == ["/r"]
    assert "root=/dev/vda" in options(argv, "-append")[0]
    assert "-append" not in render(plan(), 3)


def test_the_config_drive_is_a_read_only_cd() -> None:
    argv = render(plan(config_drive="/i/disk.config"), 3)
    node = next(json.loads(text) for text in options(argv, "-blockdev") if "config-drive" in text)
    assert node["read-only"] is True
    assert {"driver": "ide-cd", "id": "config-drive", "drive": "config-drive"} in devices(argv)


def test_a_chap_password_is_never_on_the_command_line() -> None:
    name = disk_name("b" * 8 + "-0000-4000-8000-000000000001")
    connection: dict[str, str | int] = {
        "driver": "iscsi", "portal": "192.0.2.1:3260", "iqn": "iqn.x:v", "lun": 1, "user": "u", "password": "s3cret",
    }  # fmt: skip
    disk = DiskPlan(name=name, file=iscsi_node(connection, name), disk_format="raw", secret_file="/i/s")
    argv = render(plan(disks=(disk,)), 3)
    assert "s3cret" not in " ".join(argv)
    assert json.loads(options(argv, "-object")[0])["file"] == "/i/s"
    assert block_node(disk)["file"]["password-secret"] == f"secret-{name}"


def test_names_fit_what_qemu_allows() -> None:
    assert len(disk_name(ID)) <= 31
    assert netdev(NIC)["id"] != NIC.port_id


def test_a_name_with_a_comma_cannot_change_the_command() -> None:
    argv = render(plan(name="x,debug-threads=on"), 3)
    assert not any("debug-threads" in word for word in argv)
