"""Router advertisements: a guest makes itself an address from what radvd says, and a change reaches it."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tests.lib.netns import net, sh
from virga.agent.drivers.addresses import AddressDriver
from virga.agent.drivers.addressing import Addressing, Device
from virga.agent.drivers.configured import Configured
from virga.agent.drivers.radvd import radvd_driver
from virga.agent.render import radvd
from virga.contract.items import FixedIp, Router, RouterPort, RouterSubnet
from virga.lib.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def router(key: str, prefix: str) -> Router:
    port = RouterPort(
        port_id="1",
        network_id="n1",
        mac_address="",
        device_name="qr-1",
        fixed_ips=[FixedIp(subnet_id="s1", ip_address=f"{prefix}1", prefixlen=64)],
        subnets=[
            RouterSubnet(
                subnet_id="s1",
                cidr=f"{prefix}/64",
                ipv6_ra_mode="slaac",
                ipv6_address_mode="slaac",
                dns_nameservers=["2001:db8::53"],
            )
        ],
        mtu=1450,
    )
    return Router(key=key, interfaces=[port])


def test_guest_configures_itself(tmp_path: Path) -> None:
    with net() as made:
        key = str(uuid.uuid4())
        namespace = f"qrouter-{key}"
        made.names.append(namespace)
        sh("ip", "netns", "add", namespace)
        guest = made.add("virga")
        made.wire((namespace, "qr-1"), (guest, "eth0"))
        addresses, driver = AddressDriver(), radvd_driver(tmp_path)

        def announce(prefix: str) -> None:
            wanted = Addressing(
                devices=(Device("qr-1", frozenset({f"{prefix}1/64"})),),
                sysctls=(("net/ipv6/conf/all/forwarding", "1"), ("net/ipv6/conf/qr-1/dad_transmits", "0")),
            )
            addresses.want(namespace, wanted)
            assert list(addresses.apply()) == []
            driver.want(key, Configured(namespace, radvd.render(router(key, prefix))))
            assert list(driver.apply()) == []

        def has(prefix: str) -> bool:
            return prefix in made.ip(guest, "-6", "addr", "show", "scope", "global")

        announce("2001:db8:1::")
        assert wait_until(lambda: has("2001:db8:1:"), 15)
        assert "mtu 1450" in made.ip(guest, "-6", "route", "show", "default")
        pid = Path(driver.pid_file(key)).read_text()
        announce("2001:db8:2::")
        assert Path(driver.pid_file(key)).read_text() == pid
        assert wait_until(lambda: has("2001:db8:2:"), 15)
        driver.want(key, None)
        assert list(driver.prune()) == []
        assert sh("ip", "netns", "pids", namespace).strip() == ""
