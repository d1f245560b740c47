"""What the faults break: one lab of two hosts with every topology that has an explanation.

outside --- public --- r1 --- blue   web, app (host1), far (host2), vm (QEMU, host1)
                       |----- green  near (host1), db (host2)
                       |----- transit --- r2 --- red  deep (host2)
                       isle   solo (host1), other (host2); no router
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lib.lab import Lab, wait_for
from virga.lab import process
from virga.lab.holder import Holder

V6 = "fd71:{}::/64"


@dataclass
class Server:
    """An instance with one port, and where its things are. ``ns`` is its network namespace."""

    name: str
    host: str
    id: str = ""
    port: str = ""
    mac: str = ""
    ip: str = ""
    ip6: str = ""
    fip: str = ""
    fip_id: str = ""
    network: str = ""

    @property
    def tap(self) -> str:
        return f"tap{self.port[:11]}"

    @property
    def flavor(self) -> str:
        return "m1.nano" if self.name == "vm" else "ns.tiny"

    @property
    def ns(self) -> str:
        return f"instance-{self.id}"

    @property
    def cookie(self) -> str:
        """The first half of the port's id, which its flows carry."""
        return "0x" + self.port.replace("-", "")[:16]


@dataclass
class Network:
    """A network with an IPv4 subnet, and perhaps an IPv6 one."""

    name: str
    prefix: str
    id: str = ""
    subnet: str = ""
    subnet6: str = ""
    segment: int = 0
    dhcp_port: str = ""
    dhcp_ip: str = ""

    @property
    def cidr(self) -> str:
        return f"{self.prefix}.0/24"

    @property
    def ns(self) -> str:
        return f"qdhcp-{self.id}"

    @property
    def dhcp_tap(self) -> str:
        return f"tap{self.dhcp_port[:11]}"


@dataclass
class Router:
    """A router; ``ports`` are its interfaces by network name."""

    name: str
    id: str = ""
    ports: dict[str, str] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)

    @property
    def ns(self) -> str:
        return f"qrouter-{self.id}"

    def qr(self, network: str) -> str:
        return f"qr-{self.ports[network][:11]}"

    @property
    def qg(self) -> str:
        return f"qg-{self.ports['public'][:11]}"


SERVERS = (
    ("web", "blue", "host1"),
    ("app", "blue", "host1"),
    ("far", "blue", "host2"),
    ("vm", "blue", "host1"),
    ("near", "green", "host1"),
    ("db", "green", "host2"),
    ("deep", "red", "host2"),
    ("solo", "isle", "host1"),
    ("other", "isle", "host2"),
)
RULES = (("icmp", None, "IPv4"), ("tcp", 22, "IPv4"), ("tcp", 8080, "IPv4"), ("tcp", 22, "IPv6"))


KINDS: dict[str, Any] = {"servers": Server, "networks": Network, "routers": Router}


class World:
    """The lab and all that is in it, by name. ``api`` is an administrator's openstacksdk connection."""

    def __init__(self, lab: Lab, api: Any) -> None:
        self.lab = lab
        self.api = api
        self.public: Any = None
        self.group: Any = None
        self.outside = ""
        self.networks = {
            name: Network(name, f"10.71.{number}")
            for name, number in (("blue", 1), ("green", 2), ("red", 3), ("isle", 4), ("transit", 9))
        }
        self.servers = {name: Server(name, host, network=network) for name, network, host in SERVERS}
        self.routers = {"r1": Router("r1"), "r2": Router("r2")}
        self._pids: dict[str, int] = {}

    # -- acting ------------------------------------------------------------------------------------

    def _inside(self, host: str) -> list[str]:
        if host not in self._pids:
            self._pids[host] = Holder(host, self.directory(host)).pid
        return ["nsenter", "-t", str(self._pids[host]), "-m", "-n", "-u", "--"]

    def directory(self, host: str) -> Path:
        """Where the host keeps its files. ``underlay`` is what the hosts' cables end in."""
        return self.lab.state_dir / "hosts" / host

    def run(
        self, host: str, *argv: str, ns: str = "", check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """A command on a host (``machine`` is the machine that runs the lab), perhaps in a namespace there."""
        inside = [] if host == "machine" else self._inside(host)
        space = ["ip", "netns", "exec", ns] if ns else []
        done = subprocess.run(
            [*inside, *space, *argv], capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"on {host}: {' '.join(argv)}: {done.stdout}{done.stderr}")
        return done

    def sh(self, host: str, script: str, ns: str = "") -> str:
        """A shell script that must succeed."""
        return self.run(host, "sh", "-ec", script, ns=ns, check=True).stdout

    def save(self) -> None:
        """So that another run finds the world of a lab that was kept."""
        ends = {kind: [vars(each) for each in getattr(self, kind).values()] for kind in KINDS}
        more = {"public": self.public.id, "group": self.group.id, "outside": self.outside}
        (self.lab.state_dir / "faults.json").write_text(json.dumps({**ends, **more}))

    def load(self) -> None:
        """The world that ``save`` wrote down."""
        found = json.loads((self.lab.state_dir / "faults.json").read_text())
        for kind, made in KINDS.items():
            setattr(self, kind, {each["name"]: made(**each) for each in found[kind]})
        self.public = self.api.network.get_network(found["public"])
        self.group = self.api.network.get_security_group(found["group"])
        self.outside = found["outside"]

    def names(self) -> dict[str, Any]:
        """For ``{web.tap}`` and the like in scripts."""
        return {**self.servers, **self.routers, **self.networks, "world": self}

    def place(self, name: str) -> tuple[str, str]:
        """Host and namespace of an end."""
        if name == "outside":
            return "machine", ""
        server = self.servers[name]
        return server.host, server.ns

    def tag(self, host: str, device: str) -> str:
        return self.sh(host, f"ovs-vsctl get Port {device} tag").strip()

    # -- what the cloud chose, for scripts -----------------------------------------------------------

    @property
    def name(self) -> str:
        return self.lab.state_dir.name

    @property
    def outside_cidr(self) -> str:
        return self.outside.rpartition(".")[0] + ".0/24"

    @property
    def host1(self) -> Path:
        return self.directory("host1")

    @property
    def dhcp(self) -> Path:
        return self.host1 / "dhcp"

    def _proxy(self, owner: str) -> str:
        script = f"pgrep -f '[h]aproxy -f {self.host1}/ns-metadata-proxy/{owner}.conf'"
        return self.sh("host1", script).split()[0]

    @property
    def proxy_r1(self) -> str:
        return self._proxy(self.routers["r1"].id)

    @property
    def proxy_isle(self) -> str:
        return self._proxy(self.networks["isle"].id)

    @property
    def qemu(self) -> str:
        """Process id of the machine ``vm``."""
        return self.sh("host1", f"pgrep -f '^[q]emu-system.*{self.servers['vm'].id}'").split()[0]

    @property
    def r1_public(self) -> str:
        return self.routers["r1"].addresses["public"]

    def __getattr__(self, name: str) -> str:
        """``qr_blue``, ``qr6_green``: devices of r1. ``blue_on_host2``: local tag. ``ofport_web``."""
        kind, _, what = name.partition("_")
        if kind == "qr":
            return self.routers["r1"].qr(what)
        if kind == "qr6":
            return self.routers["r1"].qr(f"{what}6")
        if kind == "ofport":
            server = self.servers[what]
            return self.sh(server.host, f"ovs-vsctl get Interface {server.tap} ofport").strip()
        if what.startswith("on_"):
            return self._local_tag(kind, what.removeprefix("on_"))
        raise AttributeError(name)

    def _local_tag(self, network: str, host: str) -> str:
        number = self.public.id if network == "public" else self.networks[network].id
        script = f"ovs-vsctl --bare --columns=other_config find Port other_config:net_uuid={number}"
        found = re.search(r"\btag=(\d+)", self.sh(host, script))
        assert found is not None, f"{network} is not on {host}"
        return found[1]

    def forget_neighbours(self) -> None:
        """What guests and routers learnt; what was set by hand stays."""
        self.run("machine", "ip", "neigh", "flush", "to", self.outside_cidr)
        for host in ("host1", "host2"):
            spaces = [s.ns for s in self.servers.values() if s.host == host and s.flavor == "ns.tiny"]
            spaces += [r.ns for r in self.routers.values()] if host == "host1" else []
            flush = "ip -n $s neigh flush all; ip -n $s -6 neigh flush all"
            self.run(host, "sh", "-c", f"for s in {' '.join(spaces)}; do {flush}; done 2> /dev/null")

    def renew(self, name: str) -> None:
        """The guest asks for its lease again."""
        host, space = self.place(name)
        ask = (
            f"for p in $(ip netns pids {space}); do grep -q udhcpc /proc/$p/comm && kill -USR1 $p; done; true"
        )
        self.sh(host, ask)

    def revive(self, host: str = "host1") -> None:
        """A new agent repairs all that differs."""
        record = self.lab.state_dir / "run" / f"agent-{host}.pid.json"
        old = process.living(record)
        if old is not None:
            os.kill(old.pid, signal.SIGKILL)
        wait_for(f"a new agent on {host}", lambda: process.living(record) not in (None, old))

    # -- making ------------------------------------------------------------------------------------

    def make(self) -> None:
        """All of it, through the API."""
        network = self.api.network
        self.public = network.find_network("public")
        self.outside = next(iter(network.subnets(network_id=self.public.id))).gateway_ip
        self.group = network.create_security_group(name="plain")
        for protocol, port, ethertype in RULES:
            self.allow(self.group.id, protocol, port, ethertype)
        self.allow(self.group.id, "ipv6-icmp", None, "IPv6")
        for each in self.networks.values():
            self._make_network(each)
        self._make_routers()
        self._make_servers()
        for name in ("web", "far"):
            self._give_floating_ip(self.servers[name])
        self.learn()

    def allow(self, group: str, protocol: str, port: int | None, ethertype: str = "IPv4", **more: Any) -> Any:
        """An ingress rule."""
        return self.api.network.create_security_group_rule(
            security_group_id=group, direction="ingress", ethertype=ethertype, protocol=protocol,
            port_range_min=port, port_range_max=port, **more,
        )  # fmt: skip

    def _make_network(self, each: Network) -> None:
        made = self.api.network.create_network(name=each.name)
        each.id, each.segment = made.id, made.provider_segmentation_id
        gateway = {"gateway_ip": None} if each.name == "isle" else {}
        each.subnet = self.api.network.create_subnet(
            network_id=made.id, name=f"{each.name}4", ip_version=4, cidr=each.cidr,
            enable_dhcp=each.name != "transit", **gateway,
        ).id  # fmt: skip
        if each.name in ("blue", "green"):
            number = each.prefix.rpartition(".")[2]
            each.subnet6 = self.api.network.create_subnet(
                network_id=made.id, name=f"{each.name}6", ip_version=6, cidr=V6.format(number),
                ipv6_ra_mode="slaac", ipv6_address_mode="slaac",
            ).id  # fmt: skip

    def _make_routers(self) -> None:
        network = self.api.network
        r1, r2 = self.routers["r1"], self.routers["r2"]
        r1.id = network.create_router(name="r1", external_gateway_info={"network_id": self.public.id}).id
        r2.id = network.create_router(name="r2").id
        for name in ("blue", "green"):
            for subnet in (self.networks[name].subnet, self.networks[name].subnet6):
                network.add_interface_to_router(r1.id, subnet=subnet)
        network.add_interface_to_router(r1.id, subnet=self.networks["transit"].subnet)
        network.add_interface_to_router(r2.id, subnet=self.networks["red"].subnet)
        port = network.create_port(
            network_id=self.networks["transit"].id, fixed_ips=[{"ip_address": "10.71.9.2"}]
        )
        network.add_interface_to_router(r2.id, port=port.id)
        self.routes("r1", [("10.71.3.0/24", "10.71.9.2")])
        self.routes("r2", [("0.0.0.0/0", "10.71.9.1")])

    def routes(self, router: str, routes: list[tuple[str, str]]) -> None:
        """Set a router's extra routes."""
        wanted = [{"destination": to, "nexthop": via} for to, via in routes]
        self.api.network.update_router(self.routers[router].id, routes=wanted)

    def _make_servers(self) -> None:
        compute = self.api.compute
        image = self.api.image.find_image("tiny")
        flavors = {kind: compute.find_flavor(kind).id for kind in ("ns.tiny", "m1.nano")}
        for server in self.servers.values():
            port = self.api.network.create_port(
                network_id=self.networks[server.network].id, name=server.name, dns_name=server.name,
                security_groups=[self.group.id],
            )  # fmt: skip
            server.port, server.mac = port.id, port.mac_address
            for fixed in port.fixed_ips:
                if ":" in fixed["ip_address"]:
                    server.ip6 = fixed["ip_address"]
                else:
                    server.ip = fixed["ip_address"]
            server.id = compute.create_server(
                name=server.name, flavor_id=flavors[server.flavor], image_id=image.id,
                networks=[{"port": port.id}], availability_zone=f"nova:{server.host}",
            ).id  # fmt: skip
        for server in self.servers.values():
            compute.wait_for_server(compute.get_server(server.id), wait=120, interval=0.3)
            found = compute.get_server(server.id)
            assert found.hypervisor_hostname == server.host, found.hypervisor_hostname

    def _give_floating_ip(self, server: Server) -> None:
        made = self.api.network.create_ip(floating_network_id=self.public.id, port_id=server.port)
        server.fip, server.fip_id = made.floating_ip_address, made.id

    def learn(self) -> None:
        """What the cloud chose by itself."""
        for router in self.routers.values():
            for port in self.api.network.ports(device_id=router.id):
                names = [n.name for n in self.networks.values() if n.id == port.network_id] or ["public"]
                address = port.fixed_ips[0]["ip_address"]
                name = names[0] + ("6" if ":" in address else "")
                router.ports[name], router.addresses[name] = port.id, address
        for each in self.networks.values():
            if each.name == "transit":
                continue
            port = wait_for(
                f"DHCP port of {each.name}",
                lambda each=each: next(
                    iter(self.api.network.ports(network_id=each.id, device_owner="network:dhcp")), None
                ),
            )
            each.dhcp_port = port.id
            each.dhcp_ip = next(f["ip_address"] for f in port.fixed_ips if "." in f["ip_address"])
