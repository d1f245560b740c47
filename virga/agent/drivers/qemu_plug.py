"""Plugs disks and NICs into a running QEMU machine and pulls them out, the guest taking part."""

from __future__ import annotations

from virga.agent.drivers.qemu_command import (
    DiskPlan,
    Json,
    block_node,
    disk_device,
    netdev,
    nic_device,
    nic_name,
)
from virga.agent.drivers.qemu_machine import Machine, MachineError
from virga.contract.items import Nic

UNPLUG_S = 30.0
AGAIN_S = 5.0


def plugged(machine: Machine) -> set[str]:
    """Ids of the devices that the machine has, whoever plugged them."""
    return {str(child["name"]) for child in machine.execute("qom-list", path="/machine/peripheral")}


def serial(machine: Machine, name: str) -> str:
    """Serial number of a disk: the id of its volume."""
    return str(machine.execute("qom-get", path=f"/machine/peripheral/{name}", property="serial"))


def size_of(machine: Machine, name: str) -> int:
    """Bytes of a disk. Raises MachineError when the machine does not have it."""
    for node in machine.execute("query-named-block-nodes", flat=True):
        if node.get("node-name") == name:
            return int(node["image"]["virtual-size"])
    raise MachineError(f"the machine has no disk {name}")


def plug_disk(machine: Machine, disk: DiskPlan, password: str = "") -> None:
    """Idempotent after a failure: what an earlier try left is taken away first. All or nothing."""
    _forget_disk(machine, disk.name)
    try:
        if disk.secret_file:
            secret: Json = {"qom-type": "secret", "id": f"secret-{disk.name}", "data": password}
            machine.execute("object-add", **secret)
        machine.execute("blockdev-add", timeout_s=60, **block_node(disk))
        machine.execute("device_add", **disk_device(disk))
    except MachineError:
        _forget_disk(machine, disk.name)
        raise


def unplug_disk(machine: Machine, name: str) -> None:
    """Wait until the guest let go, then close the volume. Idempotent."""
    _unplug_device(machine, name)
    _forget_disk(machine, name)


def plug_nic(machine: Machine, nic: Nic, model: str) -> None:
    """Idempotent after a failure. All or nothing."""
    _forget_nic(machine, nic.port_id)
    try:
        machine.execute("netdev_add", **netdev(nic))
        machine.execute("device_add", **nic_device(nic, model))
    except MachineError:
        _forget_nic(machine, nic.port_id)
        raise


def unplug_nic(machine: Machine, port_id: str) -> None:
    """Wait until the guest let go, then close the tap. Idempotent."""
    _unplug_device(machine, nic_name(port_id))
    _forget_nic(machine, port_id)


def _unplug_device(machine: Machine, name: str) -> None:
    """A guest that still boots misses the request, so it is repeated."""
    waited = 0.0
    with machine.monitor.listen() as events:
        while name in plugged(machine):
            if waited >= UNPLUG_S:
                raise MachineError(f"the guest did not release device {name} within {UNPLUG_S:g} s")
            try:
                machine.execute("device_del", id=name)
            except MachineError as error:
                if "in the process of unplug" not in str(error) and "not found" not in str(error):
                    raise
            if events.wait("DEVICE_DELETED", AGAIN_S, device=name) is not None:
                return
            waited += AGAIN_S


def _forget_disk(machine: Machine, name: str) -> None:
    nodes = {node.get("node-name") for node in machine.execute("query-named-block-nodes", flat=True)}
    if name in nodes:
        node: Json = {"node-name": name}
        machine.execute("blockdev-del", **node)
    objects = {str(child["name"]) for child in machine.execute("qom-list", path="/objects")}
    if f"secret-{name}" in objects:
        machine.execute("object-del", id=f"secret-{name}")


def _forget_nic(machine: Machine, port_id: str) -> None:
    try:
        machine.execute("netdev_del", id="host-" + nic_name(port_id))
    except MachineError as error:
        if "not found" not in str(error):
            raise
