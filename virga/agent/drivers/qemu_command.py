"""What a QEMU process is told: one pure function from a machine plan to its command line.

The same renderings serve hot-plug (``blockdev-add``, ``netdev_add``, ``device_add`` by QMP), so a disk
or NIC looks the same to the guest however it came.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from virga.contract.items import Nic

DEFAULT_ARGUMENTS = "root=/dev/vda console=tty0 console=ttyS0"
Json = dict[str, Any]

NIC_MODELS = {
    "virtio": "virtio-net-pci",
    "e1000": "e1000",
    "e1000e": "e1000e",
    "rtl8139": "rtl8139",
    "ne2k_pci": "ne2k_pci",
    "pcnet": "pcnet",
    "vmxnet3": "vmxnet3",
}
DISK_MODELS = {
    "virtio": "virtio-blk-pci",
    "scsi": "scsi-hd",
    "ide": "ide-hd",
    "sata": "ide-hd",
    "usb": "usb-storage",
}


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """One disk as QEMU opens and shows it. ``name`` is the id of its nodes and devices."""

    name: str
    file: Json
    """The protocol node: where the bytes are."""
    disk_format: str = "qcow2"
    bus: str = "virtio"
    serial: str = ""
    boot_index: int = -1
    read_only: bool = False
    secret_file: str = ""
    """File that holds the password which ``file`` names as ``password-secret``."""


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """One QEMU process, complete."""

    instance_id: str
    name: str
    home: str
    vcpus: int = 1
    memory_mb: int = 128
    accelerator: str = "tcg"
    disks: tuple[DiskPlan, ...] = ()
    nics: tuple[Nic, ...] = ()
    nic_model: str = "virtio"
    config_drive: str = ""
    kernel: str = ""
    ramdisk: str = ""
    kernel_arguments: str = DEFAULT_ARGUMENTS
    incoming_fd: int | None = None
    incoming: bool = False
    """Wait for memory whose source is told by the monitor."""
    slots: Mapping[str, int] = field(default_factory=dict)
    """Device id to PCI slot, where a device must be where the guest already knows it."""
    extra: tuple[str, ...] = field(default=())


def disk_name(volume_id: str) -> str:
    """Id of a volume's device. QEMU allows node names of 31 characters, hence not the whole id."""
    return "vol-" + volume_id.replace("-", "")[:24]


def nic_name(port_id: str) -> str:
    """Id of a port's device and, with ``host-`` before it, of its netdev."""
    return "nic-" + port_id


def file_node(path: str) -> Json:
    return {"driver": "file", "filename": path}


def iscsi_node(connection: dict[str, str | int], name: str) -> Json:
    """QEMU's own initiator. The CHAP password travels as a secret object, never as an argument."""
    node: Json = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": connection["portal"],
        "target": connection["iqn"],
        "lun": int(connection.get("lun", 1)),
        "initiator-name": "iqn.2010-10.org.openstack:virga-" + name,
        "timeout": 30,
    }
    if connection.get("user"):
        node["user"] = connection["user"]
        node["password-secret"] = "secret-" + name
    return node


def block_node(disk: DiskPlan) -> Json:
    """Argument of ``-blockdev`` and ``blockdev-add``."""
    node: Json = {
        "driver": disk.disk_format,
        "node-name": disk.name,
        "file": disk.file,
        "read-only": disk.read_only,
        "discard": "unmap",
    }
    if disk.disk_format == "raw" and disk.file["driver"] == "iscsi":
        del node["discard"]
    return node


def _placed(device: Json, slots: Mapping[str, int]) -> Json:
    slot = slots.get(device["id"])
    return device if slot is None else device | {"addr": f"{slot:#x}"}


def disk_device(disk: DiskPlan) -> Json:
    """Argument of ``-device`` and ``device_add``."""
    device: Json = {
        "driver": DISK_MODELS.get(disk.bus, "virtio-blk-pci"),
        "id": disk.name,
        "drive": disk.name,
    }
    if disk.serial:
        device["serial"] = disk.serial
    if disk.boot_index >= 0:
        device["bootindex"] = disk.boot_index
    if disk.bus == "scsi":
        device["bus"] = "scsi0.0"
    return device


def netdev(nic: Nic) -> Json:
    """Argument of ``-netdev`` and ``netdev_add``.

    Checksum offload stays off: frames go through a userspace datapath that hands them on as they are.
    """
    return {
        "type": "tap",
        "id": "host-" + nic_name(nic.port_id),
        "ifname": nic.tap,
        "script": "no",
        "downscript": "no",
        "vnet_hdr": False,
    }


def nic_device(nic: Nic, model: str) -> Json:
    """Argument of ``-device`` and ``device_add``. No option ROM: nothing boots from the network."""
    driver = NIC_MODELS.get(model, "virtio-net-pci")
    device: Json = {
        "driver": driver,
        "id": nic_name(nic.port_id),
        "netdev": "host-" + nic_name(nic.port_id),
        "mac": nic.mac_address,
        "romfile": "",
    }
    if driver == "virtio-net-pci":
        device["host_mtu"] = nic.mtu
    return device


def render(plan: MachinePlan, monitor_fd: int) -> list[str]:
    """The whole command line. Socket paths are relative to ``home``: unix socket names are short."""
    argv = [*_base(plan), *_console(monitor_fd)]
    if plan.kernel:
        argv += ["-kernel", plan.kernel, "-append", plan.kernel_arguments]
        if plan.ramdisk:
            argv += ["-initrd", plan.ramdisk]
    for nic in plan.nics:
        device = _placed(nic_device(nic, plan.nic_model), plan.slots)
        argv += ["-netdev", json.dumps(netdev(nic)), "-device", json.dumps(device)]
    if any(disk.bus == "scsi" for disk in plan.disks):
        device = _placed({"driver": "virtio-scsi-pci", "id": "scsi0"}, plan.slots)
        argv += ["-device", json.dumps(device)]
    if any(disk.bus == "usb" for disk in plan.disks):
        argv += ["-usb"]
    for disk in plan.disks:
        if disk.secret_file:
            secret = {"qom-type": "secret", "id": "secret-" + disk.name, "file": disk.secret_file}
            argv += ["-object", json.dumps(secret)]
        device = _placed(disk_device(disk), plan.slots)
        argv += ["-blockdev", json.dumps(block_node(disk)), "-device", json.dumps(device)]
    if plan.config_drive:
        node = DiskPlan(
            name="config-drive", file=file_node(plan.config_drive), disk_format="raw", read_only=True
        )
        device = {"driver": "ide-cd", "id": "config-drive", "drive": "config-drive"}
        argv += ["-blockdev", json.dumps(block_node(node)), "-device", json.dumps(device)]
    if plan.incoming_fd is not None:
        argv += ["-incoming", f"fd:{plan.incoming_fd}"]
    elif plan.incoming:
        argv += ["-incoming", "defer"]
    return [*argv, *plan.extra]


def _base(plan: MachinePlan) -> list[str]:
    accelerator = ["kvm"] if plan.accelerator == "kvm" else ["tcg,thread=multi,tb-size=32"]
    return [
        "qemu-system-x86_64",
        *("-name", f"guest=virga-{plan.instance_id},process=qemu-{plan.instance_id[:8]}"),
        *("-uuid", plan.instance_id),
        *(
            "-machine",
            "pc,dump-guest-core=off,hpet=off" if plan.accelerator == "kvm" else "pc,dump-guest-core=off",
        ),
        *("-accel", *accelerator),
        *("-cpu", "host" if plan.accelerator == "kvm" else "Nehalem,+rdrand"),
        *("-m", f"{plan.memory_mb}M"),
        *("-smp", str(plan.vcpus)),
        *("-smbios", f"type=1,manufacturer=Virga,product=OpenStack Compute,uuid={plan.instance_id}"),
        *("-nodefaults", "-no-user-config"),
        *("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        *("-rtc", "base=utc,driftfix=slew"),
        *("-boot", "strict=on"),
        *("-S", "-no-shutdown"),
        *("-pidfile", f"{plan.home}/qemu.pid"),
    ]


def _console(monitor_fd: int) -> list[str]:
    return [
        *("-chardev", f"socket,id=monitor,fd={monitor_fd},server=on,wait=off"),
        *("-mon", "chardev=monitor,mode=control"),
        *(
            "-chardev",
            "socket,id=serial0,path=serial.sock,server=on,wait=off,logfile=console.log,logappend=on",
        ),
        *("-serial", "chardev:serial0"),
        *("-vga", "std", "-vnc", "unix:vnc.sock"),
        *("-device", "virtio-rng-pci,id=rng"),
    ]
