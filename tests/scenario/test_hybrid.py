"""The hybrid plug on a whole cloud: a Linux bridge for each port, filtered by iptables as guides show it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection

from tests.lib.lab import Lab, running_lab, wait_for


@dataclass
class Bridged:
    """Two machines on one network of a cloud whose ports are behind Linux bridges."""

    lab: Lab
    admin: Any
    group: Any
    servers: list[Any]
    ports: list[Any]

    def address(self, number: int) -> str:
        return str(self.ports[number].fixed_ips[0]["ip_address"])

    def pings(self, number: int, address: str) -> bool:
        inside = f"ip netns exec instance-{self.servers[number].id} ping -n -c 1 -W 1 {address}"
        return "1 received" in self.lab.on("host1", inside, check=False)


@pytest.fixture(scope="module")
def bridged() -> Iterator[Bridged]:
    if os.geteuid() != 0 or shutil.which("ovs-vswitchd") is None:
        pytest.skip("a lab needs root and Open vSwitch")
    with running_lab(toml='plug = "hybrid"\n') as lab:
        config = OpenStackConfig(config_files=[str(lab.clouds_yaml)], load_envvars=False)
        connection = Connection(config=config.get_one(cloud="virga"))
        yield _two_machines(lab, connection)
        connection.close()


def _two_machines(lab: Lab, admin: Any) -> Bridged:
    network = admin.network.create_network(name="bridged")
    admin.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.30.0.0/24")
    group = admin.network.create_security_group(name="bridged")
    image, flavor = admin.image.find_image("tiny"), admin.compute.find_flavor("ns.tiny")
    servers = [
        admin.compute.create_server(
            name=f"bridged{number}",
            image_id=image.id,
            flavor_id=flavor.id,
            networks=[{"uuid": network.id}],
            security_groups=[{"name": group.name}],
        )
        for number in range(2)
    ]
    servers = [admin.compute.wait_for_server(server, wait=120) for server in servers]
    ports = [next(admin.network.ports(device_id=server.id)) for server in servers]
    return Bridged(lab, admin, group, servers, ports)


def test_each_port_has_its_bridge_and_the_pair_to_the_switch(bridged: Bridged) -> None:
    for port in bridged.ports:
        assert port.binding_vif_details["ovs_hybrid_plug"] is True
        assert port.status == "ACTIVE"
        short = port.id[:11]
        members = bridged.lab.on("host1", f"ls /sys/class/net/qbr{short}/brif").split()
        assert sorted(members) == [f"qvb{short}", f"tap{short}"]
        assert f"qvo{short}" in bridged.lab.on("host1", "ovs-vsctl list-ports br-int").split()
        chain = f"neutron-openvswi-i{port.id[:10]}"
        assert chain in bridged.lab.on("host1", "iptables -S")


def test_rules_are_obeyed_as_they_come_and_go(bridged: Bridged) -> None:
    other = bridged.address(1)
    wait_for(
        "DHCP has answered", lambda: "10.30.0." in _addresses(bridged, 0) and other in _addresses(bridged, 1)
    )
    assert not bridged.pings(0, other)
    rule = bridged.admin.network.create_security_group_rule(
        security_group_id=bridged.group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
    )
    wait_for("what is allowed passes", lambda: bridged.pings(0, other))
    bridged.admin.network.delete_security_group_rule(rule)
    wait_for("what is allowed no more is stopped", lambda: not bridged.pings(0, other))


def _addresses(bridged: Bridged, number: int) -> str:
    return bridged.lab.on(
        "host1", f"ip netns exec instance-{bridged.servers[number].id} ip -4 addr", check=False
    )


def test_who_lies_about_its_address_is_not_heard(bridged: Bridged) -> None:
    rule = bridged.admin.network.create_security_group_rule(
        security_group_id=bridged.group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
    )
    other = bridged.address(1)
    wait_for("what is allowed passes", lambda: bridged.pings(0, other))
    name = f"ip netns exec instance-{bridged.servers[0].id}"
    bridged.lab.on("host1", f"{name} ip addr add 10.30.0.250/24 dev eth0")
    lied = bridged.lab.on("host1", f"{name} ping -n -c 2 -W 1 -I 10.30.0.250 {other}", check=False)
    assert "0 received" in lied
    assert bridged.pings(0, other)
    bridged.admin.network.delete_security_group_rule(rule)
