"""Named worlds, and who reaches whom in them: packets go through the compiled flows, no kernel involved."""

from __future__ import annotations

import msgspec
import pytest

from tests.lib.l2_model import BROADCAST, FAR_MAC, Model
from tests.lib.l2_world import (
    GROUP_ID,
    NETWORK,
    Guest,
    group,
    numbered,
    out_all,
    pair,
    ping_in,
    rule,
    tcp_in,
    udp_in,
)
from virga.contract.items import AddressGroup, AnyItem, FixedIp, Network, SecurityGroup
from virga.sdn.port_flows import link_local

A, B, C = Guest(1), Guest(2), Guest(3)
OTHER = numbered("b", 1)
OUTSIDER = Guest(4, groups=(OTHER,))
SECOND = Network(key=numbered("d", 2), network_type="vlan", physical_network="physnet1", segmentation_id=200)
ROUTER = Guest(200, changes={"device_owner": "network:router_interface", "plug": "veth"})
OPEN = Guest(5, groups=(), changes={"port_security_enabled": False})


def world(*guests: Guest, groups: tuple[SecurityGroup, ...], more: tuple[AnyItem, ...] = ()) -> Model:
    ports = [guest.port for guest in guests]
    members = [guest.member(g) for guest in guests for g in guest.groups]
    return Model([NETWORK, SECOND, *groups, *ports, *members, *more])


DEFAULT = group(*out_all(), rule(5, "ingress", remote_group_id=GROUP_ID))
CLOSED = group(*out_all(10), key=OTHER)


def test_members_of_the_default_group_reach_one_another_and_others_do_not() -> None:
    model = world(A, B, OUTSIDER, groups=(DEFAULT, CLOSED))
    assert model.answered(A, B, 80)
    assert model.reaches(B, "udp", A, tp_dst=53)
    assert not model.reaches(OUTSIDER, "tcp", A, tp_dst=80)
    assert not model.reaches(A, "tcp", OUTSIDER, tp_dst=80)


def test_an_answer_passes_only_after_its_question() -> None:
    model = world(A, OUTSIDER, groups=(group(*out_all(), tcp_in(3, 22)), CLOSED))
    assert not model.reaches(A, "tcp", OUTSIDER, tp_src=22, tp_dst=40000)
    assert model.answered(OUTSIDER, A, 22)


@pytest.mark.parametrize(
    ("low", "high", "inside", "outside"),
    [
        (22, 22, [22], [21, 23]),
        (80, 95, [80, 95], [79, 96]),
        (1, 65535, [1, 65535], [0]),
        (1000, 1999, [1000, 1500, 1999], [999, 2000]),
    ],
)
def test_port_ranges_are_exact(low: int, high: int, inside: list[int], outside: list[int]) -> None:
    model = world(A, B, groups=(group(*out_all(), udp_in(3, low, high)),))
    assert [p for p in (*inside, *outside) if model.reaches(A, "udp", B, tp_dst=p)] == sorted(inside)
    assert not model.reaches(A, "tcp", B, tp_dst=inside[0])


def test_prefixes_and_address_groups_decide_by_source() -> None:
    addresses = AddressGroup(key=numbered("f", 1), addresses=["10.10.10.2/32", "10.10.10.128/25"])
    rules = group(
        *out_all(),
        tcp_in(3, 22, remote_ip_prefix="10.10.10.0/30"),
        tcp_in(4, 80, remote_address_group_id=addresses.key),
    )
    far, near = Guest(130), Guest(2)
    model = world(A, near, C, Guest(5), far, groups=(rules,), more=(addresses,))
    assert [g.number for g in (near, C, Guest(5), far) if model.reaches(g, "tcp", A, tp_dst=22)] == [2, 3]
    assert [g.number for g in (near, C, Guest(5), far) if model.reaches(g, "tcp", A, tp_dst=80)] == [2, 130]


def test_egress_rules_hold_back_what_is_not_allowed() -> None:
    rules = group(
        rule(
            1, "egress", protocol=6, port_range_min=443, port_range_max=443, remote_ip_prefix="10.10.10.2/32"
        ),
        rule(2, "ingress"),
    )
    model = world(A, B, C, groups=(rules,))
    assert model.reaches(A, "tcp", B, tp_dst=443)
    assert not model.reaches(A, "tcp", C, tp_dst=443)
    assert not model.reaches(A, "tcp", B, tp_dst=80)


def test_icmp_types_and_codes() -> None:
    model = world(A, B, groups=(group(*out_all(), ping_in(3, port_range_min=8, port_range_max=0)),))
    assert model.reaches(A, "icmp", B, icmp_type=8, icmp_code=0)
    assert not model.reaches(A, "icmp", B, icmp_type=8, icmp_code=1)
    assert not model.reaches(A, "icmp", B, icmp_type=13)


def test_other_protocols_by_number() -> None:
    model = world(A, B, groups=(group(*out_all(), rule(3, "ingress", protocol=47)),))
    assert model.reaches(A, "ip", B, nw_proto=47)
    assert not model.reaches(A, "ip", B, nw_proto=50)


@pytest.mark.parametrize(
    "lie",
    [
        {"dl_src": "fa:16:3e:99:99:99"},
        {"nw_src": "10.10.10.77"},
        {"vlan": 5},
    ],
)
def test_a_lie_about_the_source_reaches_nobody(lie: dict[str, str | int]) -> None:
    model = world(A, B, groups=(group(*out_all(), rule(3, "ingress")),))
    assert model.reaches(A, "tcp", B, tp_dst=80)
    assert not model.send(A, "tcp", B, tp_dst=80, **lie).reached


def test_guests_offer_neither_dhcp_nor_routes_nor_foreign_neighbours() -> None:
    model = world(A, B, groups=(group(*out_all(), rule(3, "ingress"), rule(4, "ingress", ethertype="IPv6")),))
    six = {"nw_src": link_local(A.mac), "nw_dst": link_local(B.mac)}
    assert not model.send(A, "udp", B, tp_src=67, tp_dst=68).reached
    assert not model.send(A, "icmp6", B, icmp_type=134, **six).reached
    assert not model.send(A, "icmp6", B, icmp_type=136, nd_target="fd00::99", **six).reached
    assert model.send(A, "icmp6", B, icmp_type=136, nd_target=link_local(A.mac), **six).reached
    assert not model.send(A, "arp", B, dl_dst=BROADCAST, arp_spa="10.10.10.2").reached
    assert model.send(A, "arp", B, dl_dst=BROADCAST, arp_spa=A.address).reached == {B.port.key, "eth1"}


def test_dhcp_works_without_any_rule() -> None:
    model = world(A, ROUTER, groups=(group(),))
    asked = model.send(
        A, "udp", ROUTER, dl_dst=BROADCAST, nw_src="0.0.0.0", nw_dst="255.255.255.255", tp_src=68, tp_dst=67
    )
    assert ROUTER.port.key in asked.reached
    assert A.port.key in model.send(ROUTER, "udp", A, tp_src=67, tp_dst=68).reached
    assert not model.reaches(A, "tcp", ROUTER, tp_dst=80)
    assert not model.reaches(ROUTER, "tcp", A, tp_dst=80)


def test_allowed_pairs_may_speak() -> None:
    paired = Guest(
        1, changes={"allowed_address_pairs": [pair("10.99.0.0/16"), pair("10.1.1.1", "00:00:5e:00:01:01")]}
    )
    model = world(paired, B, groups=(group(*out_all(), rule(3, "ingress")),))
    assert model.reaches(paired, "tcp", B, nw_src="10.99.3.4", tp_dst=1)
    assert model.reaches(paired, "tcp", B, nw_src="10.1.1.1", dl_src="00:00:5e:00:01:01", tp_dst=1)
    assert not model.reaches(paired, "tcp", B, nw_src="10.1.1.1", tp_dst=1)
    assert paired.port.key in model.send(B, "tcp", paired, dl_dst="00:00:5e:00:01:01", tp_dst=1).reached


def test_without_port_security_everything_passes() -> None:
    model = world(OPEN, B, groups=(group(*out_all()),))
    assert model.reaches(B, "tcp", OPEN, tp_dst=80)
    assert OPEN.port.key in model.send(B, "tcp", OPEN, dl_dst=FAR_MAC, tp_dst=80).reached
    assert not model.reaches(OPEN, "tcp", B, nw_src="1.2.3.4", tp_dst=80)


def test_an_unknown_address_goes_to_the_uplink_and_to_no_neighbour() -> None:
    model = world(A, B, C, groups=(DEFAULT,))
    assert model.send(A, "tcp", "10.10.10.99", tp_dst=80).reached == {"eth1"}
    delivery = model.send(A, "tcp", "10.10.10.99", tp_dst=80).deliveries[0]
    assert delivery.vlan == NETWORK.segmentation_id


def test_the_wire_reaches_a_port_only_by_its_segmentation_id_and_rules() -> None:
    model = world(A, B, groups=(group(*out_all(), tcp_in(3, 22)),))
    frame: dict[str, str | int] = {
        "dl_src": FAR_MAC,
        "dl_dst": A.mac,
        "nw_src": "10.10.10.99",
        "nw_dst": A.address,
    }
    assert model.arrive("tcp", 100, tp_dst=22, **frame).reached == {A.port.key}
    assert not model.arrive("tcp", 100, tp_dst=23, **frame).reached
    for vlan in (None, 1, 200, 300):
        assert A.port.key not in model.arrive("tcp", vlan, tp_dst=22, **frame).reached
    assert model.arrive("arp", 100, dl_src=FAR_MAC, dl_dst=BROADCAST, arp_spa="10.10.10.99").reached == {
        A.port.key,
        B.port.key,
    }


def test_networks_do_not_meet() -> None:
    stranger = Guest(6, network_id=SECOND.key)
    model = world(A, stranger, groups=(group(*out_all(), rule(3, "ingress")),))
    assert not model.reaches(A, "tcp", stranger, tp_dst=80)
    assert (
        stranger.port.key not in model.send(A, "arp", stranger, dl_dst=BROADCAST, arp_spa=A.address).reached
    )


def test_flat_networks_are_untagged_on_the_wire() -> None:
    flat = msgspec.structs.replace(NETWORK, network_type="flat", segmentation_id=None)
    model = Model([flat, DEFAULT, A.port, A.member()])
    assert model.send(A, "tcp", "10.10.10.99", tp_dst=80).deliveries[0].vlan is None
    assert model.arrive("arp", None, dl_src=FAR_MAC, dl_dst=BROADCAST, arp_spa="1.1.1.1").reached == {
        A.port.key
    }


def test_a_stateless_group_needs_rules_both_ways() -> None:
    stateless = group(*out_all(), tcp_in(3, 22), key=OTHER, stateful=False)
    server = Guest(4, groups=(OTHER,))
    model = world(A, server, groups=(group(*out_all()), stateless))
    assert model.answered(A, server, 22)
    assert not model.answered(server, A, 22)
    without_answers = group(tcp_in(3, 22), key=OTHER, stateful=False)
    model = world(A, server, groups=(group(*out_all()), without_answers))
    assert model.reaches(A, "tcp", server, tp_dst=22)
    assert not model.reaches(server, "tcp", A, tp_src=22, tp_dst=40000)


def test_a_removed_rule_cuts_established_connections() -> None:
    before = world(A, B, groups=(group(*out_all(), tcp_in(3, 22)),))
    assert before.answered(A, B, 22)
    after = world(A, B, groups=(group(*out_all()),))
    after.switch.connections = before.switch.connections
    assert not after.reaches(A, "tcp", B, tp_dst=22)
    assert not after.reaches(B, "tcp", A, tp_src=22, tp_dst=40000)
    again = world(A, B, groups=(group(*out_all(), tcp_in(3, 22)),))
    again.switch.connections = before.switch.connections
    assert again.answered(A, B, 22)


def test_ipv6_follows_its_own_rules() -> None:
    six = Guest(1, changes={"fixed_ips": [FixedIp("s6", "fd00::1", 64)]})
    model = world(six, B, groups=(group(*out_all(), tcp_in(3, 22, ethertype="IPv6")),))
    fields = {"dl_src": B.mac, "nw_src": link_local(B.mac), "nw_dst": "fd00::1"}
    assert model.reaches(B, "tcp6", six, tp_dst=22, **fields)
    assert not model.reaches(B, "tcp6", six, tp_dst=23, **fields)
    assert not model.reaches(B, "tcp", six, tp_dst=22)
    assert not model.reaches(B, "tcp6", six, tp_dst=22, dl_src=B.mac, nw_src="fd00::2", nw_dst="fd00::1")


def test_a_port_whose_group_is_unknown_gets_nothing() -> None:
    model = Model([NETWORK, DEFAULT, A.port, A.member(), OUTSIDER.port])
    assert not model.reaches(A, "tcp", OUTSIDER, tp_dst=80)
    assert not model.reaches(OUTSIDER, "tcp", A, tp_dst=80)


def test_flows_of_a_port_do_not_grow_with_members_times_rules() -> None:
    rules = [tcp_in(100 + n, n, remote_group_id=GROUP_ID) for n in range(1, 31)]

    def count(guests: int) -> int:
        members = [Guest(n) for n in range(1, guests + 1)]
        return len(world(*members, groups=(group(*out_all(), *rules),)).sets["br-int"].flows())

    ten, twenty, forty = count(10), count(20), count(40)
    assert (forty - twenty) / 20 == (twenty - ten) / 10 <= 15


def test_every_flow_leads_to_its_object() -> None:
    model = world(A, B, groups=(DEFAULT,))
    walk = model.send(A, "tcp", B, tp_dst=80)
    cookies = {f"{step.flow.cookie:016x}" for step in walk.steps}
    for object_id in (A.port.key, B.port.key, numbered("e", 5)):
        assert object_id.replace("-", "")[:16] in cookies
