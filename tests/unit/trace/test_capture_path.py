"""Where an instance's frames can be seen: each place once, in the order of the way."""

from __future__ import annotations

import pytest

from virga.contract.doctor import HostExamination, Uplink
from virga.trace.capture_path import NotOne, Place, Plugged, chosen, hops

TAP = Plugged("11111111-aa", "h2", "tap", "blue")
QR = Plugged("22222222-bb", "h1", "qr", "blue", "qrouter-r")
QG = Plugged("33333333-cc", "h1", "qg", "public", "qrouter-r")
PHYSICAL = {"blue": "physnet1", "public": "public"}


def host(name: str, **nics: str) -> HostExamination:
    wires = [Uplink(physical_network=net, bridge=f"br-{nic}", nic=nic, mac="x") for net, nic in nics.items()]
    return HostExamination(host=name, time=0.0, uplinks=wires)


HOSTS = {"h1": host("h1", physnet1="eth1", public="eth2"), "h2": host("h2", physnet1="eth1")}


def names(*ports: Plugged) -> list[str]:
    return [hop.name for hop in hops(Place(ports, PHYSICAL), HOSTS)]


def test_from_the_tap_over_the_wire_through_the_router_to_the_outside() -> None:
    assert names(TAP, QR, QG) == [
        "h2:tap11111111-aa", "h2:br-int", "h2:eth1", "h1:eth1", "h1:br-int", "h1:qr-22222222-bb", "h1:qg-33333333-cc", "h1:eth2",
    ]  # fmt: skip


def test_a_way_within_one_host_leaves_the_wire_out() -> None:
    here = Plugged(TAP.id, "h1", "tap", "blue", hybrid=True)
    found = names(here, QR)
    assert "h1:eth1" not in found
    assert found[:4] == ["h1:tap11111111-aa", "h1:qbr11111111-aa", "h1:qvb11111111-aa", "h1:qvo11111111-aa"]


def test_an_instance_that_is_nowhere_has_no_hops() -> None:
    assert names(Plugged(TAP.id, "", "tap", "blue")) == []


def test_hops_are_chosen_by_kind_device_or_name() -> None:
    all_hops = hops(Place((TAP, QR, QG), PHYSICAL), HOSTS)
    assert [hop.name for hop in chosen(all_hops, [])] == ["h2:tap11111111-aa"]
    assert [hop.name for hop in chosen(all_hops, ["qg", "h2:eth1"])] == ["h2:eth1", "h1:qg-33333333-cc"]
    assert chosen(all_hops, ["all"]) == all_hops
    with pytest.raises(NotOne, match="no hop 'nic9'"):
        chosen(all_hops, ["nic9"])
