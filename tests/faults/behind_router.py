"""Faults behind the cloud's back: namespaces of routers, their addresses, routes, neighbours and rules."""

from __future__ import annotations

from tests.faults.fault import on_host

IN_R1 = "ip netns exec {r1.ns}"
IN_R2 = "ip netns exec {r2.ns}"


def in_r1(name: str, code: str, asked: str, broken: str, mended: str, probe: str = "") -> None:
    """Both commands run in the namespace of r1."""
    on_host(name, code, asked, "host1", f"{IN_R1} {broken}", f"{IN_R1} {mended}", probe)


def rule(name: str, code: str, asked: str, table: str, chain: str, what: str, space: str = IN_R1) -> None:
    """A stranger's rule, first of a chain."""
    on_host(name, code, asked, "host1", f"{space} iptables -t {table} -I {chain} 1 {what}",
            f"{space} iptables -t {table} -D {chain} {what}")  # fmt: skip


def rules_lost(name: str, code: str, asked: str, table: str, pattern: str) -> None:
    """Rules that match are deleted, and the table is put back as it was."""
    file = f"/tmp/faults-rules-{{r1.id}}-{table}"
    on_host(
        name, code, asked, "host1",
        f"{IN_R1} iptables-save -t {table} > {file}; grep -q -e '{pattern}' {file}; "
        f"grep -v -e '{pattern}' {file} | {IN_R1} iptables-restore -T {table}; "
        f"{IN_R1} conntrack -F 2> /dev/null",
        f"{IN_R1} iptables-restore -T {table} < {file}; rm {file}; {IN_R1} conntrack -F 2> /dev/null",
    )  # fmt: skip


in_r1(
    "forwarding off",
    "DRIFT",
    "web near icmp",
    "sysctl -qw net.ipv4.ip_forward=0",
    "sysctl -qw net.ipv4.ip_forward=1",
)
in_r1("forwarding off, from outside", "DRIFT", "outside web tcp/22", "sysctl -qw net.ipv4.ip_forward=0",
      "sysctl -qw net.ipv4.ip_forward=1")  # fmt: skip
in_r1("IPv6 forwarding off", "DRIFT", "web db icmp v6", "sysctl -qw net.ipv6.conf.all.forwarding=0",
      "sysctl -qw net.ipv6.conf.all.forwarding=1")  # fmt: skip
on_host("forwarding off in the second router", "DRIFT", "web deep icmp", "host1",
        f"{IN_R2} sysctl -qw net.ipv4.ip_forward=0", f"{IN_R2} sysctl -qw net.ipv4.ip_forward=1")  # fmt: skip

rule(
    "foreign rule drops forwarded packets",
    "DRIFT",
    "web near icmp",
    "filter",
    "FORWARD",
    "-d {near.ip} -j DROP",
)
rule(
    "foreign rule drops the way back", "DRIFT", "web near tcp/22", "filter", "FORWARD", "-s {near.ip} -j DROP"
)
rule(
    "foreign rule drops before routing",
    "DRIFT",
    "outside web icmp",
    "raw",
    "PREROUTING",
    "-d {web.fip} -j DROP",
)
rule(
    "foreign rule drops in mangle", "DRIFT", "near outside icmp", "mangle", "FORWARD", "-s {near.ip} -j DROP"
)
rule("foreign rule rejects one port", "DRIFT", "web db tcp/22", "filter", "FORWARD",
     "-p tcp --dport 22 -j REJECT --reject-with icmp-port-unreachable")  # fmt: skip
rule("foreign rule sends a floating IP elsewhere", "FIP_STALE", "outside web tcp/22", "nat", "PREROUTING",
     "-d {web.fip} -j DNAT --to-destination 10.71.1.250")  # fmt: skip
rule(
    "foreign rule in the second router",
    "DRIFT",
    "web deep icmp",
    "filter",
    "FORWARD",
    "-d {deep.ip} -j DROP",
    IN_R2,
)

rules_lost("floating IP not translated", "FIP_STALE", "outside web tcp/22", "nat",
           "PREROUTING -d {web.fip}/32 .*DNAT")  # fmt: skip
rules_lost("all translation gone", "FIP_STALE", "outside far tcp/22", "nat", "-A neutron-l3-agent-")
rules_lost(
    "source address of the gateway not translated",
    "DRIFT",
    "near outside icmp",
    "nat",
    "-A neutron-l3-agent-snat",
)
rules_lost("metadata not redirected", "METADATA_DOWN", "web metadata", "nat", "169.254.169.254")

in_r1("floating IP's address gone", "FIP_STALE", "outside web icmp", "ip addr del {web.fip}/32 dev {r1.qg}",
      "ip addr add {web.fip}/32 dev {r1.qg}")  # fmt: skip
in_r1("router's address gone", "DRIFT", "web near icmp", "ip addr del 10.71.1.1/24 dev {world.qr_blue}",
      "ip addr add 10.71.1.1/24 brd + dev {world.qr_blue}")  # fmt: skip
in_r1("router's address gone at the destination", "DRIFT", "web near icmp",
      "ip addr del 10.71.2.1/24 dev {world.qr_green}",
      "ip addr add 10.71.2.1/24 brd + dev {world.qr_green}")  # fmt: skip
in_r1("router's port down", "LINK_DOWN", "web near icmp", "ip link set {world.qr_green} down",
      "ip link set {world.qr_green} up")  # fmt: skip
in_r1("router's port down at the source", "LINK_DOWN", "web db tcp/22", "ip link set {world.qr_blue} down",
      "ip link set {world.qr_blue} up")  # fmt: skip
in_r1("gateway port down", "LINK_DOWN", "near outside icmp", "ip link set {r1.qg} down",
      "sh -c 'ip link set {r1.qg} up; ip route replace default via {world.outside} dev {r1.qg} proto static'")  # fmt: skip
in_r1("gateway port down, from outside", "LINK_DOWN", "outside web tcp/22", "ip link set {r1.qg} down",
      "sh -c 'ip link set {r1.qg} up; ip route replace default via {world.outside} dev {r1.qg} proto static'")  # fmt: skip
in_r1("routes to the outside gone", "NO_ROUTE", "web outside icmp",
      "sh -c 'ip route del default; ip route del {world.outside_cidr} dev {r1.qg}'",
      "sh -c 'ip route add {world.outside_cidr} dev {r1.qg} proto kernel scope link src {world.r1_public}; "
      "ip route add default via {world.outside} dev {r1.qg} proto static'")  # fmt: skip
in_r1("extra route gone from the namespace", "NO_ROUTE", "web deep icmp", "ip route del 10.71.3.0/24",
      "ip route add 10.71.3.0/24 via 10.71.9.2 proto static")  # fmt: skip
on_host("route back gone from the namespace", "NO_ROUTE", "web deep tcp/22", "host1",
        f"{IN_R2} ip route del default", f"{IN_R2} ip route add default via 10.71.9.1 proto static")  # fmt: skip
in_r1("route to one address is a black hole", "NO_ROUTE", "web near icmp", "ip route add blackhole {near.ip}/32",
      "ip route del blackhole {near.ip}/32")  # fmt: skip
in_r1("route to one address leads elsewhere", "DRIFT", "web near icmp",
      "ip route add {near.ip}/32 via 10.71.9.2 dev {world.qr_transit}", "ip route del {near.ip}/32")  # fmt: skip
in_r1("policy rule makes the router unreachable", "NO_ROUTE", "web db icmp",
      "ip rule add from {web.ip} to {db.ip} prohibit priority 5",
      "ip rule del from {web.ip} to {db.ip} prohibit priority 5")  # fmt: skip
in_r1("IPv6 addresses of a router port gone", "DRIFT", "web db icmp v6",
      "sysctl -qw net.ipv6.conf.{world.qr6_green}.disable_ipv6=1",
      "sh -c 'sysctl -qw net.ipv6.conf.{world.qr6_green}.disable_ipv6=0; "
      "ip -6 addr add fd71:2::1/64 dev {world.qr6_green} nodad 2> /dev/null; true'")  # fmt: skip
in_r1("neighbour entry of the destination poisoned", "DRIFT", "web near icmp",
      "ip neigh replace {near.ip} lladdr 02:00:00:00:be:ef dev {world.qr_green} nud permanent",
      "ip neigh del {near.ip} dev {world.qr_green}")  # fmt: skip
in_r1("neighbour entry of the source poisoned", "DRIFT", "web near tcp/22",
      "ip neigh replace {web.ip} lladdr 02:00:00:00:be:ef dev {world.qr_blue} nud permanent",
      "ip neigh del {web.ip} dev {world.qr_blue}")  # fmt: skip
in_r1("router port moved out of the namespace", "DRIFT", "web near icmp",
      "ip link set {world.qr_green} name gone0", "sh -c 'ip link set gone0 down; ip link set gone0 name {world.qr_green}; "
      "ip link set {world.qr_green} up'")  # fmt: skip
in_r1("strict reverse path filter with a wrong route back", "DRIFT", "web near icmp",
      "sh -c 'sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route add {web.ip}/32 dev {world.qr_transit}'",
      "sh -c 'sysctl -qw net.ipv4.conf.all.rp_filter=0; ip route del {web.ip}/32 dev {world.qr_transit}'")  # fmt: skip
