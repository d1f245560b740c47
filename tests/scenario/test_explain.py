"""`virga explain` on a lab of two hosts: what works is never accused, and of what was broken the culprit is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lib.lab import Lab, wait_for


@dataclass
class Pair:
    """A machine on each of two networks, and a router between them; the second is on the other host."""

    lab: Lab
    network: Any
    router: str
    group: Any
    names: tuple[str, str]
    floating: str

    def explain(self, *words: str) -> tuple[str, int, dict[str, Any]]:
        """Code, exit status and the whole answer."""
        done = self.lab.virga("explain", *words, "--json", check=False)
        answer: dict[str, Any] = json.loads(done.stdout) if done.stdout else {}
        return answer.get("verdict", {}).get("code", done.stderr), done.returncode, answer

    def becomes(self, code: str, *words: str) -> None:
        wait_for(f"{' '.join(words)} is {code}", lambda: self.explain(*words)[0] == code)


@pytest.fixture(scope="module")
def pair(lab: Lab, demo: Any, admin: Any) -> Iterator[Pair]:
    api = demo.network
    public = api.find_network("public")
    router = api.create_router(name="between", external_gateway_info={"network_id": public.id})
    group = api.create_security_group(name="explained")
    api.create_security_group_rule(
        security_group_id=group.id, direction="ingress", ethertype="IPv4", protocol="icmp"
    )
    image, flavor = demo.image.find_image("tiny"), demo.compute.find_flavor("ns.tiny")
    networks, subnets, servers = [], [], []
    for number, name in enumerate(("here", "there"), 1):
        networks.append(api.create_network(name=name))
        subnets.append(
            api.create_subnet(network_id=networks[-1].id, ip_version=4, cidr=f"10.66.{number}.0/24")
        )
        api.add_interface_to_router(router, subnet=subnets[-1].id)
        servers.append(
            admin.compute.create_server(
                name=f"explained-{name}", flavor_id=flavor.id, image_id=image.id, host=f"host{number}",
                networks=[{"port": api.create_port(network_id=networks[-1].id, security_groups=[group.id]).id}],
            )
        )  # fmt: skip
    for server in servers:
        admin.compute.wait_for_server(server, wait=120)
    port = next(iter(admin.network.ports(device_id=servers[0].id)))
    floating = api.create_ip(floating_network_id=public.id, port_id=port.id)
    names = (servers[0].name, servers[1].name)
    found = Pair(lab, networks[0], router.id, group, names, floating.floating_ip_address)
    found.becomes("REACHABLE", *names)
    yield found
    api.delete_ip(floating.id)
    ports = [p for server in servers for p in admin.network.ports(device_id=server.id)]
    for server in servers:
        admin.compute.delete_server(server)
    for server in servers:
        admin.compute.wait_for_delete(server, wait=120)
    for each in ports:
        admin.network.delete_port(each.id)
    for network, subnet in zip(networks, subnets, strict=True):
        api.remove_interface_from_router(router, subnet=subnet.id)
        api.delete_network(network)
    api.delete_router(router)
    api.delete_security_group(group)


@pytest.mark.parametrize("words", ["{one} {two}", "{two} {one}", "{one} outside", "outside {one}", "outside {fip}",
                                   "{two} outside", "{one} dhcp", "{two} metadata", "{one} dns"])  # fmt: skip
def test_what_works_is_reachable(pair: Pair, words: str) -> None:
    one, two = pair.names
    asked = words.format(one=one, two=two, fip=pair.floating).split()
    code, status, answer = pair.explain(*asked)
    assert (code, status) == ("REACHABLE", 0), answer.get("verdict")
    assert {hop["direction"] for hop in answer["hops"]} == {"there", "back"}
    seen = [hop["observed"].get("state") for hop in answer["hops"]]
    assert "ok" in seen
    assert "missing" not in seen


def test_a_missing_rule_is_named_with_who_changed_the_group(pair: Pair) -> None:
    code, status, answer = pair.explain(*pair.names, "tcp/5432")
    assert (code, status) == ("SG_NO_MATCH", 1)
    verdict = answer["verdict"]
    assert verdict["culprit"]["id"] == pair.group.id
    assert verdict["changed_by"].startswith("demo, request req-")


def test_a_strangers_rule_in_a_router_is_named_and_the_command_given_mends_it(pair: Pair) -> None:
    space = f"ip netns exec qrouter-{pair.router}"
    pair.lab.on("host1", f"{space} iptables -I FORWARD -p icmp -j DROP")
    try:
        code, status, answer = pair.explain(*pair.names)
        assert (code, status) == ("DRIFT", 1)
        host, _, command = answer["verdict"]["mend"].removeprefix("virga host exec ").partition(" -- ")
        pair.lab.on(host, command)
        assert pair.explain(*pair.names)[0] == "REACHABLE"
    finally:
        pair.lab.on("host1", f"{space} iptables -D FORWARD -p icmp -j DROP 2> /dev/null; true")


def test_a_guest_that_shut_its_interface_is_silent(pair: Pair) -> None:
    code, _, answer = pair.explain(*pair.names)
    assert code == "REACHABLE"
    tap = next(hop["name"] for hop in answer["hops"] if hop["kind"] == "tap" and hop["host"] == "host2")
    space = f"ip netns exec $(ip -o link show {tap} | grep -o 'instance-[0-9a-f-]*')"
    pair.lab.on("host2", f"{space} ip link set eth0 down")
    try:
        assert pair.explain(*pair.names)[0] == "GUEST_SILENT"
    finally:
        pair.lab.on("host2", f"{space} sh -c 'ip link set eth0 up; ip route replace default via 10.66.2.1'")
    pair.becomes("REACHABLE", *pair.names)


def test_a_member_is_told_without_hosts(pair: Pair) -> None:
    done = pair.lab.virga("explain", pair.floating, "--project", "demo", "nowhere", "--json", check=False)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    code, status, answer = pair.explain("--project", "demo", "outside", pair.floating)
    assert (code, status) == ("REACHABLE", 0)
    assert {hop["host"] for hop in answer["hops"]} == {""}
