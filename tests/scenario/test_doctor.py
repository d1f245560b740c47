"""The doctor on a lab: silent when all is well, right about what somebody did behind the cloud's back, and able to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lib.lab import Lab, wait_for


@dataclass
class Ward:
    """A network with an instance, a router and a way out."""

    lab: Lab
    router: str
    network: str

    def findings(self, *words: str) -> list[Any]:
        done = self.lab.virga("doctor", "--json", *words, check=False)
        answer = json.loads(done.stdout)
        found = [each for each in answer["findings"] if each.get("level", "problem") == "problem"]
        assert done.returncode == (1 if found else 0), done
        return found

    def healthy(self) -> bool:
        return not self.findings()


@pytest.fixture(scope="module")
def ward(lab: Lab, demo: Any) -> Iterator[Ward]:
    network = demo.network.create_network(name="ward")
    subnet = demo.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.10.77.0/24")
    public = demo.network.find_network("public")
    router = demo.network.create_router(name="ward-r", external_gateway_info={"network_id": public.id})
    demo.network.add_interface_to_router(router, subnet_id=subnet.id)
    image, flavor = demo.image.find_image("tiny"), demo.compute.find_flavor("m1.nano")
    servers = [
        demo.compute.create_server(
            name=f"patient{n}", image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
        )
        for n in range(2)
    ]
    for server in servers:
        demo.compute.wait_for_server(server, wait=300)
    port = next(iter(demo.network.ports(device_id=servers[0].id)))
    floating = demo.network.create_ip(floating_network_id=public.id, port_id=port.id)
    volume = demo.block_storage.create_volume(name="patient", size=1)
    demo.block_storage.wait_for_status(volume, "available", wait=120)
    here = Ward(lab, f"qrouter-{router.id}", network.id)
    yield here
    demo.network.delete_ip(floating.id)
    demo.block_storage.delete_volume(volume)
    for server in servers:
        demo.compute.delete_server(server)
    for server in servers:
        demo.compute.wait_for_delete(server, wait=120)
    demo.network.remove_interface_from_router(router, subnet_id=subnet.id)
    demo.network.delete_router(router)
    demo.network.delete_network(network)


def test_a_healthy_cloud_has_no_problems(ward: Ward) -> None:
    wait_for("the doctor is content", ward.healthy)


def test_what_differs_is_named_and_mended(ward: Ward) -> None:
    wait_for("the doctor is content", ward.healthy)
    ward.lab.on("host1", f"ip netns exec {ward.router} sysctl -qw net.ipv4.ip_forward=0")
    ward.lab.on("host1", f"ip netns exec {ward.router} iptables -t nat -F neutron-l3-agent-float-snat")
    found = ward.findings("host1")
    assert {(each["check"], each["kind"]) for each in found} == {
        ("addresses", "differs"),
        ("rules", "differs"),
    }
    done = ward.lab.virga("doctor", "--fix", "host1")
    assert "ip_forward" in done.stdout and "/v4/nat" in done.stdout
    assert "1" in ward.lab.on("host1", f"ip netns exec {ward.router} sysctl -n net.ipv4.ip_forward")
    assert ward.healthy()


BREAKS: dict[str, tuple[str, str, str, str]] = {
    "NIC down": ("host2", "ip link set eth1 down", "ip link set eth1 up", "interfaces"),
    "MTU of the trunk": ("host2", "ip link set eth1 mtu 900", "ip link set eth1 mtu 1500", "interfaces"),
    "underlay": ("host2", "ip link set eth0 down", "ip link set eth0 up", "underlay"),
    "a stranger's rule": (
        "host1",
        "ip netns exec $ROUTER iptables -I FORWARD -j DROP",
        "ip netns exec $ROUTER iptables -D FORWARD -j DROP",
        "rules",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_is_found(ward: Ward, name: str) -> None:
    host, script, undo, check = BREAKS[name]
    known = f"ROUTER={ward.router}; "
    wait_for("the doctor is content", ward.healthy)
    try:
        ward.lab.on(host, known + script)
        found = ward.findings()
    finally:
        ward.lab.on(host, known + undo)
    assert check in {each["check"] for each in found}, found
    settled: Callable[[], bool] = ward.healthy
    wait_for("the doctor is content again", settled)
