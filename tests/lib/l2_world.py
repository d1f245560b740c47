"""Items of a small layer 2 world, and instances that are namespaces, to send real packets between."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field

import msgspec

from tests.lib.host import Host
from virga.contract.items import (
    AddressPair,
    AnyItem,
    FixedIp,
    GroupMember,
    Instance,
    Network,
    Nic,
    Port,
    Rule,
    SecurityGroup,
)
from virga.sdn.security_group_flows import ICMP, TCP, UDP

NETWORK_ID = "11111111-1111-4111-8111-111111111111"
GROUP_ID = "22222222-2222-4222-8222-222222222222"
NETWORK = Network(
    key=NETWORK_ID, network_type="vlan", physical_network="physnet1", segmentation_id=100, mtu=1450
)


def numbered(kind: str, number: int) -> str:
    """A recognisable id: ``kind`` is one hexadecimal digit."""
    return f"{kind}{number:07x}-{kind * 4}-4{kind * 3}-8{kind * 3}-{kind * 12}"


def rule(number: int, direction: str, **more: object) -> Rule:
    return Rule(id=numbered("e", number), direction=direction, **{"ethertype": "IPv4", **more})  # type: ignore[arg-type]


def out_all(number: int = 1) -> list[Rule]:
    return [rule(number, "egress"), rule(number + 1, "egress", ethertype="IPv6")]


def tcp_in(number: int, low: int, high: int | None = None, **more: object) -> Rule:
    return rule(number, "ingress", protocol=TCP, port_range_min=low, port_range_max=high or low, **more)


def udp_in(number: int, low: int, high: int | None = None, **more: object) -> Rule:
    return rule(number, "ingress", protocol=UDP, port_range_min=low, port_range_max=high or low, **more)


def ping_in(number: int, **more: object) -> Rule:
    return rule(number, "ingress", protocol=ICMP, **more)


def group(*rules: Rule, key: str = GROUP_ID, stateful: bool = True) -> SecurityGroup:
    return SecurityGroup(key=key, rules=list(rules), stateful=stateful)


@dataclass(frozen=True)
class Guest:
    """An instance with one port, numbered from 1."""

    number: int
    network_id: str = NETWORK_ID
    groups: tuple[str, ...] = (GROUP_ID,)
    changes: dict[str, object] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return (
            f"10.10.10.{self.number}"
            if self.number < 250
            else f"10.10.{self.number >> 8}.{self.number & 255}"
        )

    @property
    def mac(self) -> str:
        return f"fa:16:3e:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def port(self) -> Port:
        key = numbered("a", self.number)
        values: dict[str, object] = {
            "key": key,
            "network_id": self.network_id,
            "mac_address": self.mac,
            "device_name": f"tap{key[:11]}",
            "device_owner": "compute:nova",
            "device_id": self.instance.key,
            "fixed_ips": [FixedIp("s", self.address, 16)],
            "security_group_ids": list(self.groups),
            **self.changes,
        }
        return msgspec.convert({"kind": "port", **values}, Port, from_attributes=True)

    @property
    def instance(self) -> Instance:
        key = numbered("c", self.number)
        port_id = numbered("a", self.number)
        nic = Nic(
            port_id=port_id,
            network_id=self.network_id,
            mac_address=self.mac,
            tap=f"tap{port_id[:11]}",
        )
        return Instance(
            key=key, name=f"vm{self.number}", hostname=f"vm{self.number}", driver="namespace", nics=[nic]
        )

    @property
    def namespace(self) -> str:
        return f"instance-{self.instance.key}"

    def member(self, group_id: str = GROUP_ID) -> GroupMember:
        return GroupMember(
            key=f"{group_id}/{self.port.key}", group_id=group_id, addresses=[f"{self.address}/32"]
        )

    @property
    def items(self) -> list[AnyItem]:
        return [self.port, self.instance]


def pair(address: str, mac: str = "") -> AddressPair:
    return AddressPair(ip_address=address, mac_address=mac)


class Guests:
    """What guests can do on a host."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._serving: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def up(self, *guests: Guest) -> None:
        """Wait for their ports, and give each guest its address."""
        for guest in guests:
            self.host.control.wait_status(guest.port, "ACTIVE")
            self.host.sh(
                f"ip addr replace {guest.address}/16 dev eth0; ip addr replace fd00::{guest.number:x}/64 dev eth0 nodad; "
                "ip link set eth0 up",
                guest.namespace,
            )

    def pings(self, source: Guest, address: str, *options: str) -> bool:
        command = ["ping", "-n", "-c", "1", "-W", "1", *options, address]
        return self.host.run(command, source.namespace, check=False).returncode == 0

    def serve(self, guest: Guest, port: int) -> None:
        """Answer every TCP connection to ``port`` by sending back what comes."""
        self._serving[guest.namespace, port] = self.host.start(
            ["busybox", "nc", "-ll", "-p", str(port), "-e", "/bin/cat"], guest.namespace
        )
        self.host.sh(
            f"for i in $(seq 200); do ss -ltn | grep -q ':{port} ' && exit 0; done; exit 1", guest.namespace
        )

    def connects(self, source: Guest, address: str, port: int, *, size: int = 100_000) -> bool:
        """Send ``size`` bytes by TCP and get them back: more than fits a few packets, so checksums matter."""
        target = f"TCP:[{address}]:{port}" if ":" in address else f"TCP:{address}:{port}"
        script = f"head -c {size} /dev/zero | socat -t3 - {target},connect-timeout=2 2>/dev/null | wc -c"
        return self.host.sh(script, source.namespace, check=False).strip() == str(size)
