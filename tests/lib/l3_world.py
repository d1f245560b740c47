"""Items of two networks behind a router with a public gateway, machines on them, and somebody outside."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lib.host import Host
from tests.lib.l2_world import numbered, out_all, ping_in, tcp_in
from tests.lib.waiting import eventually
from virga.contract.items import (
    AnyItem,
    DhcpHost,
    DhcpNetwork,
    DhcpSubnet,
    FixedIp,
    FloatingIp,
    GroupMember,
    Instance,
    Network,
    Nic,
    Port,
    Router,
    RouterPort,
    RouterSubnet,
    SecurityGroup,
)

ECHO = Path(__file__).with_name("tcp_echo.py")
GROUP_ID = numbered("b", 1)
GROUP = SecurityGroup(key=GROUP_ID, rules=[*out_all(), ping_in(3), tcp_in(4, 22), tcp_in(5, 80)])
ROUTER_ID = numbered("d", 1)
PUBLIC_ID = numbered("f", 9)
PUBLIC = Network(key=PUBLIC_ID, network_type="flat", physical_network="public", mtu=1500)
GATEWAY = "172.24.4.10"
OUTSIDE = "172.24.4.1"
UDHCPC = """#!/bin/sh
[ "$1" = bound ] || [ "$1" = renew ] || exit 0
ip addr replace $ip/$mask dev $interface
for r in $router; do ip route replace default via $r; done
ip link set $interface mtu ${mtu:-1500}
set -- $staticroutes
while [ $# -ge 2 ]; do ip route replace $1 via $2 2>/dev/null; shift 2; done
exit 0
"""


def device(prefix: str, port_id: str) -> str:
    return f"{prefix}{port_id[:11]}"


@dataclass(frozen=True)
class Lan:
    """Network number n: 10.10.<10n>.0/24 and 2001:db8:n::/64, DHCP at .2, router at .1."""

    number: int

    @property
    def id(self) -> str:
        return numbered("f", self.number)

    @property
    def prefix(self) -> str:
        return f"10.10.{self.number * 10}"

    @property
    def prefix6(self) -> str:
        return f"2001:db8:{self.number}:"

    @property
    def namespace(self) -> str:
        return f"qdhcp-{self.id}"

    @property
    def network(self) -> Network:
        return Network(
            key=self.id,
            network_type="vlan",
            physical_network="physnet1",
            segmentation_id=100 + self.number,
            mtu=1450,
        )

    def fixed(self, last: int, *versions: int) -> list[FixedIp]:
        both = {
            4: FixedIp(subnet_id=f"s4-{self.number}", ip_address=f"{self.prefix}.{last}", prefixlen=24),
            6: FixedIp(subnet_id=f"s6-{self.number}", ip_address=f"{self.prefix6}:{last}", prefixlen=64),
        }
        return [both[version] for version in versions or (4,)]

    def port(self, kind: str, owner: str, last: int, *versions: int) -> Port:
        """A port of the network's own services: ``tap`` for DHCP, ``qr-`` for the router."""
        key = numbered("1" if kind == "tap" else "2", self.number)
        return Port(
            key=key,
            network_id=self.id,
            mac_address=f"fa:16:3e:0{self.number}:00:{last:02x}",
            device_name=device(kind, key),
            device_owner=owner,
            plug="veth",
            fixed_ips=self.fixed(last, *versions),
            port_security_enabled=False,
        )

    @property
    def dhcp_port(self) -> Port:
        return self.port("tap", "network:dhcp", 2)

    @property
    def router_port(self) -> Port:
        return self.port("qr-", "network:router_interface", 1, 4, 6)

    def dhcp(self, **changes: Any) -> DhcpNetwork:
        port = self.dhcp_port
        subnet = {
            "subnet_id": f"s4-{self.number}",
            "cidr": f"{self.prefix}.0/24",
            "ip_version": 4,
            "enable_dhcp": True,
            "gateway_ip": f"{self.prefix}.1",
            **changes,
        }
        return DhcpNetwork(
            key=self.id,
            port_id=port.key,
            mac_address=port.mac_address,
            device_name=port.device_name,
            fixed_ips=port.fixed_ips,
            subnets=[DhcpSubnet(**subnet)],
            mtu=1450,
        )

    @property
    def interface(self) -> RouterPort:
        port = self.router_port
        return RouterPort(
            port_id=port.key,
            network_id=self.id,
            mac_address=port.mac_address,
            device_name=port.device_name,
            fixed_ips=port.fixed_ips,
            subnets=[
                RouterSubnet(
                    subnet_id=f"s4-{self.number}",
                    cidr=f"{self.prefix}.0/24",
                    gateway_ip=f"{self.prefix}.1",
                ),
                RouterSubnet(
                    subnet_id=f"s6-{self.number}",
                    cidr=f"{self.prefix6}:/64",
                    gateway_ip=f"{self.prefix6}:1",
                    ipv6_ra_mode="slaac",
                    ipv6_address_mode="slaac",
                ),
            ],
            mtu=1450,
        )

    @property
    def items(self) -> list[AnyItem]:
        return [self.network, self.dhcp_port, self.dhcp()]


@dataclass(frozen=True)
class Machine:
    """A machine with one port on a network; its last byte is ``last``."""

    lan: Lan
    last: int

    @property
    def port_id(self) -> str:
        return numbered("a", self.lan.number * 256 + self.last)

    @property
    def address(self) -> str:
        return f"{self.lan.prefix}.{self.last}"

    @property
    def mac(self) -> str:
        return f"fa:16:3e:0{self.lan.number}:01:{self.last:02x}"

    @property
    def address6(self) -> str:
        return f"{self.lan.prefix6}0:f816:3eff:fe0{self.lan.number}:1{self.last:02x}"

    @property
    def id(self) -> str:
        return numbered("c", self.lan.number * 256 + self.last)

    @property
    def namespace(self) -> str:
        return f"instance-{self.id}"

    @property
    def tap(self) -> str:
        return device("tap", self.port_id)

    @property
    def port(self) -> Port:
        fixed = self.lan.fixed(self.last)
        six = FixedIp(subnet_id=f"s6-{self.lan.number}", ip_address=self.address6, prefixlen=64)
        return Port(
            key=self.port_id,
            network_id=self.lan.id,
            mac_address=self.mac,
            device_name=self.tap,
            device_owner="compute:nova",
            device_id=self.id,
            fixed_ips=[*fixed, six],
            security_group_ids=[GROUP_ID],
        )

    @property
    def items(self) -> list[AnyItem]:
        nic = Nic(port_id=self.port_id, network_id=self.lan.id, mac_address=self.mac, tap=self.tap, mtu=1450)
        name = f"vm{self.lan.number}-{self.last}"
        return [
            self.port,
            Instance(key=self.id, name=name, hostname=name, driver="namespace", nics=[nic]),
            DhcpHost(
                key=self.port_id,
                network_id=self.lan.id,
                mac_address=self.mac,
                hostname=name,
                fixed_ips=self.lan.fixed(self.last),
            ),
            GroupMember(
                key=f"{GROUP_ID}/{self.port_id}", group_id=GROUP_ID, addresses=[f"{self.address}/32"]
            ),
        ]


GATEWAY_PORT = Port(
    key=numbered("3", 1),
    network_id=PUBLIC_ID,
    mac_address="fa:16:3e:09:00:0a",
    device_name=device("qg-", numbered("3", 1)),
    device_owner="network:router_gateway",
    plug="veth",
    fixed_ips=[
        FixedIp(subnet_id="s4-public", ip_address=GATEWAY, prefixlen=24),
        FixedIp(subnet_id="s6-public", ip_address="2001:db8:99::10", prefixlen=64),
    ],
    port_security_enabled=False,
)
GATEWAY_INTERFACE = RouterPort(
    port_id=GATEWAY_PORT.key,
    network_id=PUBLIC_ID,
    mac_address=GATEWAY_PORT.mac_address,
    device_name=GATEWAY_PORT.device_name,
    fixed_ips=GATEWAY_PORT.fixed_ips,
    subnets=[
        RouterSubnet(subnet_id="s4-public", cidr="172.24.4.0/24", gateway_ip=OUTSIDE),
        RouterSubnet(subnet_id="s6-public", cidr="2001:db8:99::/64", gateway_ip="2001:db8:99::1"),
    ],
)


def router(*lans: Lan, public: bool = True, **changes: Any) -> list[AnyItem]:
    """A router between the networks, with its ports; by default with a public gateway."""
    values = {"gateway": GATEWAY_INTERFACE if public else None, **changes}
    items: list[AnyItem] = [Router(key=ROUTER_ID, interfaces=[lan.interface for lan in lans], **values)]
    items += [lan.router_port for lan in lans]
    return [*items, PUBLIC, GATEWAY_PORT] if public else items


def floating(machine: Machine, address: str = "172.24.4.20") -> FloatingIp:
    return FloatingIp(
        key=numbered("4", int(address.rsplit(".")[-1])),
        router_id=ROUTER_ID,
        floating_ip_address=address,
        fixed_ip_address=machine.address,
        port_id=machine.port_id,
    )


class Site:
    """What people on the machines and outside can do."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.qrouter = f"qrouter-{ROUTER_ID}"
        self._count = itertools.count()

    def be(self, *groups: list[AnyItem] | AnyItem) -> None:
        """Add or change items, and wait until the agent has applied them."""
        items = [item for each in groups for item in (each if isinstance(each, list) else [each])]
        self.host.control.put(*items)
        self.host.control.settle()

    def lease(self, *machines: Machine) -> None:
        """Ports ACTIVE, then a real exchange with dnsmasq."""
        for machine in machines:
            self.host.control.wait_status(machine.port, "ACTIVE")
            self.host.sh("ip link set lo up; ip link set eth0 up", machine.namespace)
            assert self.gets_lease(machine)

    def gets_lease(self, machine: Machine) -> bool:
        script = self.host.directory / "udhcpc.sh"
        script.write_text(UDHCPC)
        script.chmod(0o755)
        command = ["busybox", "udhcpc", "-i", "eth0", "-f", "-n", "-q", "-t", "10", "-T", "1"]
        options = ["-s", str(script), "-O", "staticroutes", "-O", "mtu"]
        return self.host.run([*command, *options], machine.namespace, check=False).returncode == 0

    def serve(self, namespace: str, port: int) -> None:
        argv = [sys.executable, "-I", "-S", str(ECHO), "serve", str(port)]
        process = self.host.start(argv, namespace, stdout=subprocess.PIPE)
        assert process.stdout is not None
        with process.stdout:
            assert process.stdout.readline() == b"ready\n"

    def seen_as(self, namespace: str, address: str, port: int) -> str:
        """As whom the server at the address sees us; empty when it is not reached."""
        argv = [sys.executable, "-I", "-S", str(ECHO), "ask", address, str(port)]
        return self.host.run(argv, namespace, check=False).stdout.strip()

    def pings(self, namespace: str, address: str) -> bool:
        command = ["ping", "-n", "-c", "1", "-W", "1", address]
        return self.host.run(command, namespace, check=False).returncode == 0

    @contextmanager
    def talk(self, namespace: str, address: str, port: int) -> Iterator[Talk]:
        """A TCP connection that stays open."""
        argv = [sys.executable, "-I", "-S", str(ECHO), "talk", address, str(port)]
        process = self.host.start(argv, namespace, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        talk = Talk(process)
        try:
            assert talk.hear() == "connected"
            yield talk
        finally:
            talk.close()


class Talk:
    """One line there, one line back."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None and process.stdout is not None
        self._process, self._to, self._from = process, process.stdin, process.stdout

    def say(self, word: str) -> str:
        self._to.write(f"{word}\n".encode())
        self._to.flush()
        return self.hear()

    def hear(self) -> str:
        return self._from.readline().decode().strip()

    def close(self) -> None:
        self._process.kill()
        self._to.close()
        self._from.close()


@contextmanager
def network_node(**config: Any) -> Iterator[Site]:
    """A host with everything a network node has, and the outside at 172.24.4.1 behind br-ex."""
    settings = {
        "roles": ["network", "dhcp", "l3", "metadata"],
        "bridge_mappings": {"physnet1": "br-eth1", "public": "br-ex"},
        "bridge_nics": {"br-ex": ["eth2"]},
        **config,
    }
    with Host(**settings) as host:
        host.sh(
            "ip netns add outside; ip link add eth2 type veth peer name eth0 netns outside; "
            "ip link set eth2 up; ip -n outside link set lo up; ip -n outside link set eth0 up; "
            f"ip netns exec outside ethtool -K eth0 tx off; ip -n outside addr add {OUTSIDE}/24 dev eth0; "
            "ip -n outside addr add 2001:db8:99::1/64 dev eth0 nodad; "
            "ip -n outside route add 2001:db8::/32 via 2001:db8:99::10"
        )
        host.start_agent()
        yield Site(host)


def wait_slaac(site: Site, machine: Machine) -> None:
    def there() -> bool:
        text = site.host.sh("ip -6 addr show scope global", machine.namespace)
        return machine.address6 in text and "tentative" not in text

    eventually(there, f"{machine.address6} by SLAAC")
