"""Addresses: never twice, always inside a pool, refused only when there is none left."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.lib.network import NetworkCloud
from virga.services.network import ipam, subnetpool_allocation
from virga.services.network.models import ip_allocation

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def a_subnet(cloud: NetworkCloud, **more: Any) -> str:
    network = cloud.post("admin", "/networks", {"network": {}})
    body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/28", "enable_dhcp": False, **more}
    cloud.post("admin", "/subnets", {"subnet": body})
    return str(network["id"])


@FEW
@given(st.lists(st.one_of(st.none(), st.integers(0, 15)), max_size=30))
def test_any_order_of_taking_and_giving_back(steps: list[int | None]) -> None:
    cloud = NetworkCloud()
    try:
        network_id = a_subnet(cloud)
        held: list[dict[str, Any]] = []
        for step in steps:
            if step is not None and held:
                cloud.delete("admin", f"/ports/{held.pop(step % len(held))['id']}")
                continue
            answer = cloud.request("admin", "POST", "/ports", {"port": {"network_id": network_id}})
            if len(held) == 13:
                assert answer.body["NeutronError"]["type"] == "IpAddressGenerationFailure"
                continue
            held.append(answer.body["port"])
        taken = [p["fixed_ips"][0]["ip_address"] for p in held]
        assert len(set(taken)) == len(taken)
        assert all(2 <= int(a.rsplit(".", 1)[1]) <= 14 for a in taken)
        rows = cloud.database.read(lambda tx: tx.all(select(ip_allocation.c.ip_address)))
        assert sorted(r.ip_address for r in rows) == sorted(taken)
    finally:
        cloud.close()


@given(st.integers(8, 30), st.data())
def test_default_pools_leave_out_only_what_is_not_for_hosts(length: int, data: st.DataObject) -> None:
    net = ipaddress.ip_network(f"10.0.0.0/{length}")
    gateway = net[data.draw(st.integers(1, net.num_addresses - 2))]
    pools = ipam.default_pools(net, gateway)
    sizes = [int(ipaddress.ip_address(p["end"])) - int(ipaddress.ip_address(p["start"])) + 1 for p in pools]
    assert sum(sizes) == net.num_addresses - 3
    ipam.check_pools(pools, str(net), str(gateway))


@given(st.lists(st.integers(0, 255), unique=True, max_size=40), st.integers(24, 28))
def test_prefixes_from_a_pool_never_overlap(slots: list[int], length: int) -> None:
    used = [ipaddress.ip_network((int(ipaddress.ip_address("10.0.0.0")) + slot * 256, 24)) for slot in slots]
    found = subnetpool_allocation.first_free([ipaddress.ip_network("10.0.0.0/16")], used, length)
    assert found is not None
    assert found.prefixlen == length
    assert not any(found.overlaps(net) for net in used)
    lower = [n for n in range(256) if n not in slots]
    assert int(found.network_address) >> 8 & 255 == lower[0]


def test_addresses_made_from_the_mac() -> None:
    address = ipam.eui64(ipaddress.ip_network("2001:db8::/64"), "fa:16:3e:00:00:01")
    assert str(address) == "2001:db8::f816:3eff:fe00:1"


def test_a_slaac_subnet_gives_every_port_its_own_address() -> None:
    cloud = NetworkCloud()
    mode = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac", "enable_dhcp": True}
    network_id = a_subnet(cloud, ip_version=6, cidr="2001:db8::/64", **mode)
    body = {"network_id": network_id, "mac_address": "fa:16:3e:00:00:01"}
    port = cloud.post("admin", "/ports", {"port": body})
    assert [f["ip_address"] for f in port["fixed_ips"]] == ["2001:db8::f816:3eff:fe00:1"]
    body = {"network_id": network_id, "ip_version": 4, "cidr": "10.1.0.0/24", "enable_dhcp": False}
    four = cloud.post("admin", "/subnets", {"subnet": body})
    asked = {"network_id": network_id, "fixed_ips": [{"subnet_id": four["id"]}]}
    both = cloud.post("admin", "/ports", {"port": asked})
    assert [":" in f["ip_address"] for f in both["fixed_ips"]] == [False, True]
    cloud.close()
