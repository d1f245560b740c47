"""What the guides show: the very commands people type on network nodes, on the hosts of a lab.

One topology for all: two networks with a machine each, a router between them and to the public
network, a floating IP on the first machine.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lib.lab import Lab, answers_on, pings, ssh, wait_for


@dataclass
class World:
    """The topology, by its objects."""

    lab: Lab
    key: Path
    net1: Any
    net2: Any
    subnet1: Any
    subnet2: Any
    router: Any
    group: Any
    web: Any
    db: Any
    floating: str
    floating_id: str

    def in_web(self, command: str) -> subprocess.CompletedProcess[str]:
        return ssh(self.floating, command, self.key)

    def address(self, server: Any) -> str:
        return next(
            a["addr"] for each in server.addresses.values() for a in each if a["OS-EXT-IPS:type"] == "fixed"
        )


@pytest.fixture(scope="module")
def world(lab: Lab, demo: Any, key: Path) -> Iterator[World]:
    made: list[Any] = []
    net1 = demo.network.create_network(name="net1")
    subnet1 = demo.network.create_subnet(
        network_id=net1.id, name="sub1", ip_version=4, cidr="10.10.10.0/24", dns_nameservers=[]
    )
    net2 = demo.network.create_network(name="net2")
    subnet2 = demo.network.create_subnet(network_id=net2.id, name="sub2", ip_version=4, cidr="10.10.20.0/24")
    public = demo.network.find_network("public")
    router = demo.network.create_router(name="r1", external_gateway_info={"network_id": public.id})
    for subnet in (subnet1, subnet2):
        demo.network.add_interface_to_router(router, subnet=subnet.id)
    group = demo.network.create_security_group(name="web")
    for protocol, port in (("tcp", 22), ("icmp", None)):
        demo.network.create_security_group_rule(
            security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol=protocol,
            port_range_min=port, port_range_max=port,
        )  # fmt: skip
    pair = demo.compute.create_keypair(name="scenario", public_key=key.with_suffix(".pub").read_text())
    flavor = demo.compute.find_flavor("m1.nano")
    image = demo.image.find_image("tiny")
    servers = []
    for name, net in (("web", net1), ("db", net2)):
        made.append(
            demo.compute.create_server(
                name=name, flavor_id=flavor.id, image_id=image.id, key_name=pair.name,
                networks=[{"uuid": net.id}], security_groups=[{"name": group.name}],
            )
        )  # fmt: skip
    for server in made:
        servers.append(demo.compute.wait_for_server(server, wait=240))
    port = next(iter(demo.network.ports(device_id=servers[0].id)))
    floating = demo.network.create_ip(floating_network_id=public.id, port_id=port.id)
    here = World(
        lab, key, net1, net2, subnet1, subnet2, router, group, servers[0], servers[1],
        floating.floating_ip_address, floating.id,
    )  # fmt: skip
    wait_for("web answers SSH at its floating IP", lambda: here.in_web("true").returncode == 0, 180)
    yield here
    demo.network.delete_ip(floating.id)
    for server in made:
        demo.compute.delete_server(server)
    for server in made:
        demo.compute.wait_for_delete(server, wait=120)
    for subnet in (subnet1, subnet2):
        demo.network.remove_interface_from_router(router, subnet=subnet.id)
    demo.network.delete_router(router)
    for net in (net1, net2):
        demo.network.delete_network(net)
    demo.network.delete_security_group(group)
    demo.compute.delete_keypair(pair)


def test_dhcp_namespace_device_and_flows(world: World, admin: Any) -> None:
    """A network with DHCP, as ``ip netns``, ``ovs-vsctl show`` and ``ovs-ofctl dump-flows`` tell it."""
    lab, network = world.lab, admin.network.get_network(world.net1.id)
    namespace = f"qdhcp-{network.id}"
    assert namespace in lab.on("host1", "ip netns list")
    dhcp_port = next(iter(admin.network.ports(network_id=network.id, device_owner="network:dhcp")))
    device = f"tap{dhcp_port.id[:11]}"
    shown = lab.on("host1", f"ip netns exec {namespace} ip addr show {device}")
    assert dhcp_port.fixed_ips[0]["ip_address"] + "/24" in shown
    switch = lab.on("host1", "ovs-vsctl show")
    assert re.search(rf"Port {device}\n\s+tag: \d+", switch) or re.search(
        rf'Port "{device}"\n\s+tag: \d+', switch
    )
    tag = int(lab.on("host1", f"ovs-vsctl get Port {device} tag"))
    segment = network.provider_segmentation_id
    inward = lab.on("host1", "ovs-ofctl dump-flows br-int table=0")
    assert re.search(rf"dl_vlan={segment} actions=mod_vlan_vid:{tag}\b", inward)
    outward = lab.on("host1", "ovs-ofctl dump-flows br-eth1")
    assert re.search(rf"dl_vlan={tag} actions=mod_vlan_vid:{segment}\b", outward)
    assert re.search(r"priority=2,in_port=\S+ actions=drop", inward), "what is unknown must be dropped"


def test_the_machine_is_on_the_switch_of_its_host(world: World, admin: Any) -> None:
    server = admin.compute.get_server(world.web.id)
    port = next(iter(admin.network.ports(device_id=server.id)))
    assert port.status == "ACTIVE"
    assert port.binding_host_id == server.hypervisor_hostname
    device = f"tap{port.id[:11]}"
    ids = world.lab.on(port.binding_host_id, f"ovs-vsctl get Interface {device} external_ids")
    assert f'iface-id="{port.id}"' in ids
    assert f'attached-mac="{port.mac_address}"' in ids


def test_the_address_comes_from_dnsmasq(world: World, admin: Any) -> None:
    port = next(iter(admin.network.ports(device_id=world.web.id)))
    address = port.fixed_ips[0]["ip_address"]
    line = world.lab.on("host1", f"ps -ww -eo args | grep -- '--dhcp-hostsfile=.*{world.net1.id}'")
    hosts = re.search(rf"--dhcp-hostsfile=(\S*{world.net1.id}/host)", line)
    assert hosts is not None
    entry = world.lab.on("host1", f"grep {port.mac_address} {hosts[1]}")
    assert entry.startswith(f"{port.mac_address},") and entry.strip().endswith(f",{address}")
    assert address in world.in_web("ip -4 addr show eth0").stdout


def test_routing_between_networks_and_only_through_the_router(world: World, demo: Any) -> None:
    target = world.address(world.db)
    assert world.in_web(f"ping -c 2 -W 2 {target}").returncode == 0
    space = f"qrouter-{world.router.id}"
    addresses = world.lab.on("host1", f"ip netns exec {space} ip -o -4 addr")
    assert re.search(r"qr-\S+\s+inet 10\.10\.10\.1/24", addresses)
    assert re.search(r"qr-\S+\s+inet 10\.10\.20\.1/24", addresses)
    assert world.lab.on("host1", f"ip netns exec {space} sysctl -n net.ipv4.ip_forward").strip() == "1"
    demo.network.remove_interface_from_router(world.router, subnet=world.subnet2.id)
    try:
        wait_for(
            "without the router there is no way",
            lambda: world.in_web(f"ping -c 1 -W 1 {target}").returncode != 0,
        )
    finally:
        demo.network.add_interface_to_router(world.router, subnet=world.subnet2.id)
    wait_for("and with it there is again", lambda: world.in_web(f"ping -c 1 -W 1 {target}").returncode == 0)


def test_public_network_gateway_and_source_nat(world: World) -> None:
    space = f"qrouter-{world.router.id}"
    rules = world.lab.on("host1", f"ip netns exec {space} iptables -t nat -S")
    assert len(re.findall(r"-A neutron-l3-agent-snat -o qg-\S+ -j SNAT --to-source", rules)) == 1
    assert re.search(
        r"default via 172\.24\.\d+\.1 dev qg-", world.lab.on("host1", f"ip netns exec {space} ip route")
    )
    gateway = world.floating.rpartition(".")[0] + ".1"
    assert world.in_web(f"ping -c 2 -W 2 {gateway}").returncode == 0


def test_floating_ip_rules_and_security_group(world: World, demo: Any) -> None:
    space = f"qrouter-{world.router.id}"
    fixed = world.address(world.web)
    rules = world.lab.on("host1", f"ip netns exec {space} iptables -t nat -S")
    assert f"-A neutron-l3-agent-PREROUTING -d {world.floating}/32 -j DNAT --to-destination {fixed}" in rules
    assert f"-A neutron-l3-agent-float-snat -s {fixed}/32 -j SNAT --to-source {world.floating}" in rules
    rule = next(
        r
        for r in demo.network.security_group_rules(security_group_id=world.group.id)
        if r.port_range_min == 22
    )
    demo.network.delete_security_group_rule(rule.id)
    try:
        wait_for("SSH is refused without a rule", lambda: not answers_on(world.floating, 22))
        assert pings(world.floating), "the other rule still holds"
    finally:
        demo.network.create_security_group_rule(
            security_group_id=world.group.id, direction="ingress", ethertype="IPv4", protocol="tcp",
            port_range_min=22, port_range_max=22,
        )  # fmt: skip
    wait_for("SSH is allowed again", lambda: answers_on(world.floating, 22))


def test_removing_a_floating_ip_ends_its_connections(world: World, demo: Any) -> None:
    port = next(iter(demo.network.ports(device_id=world.web.id)))
    session = subprocess.Popen(
        [
            "ssh", "-i", str(world.key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", "-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=2",
            f"cirros@{world.floating}", "echo in; sleep 300",
        ],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert session.stdout is not None
        assert session.stdout.readline() == "in\n"
        demo.network.update_ip(world.floating_id, port_id=None)
        assert session.wait(timeout=30) != 0, "the old connection must not live on"
        assert not pings(world.floating)
        assert demo.network.get_ip(world.floating_id).status == "DOWN"
    finally:
        session.kill()
        session.communicate()
        demo.network.update_ip(world.floating_id, port_id=port.id)
    wait_for("the address answers again", lambda: answers_on(world.floating, 22))
    wait_for("its status says so", lambda: demo.network.get_ip(world.floating_id).status == "ACTIVE")


def test_names_resolve_on_the_network(world: World) -> None:
    assert world.in_web("nslookup web").returncode == 0


def test_metadata_is_for_the_port_that_asks(world: World) -> None:
    said = world.in_web("curl -s http://169.254.169.254/latest/meta-data/hostname").stdout
    assert said.startswith("web")
    assert (
        world.in_web("curl -s http://169.254.169.254/latest/meta-data/public-ipv4").stdout.strip()
        == world.floating
    )


def test_the_machine_itself_shows_one_interface(world: World) -> None:
    """No namespaces and no bridges of the lab in the machine's own view."""
    names = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert "qrouter-" not in names and "qdhcp-" not in names
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert not re.search(r": (tap|qbr|qvb|qvo|qr-|qg-|br-)", links)
