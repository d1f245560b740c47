"""Faults behind the cloud's back: DHCP, names and metadata, and what goes wrong inside guests."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.fault import fault, on_host
from tests.faults.world import World


def dnsmasq(name: str, code: str, asked: str, network: str, signal: str, mend_signal: str) -> None:
    """A signal to a network's dnsmasq, and another one that mends it."""
    whom = f"$(cat {{world.dhcp}}/{{{network}.id}}/pid)"
    on_host(name, code, asked, "host1", f"kill -{signal} {whom}", f"kill -{mend_signal} {whom}")


dnsmasq("DHCP server hangs", "DHCP_AGENT_DOWN", "web dhcp", "blue", "STOP", "CONT")
dnsmasq("DHCP server hangs, other host", "DHCP_AGENT_DOWN", "other dhcp", "isle", "STOP", "CONT")
dnsmasq("name server hangs", "DNS_DOWN", "far dns", "blue", "STOP", "CONT")
on_host("hosts line of the port deleted", "NO_DHCP_LEASE", "app dhcp", "host1",
        "cp -p {world.dhcp}/{blue.id}/host /tmp/faults-{blue.id}; "
        "sed -i '/{app.mac}/d' {world.dhcp}/{blue.id}/host; kill -HUP $(cat {world.dhcp}/{blue.id}/pid)",
        "cp -p /tmp/faults-{blue.id} {world.dhcp}/{blue.id}/host; rm /tmp/faults-{blue.id}; "
        "kill -HUP $(cat {world.dhcp}/{blue.id}/pid)")  # fmt: skip
on_host("hosts line with another address", "NO_DHCP_LEASE", "app dhcp", "host1",
        "cp -p {world.dhcp}/{blue.id}/host /tmp/faults-{blue.id}; "
        "sed -i '/{app.mac}/s/{app.ip}$/10.71.1.199/' {world.dhcp}/{blue.id}/host; "
        "kill -HUP $(cat {world.dhcp}/{blue.id}/pid)",
        "cp -p /tmp/faults-{blue.id} {world.dhcp}/{blue.id}/host; rm /tmp/faults-{blue.id}; "
        "kill -HUP $(cat {world.dhcp}/{blue.id}/pid)")  # fmt: skip
on_host("address of the DHCP namespace gone", "DRIFT", "web dns", "host1",
        "ip -n {blue.ns} addr del {blue.dhcp_ip}/24 dev {blue.dhcp_tap}",
        "ip -n {blue.ns} addr add {blue.dhcp_ip}/24 brd + dev {blue.dhcp_tap}")  # fmt: skip
on_host("device of the DHCP namespace down", "LINK_DOWN", "far dhcp", "host1",
        "ip -n {blue.ns} link set {blue.dhcp_tap} down", "ip -n {blue.ns} link set {blue.dhcp_tap} up")  # fmt: skip
on_host("rule in the DHCP namespace drops requests", "DRIFT", "web dhcp", "host1",
        "ip netns exec {blue.ns} iptables -I INPUT -p udp --dport 67 -j DROP",
        "ip netns exec {blue.ns} iptables -D INPUT -p udp --dport 67 -j DROP")  # fmt: skip
on_host("rule in the DHCP namespace drops questions for names", "DRIFT", "web dns", "host1",
        "ip netns exec {blue.ns} iptables -I INPUT -p udp --dport 53 -j DROP",
        "ip netns exec {blue.ns} iptables -D INPUT -p udp --dport 53 -j DROP")  # fmt: skip
on_host("metadata proxy of a router hangs", "METADATA_DOWN", "web metadata", "host1",
        "kill -STOP {world.proxy_r1}", "kill -CONT {world.proxy_r1}")  # fmt: skip
on_host("metadata proxy of a network hangs", "METADATA_DOWN", "other metadata", "host1",
        "kill -STOP {world.proxy_isle}", "kill -CONT {world.proxy_isle}")  # fmt: skip
on_host("metadata address gone from the DHCP namespace", "METADATA_DOWN", "other metadata", "host1",
        "ip -n {isle.ns} addr del 169.254.169.254/32 dev {isle.dhcp_tap}",
        "ip -n {isle.ns} addr add 169.254.169.254/32 dev {isle.dhcp_tap}")  # fmt: skip
on_host("socket of the metadata server gone", "METADATA_DOWN", "far metadata", "host1",
        "mv {world.host1}/metadata_proxy {world.host1}/metadata_proxy.away",
        "mv {world.host1}/metadata_proxy.away {world.host1}/metadata_proxy")  # fmt: skip
on_host("rule drops metadata", "DRIFT", "web metadata", "host1",
        "ip netns exec {r1.ns} iptables -I INPUT -p tcp --dport 9697 -j DROP",
        "ip netns exec {r1.ns} iptables -D INPUT -p tcp --dport 9697 -j DROP")  # fmt: skip


@fault("DHCP server killed", "DHCP_AGENT_DOWN", "web dhcp")
def dnsmasq_killed(world: World) -> Iterator[None]:
    world.sh("host1", f"kill -9 $(cat {world.dhcp}/{world.networks['blue'].id}/pid)")
    yield
    world.revive()


@fault("name server killed", "DNS_DOWN", "other dns", "other dhcp")
def name_server_killed(world: World) -> Iterator[None]:
    world.sh("host1", f"kill -9 $(cat {world.dhcp}/{world.networks['isle'].id}/pid)")
    yield
    world.revive()


@fault("metadata proxy killed", "METADATA_DOWN", "web metadata")
def proxy_killed(world: World) -> Iterator[None]:
    world.sh("host1", f"kill -9 {world.proxy_r1}")
    yield
    world.revive()


def in_guest(name: str, code: str, asked: str, server: str, host: str, broken: str, mended: str) -> None:
    """Both commands run in the namespace of a server."""
    space = f"ip netns exec {{{server}.ns}}"
    on_host(name, code, asked, host, f"{space} {broken}", f"{space} {mended}")


in_guest("guest drops pings", "GUEST_FIREWALL", "web app icmp", "app", "host1",
         "iptables -I INPUT -p icmp -j DROP", "iptables -D INPUT -p icmp -j DROP")  # fmt: skip
in_guest("guest drops a TCP port", "GUEST_FIREWALL", "web db tcp/22", "db", "host2",
         "iptables -I INPUT -p tcp --dport 22 -j DROP", "iptables -D INPUT -p tcp --dport 22 -j DROP")  # fmt: skip
in_guest("guest drops all from outside", "GUEST_FIREWALL", "outside far icmp", "far", "host2",
         "iptables -I INPUT ! -s 10.71.0.0/16 -j DROP", "iptables -D INPUT ! -s 10.71.0.0/16 -j DROP")  # fmt: skip
in_guest("guest's interface down", "GUEST_SILENT", "web far icmp", "far", "host2", "ip link set eth0 down",
         "sh -c 'ip link set eth0 up; ip route replace default via 10.71.1.1'")  # fmt: skip
in_guest("guest's interface down, routed", "GUEST_SILENT", "web near tcp/22", "near", "host1", "ip link set eth0 down",
         "sh -c 'ip link set eth0 up; ip route replace default via 10.71.2.1'")  # fmt: skip
in_guest("guest has no address", "GUEST_SILENT", "solo other icmp", "other", "host2",
         "ip addr del {other.ip}/24 dev eth0", "ip addr add {other.ip}/24 brd + dev eth0")  # fmt: skip
in_guest("guest has no way back", "NO_ROUTE", "web db icmp", "db", "host2",
         "sh -c 'ip route flush default; ip route add 10.71.2.128/25 via 10.71.2.1'",
         "sh -c 'ip route add default via 10.71.2.1; ip route del 10.71.2.128/25'")  # fmt: skip
in_guest("guest's neighbour entry poisoned", "GUEST_FIREWALL", "app web icmp", "web", "host1",
         "ip neigh replace {app.ip} lladdr 02:00:00:00:be:ef dev eth0 nud permanent",
         "ip neigh del {app.ip} dev eth0")  # fmt: skip


@fault("nothing listens", "CONNECTION_REFUSED", "web app tcp/8080", never=True)
def nothing_listens(world: World) -> Iterator[None]:
    yield


@fault("two machines have one address", "ADDRESS_DUPLICATE", "web far tcp/22")
def duplicate(world: World) -> Iterator[None]:
    blue, far = world.networks["blue"], world.servers["far"]
    world.sh("host1", f"ip -n {blue.ns} addr add {far.ip}/32 dev {blue.dhcp_tap}")
    # Whoever spoke last is believed.
    announce = f"ip netns exec {blue.ns} timeout 40 arping -A -I {blue.dhcp_tap} {far.ip}"
    world.sh("host1", f"{announce} > /dev/null 2>&1 & echo $! > {world.host1}/announce")
    yield
    world.sh("host1", f"kill $(cat {world.host1}/announce); rm {world.host1}/announce")
    world.sh("host1", f"ip -n {blue.ns} addr del {far.ip}/32 dev {blue.dhcp_tap}")
    world.forget_neighbours()


on_host("machine stopped as a process", "INSTANCE_DOWN", "web vm icmp", "host1", "kill -STOP {world.qemu}",
        "kill -CONT {world.qemu}")  # fmt: skip


@fault("machine killed as a process", "INSTANCE_DOWN", "web vm tcp/22")
def machine_killed(world: World) -> Iterator[None]:
    compute, number = world.api.compute, world.servers["vm"].id
    world.sh("host1", f"kill -9 {world.qemu}")
    compute.wait_for_server(compute.get_server(number), status="SHUTOFF", wait=60, interval=0.2)
    yield
    compute.start_server(number)
    compute.wait_for_server(compute.get_server(number), wait=60, interval=0.2)
