"""Faults that few think of: other tables and chains, queues, sysctls, things deleted whole, guests that cannot send."""

from __future__ import annotations

from tests.faults.behind_router import in_r1
from tests.faults.behind_service import in_guest
from tests.faults.fault import on_host

in_r1("foreign chain drops", "DRIFT", "web near icmp",
      "sh -c 'iptables -N strange; iptables -A strange -d {near.ip} -j DROP; iptables -I FORWARD 1 -j strange'",
      "sh -c 'iptables -D FORWARD -j strange; iptables -F strange; iptables -X strange'")  # fmt: skip
in_r1(
    "policy of a chain drops",
    "DRIFT",
    "web near tcp/22",
    "iptables -P FORWARD DROP",
    "iptables -P FORWARD ACCEPT",
)
in_r1("table of nftables drops", "DRIFT", "web near icmp",
      "nft 'add table ip strange; add chain ip strange f {{ type filter hook forward priority 0; }}; "
      "add rule ip strange f ip daddr {near.ip} drop'", "nft delete table ip strange")  # fmt: skip
in_r1("nftables drop at a device", "DRIFT", "web near icmp",
      "nft 'add table netdev strange; add chain netdev strange f "
      "{{ type filter hook ingress device {world.qr_blue} priority 0; }}; "
      "add rule netdev strange f ip daddr {near.ip} drop'", "nft delete table netdev strange")  # fmt: skip
in_r1("queue that takes nothing", "DRIFT", "web near icmp", "tc qdisc add dev {world.qr_green} root bfifo limit 20",
      "tc qdisc del dev {world.qr_green} root")  # fmt: skip
in_r1("forwarding off at one device", "DRIFT", "web near icmp",
      "sysctl -qw net.ipv4.conf.{world.qr_blue}.forwarding=0",
      "sysctl -qw net.ipv4.conf.{world.qr_blue}.forwarding=1")  # fmt: skip
in_r1("router does not answer ARP", "ARP_UNANSWERED", "web near icmp",
      "sysctl -qw net.ipv4.conf.{world.qr_blue}.arp_ignore=8",
      "sysctl -qw net.ipv4.conf.{world.qr_blue}.arp_ignore=0")  # fmt: skip
in_r1("router has the destination's address", "DRIFT", "web near tcp/22", "ip addr add {near.ip}/32 dev lo",
      "ip addr del {near.ip}/32 dev lo")  # fmt: skip
in_r1("policy rule leads to an empty table", "NO_ROUTE", "web near icmp",
      "sh -c 'ip route add blackhole default table 77; ip rule add to {near.ip} lookup 77 priority 9'",
      "sh -c 'ip rule del to {near.ip} lookup 77 priority 9; ip route flush table 77'")  # fmt: skip
in_r1("foreign rule redirects a port", "DRIFT", "web near tcp/22",
      "iptables -t nat -I PREROUTING 1 -p tcp -d {near.ip} --dport 22 -j REDIRECT --to-ports 2",
      "iptables -t nat -D PREROUTING -p tcp -d {near.ip} --dport 22 -j REDIRECT --to-ports 2")  # fmt: skip
on_host("queue of an instance's device takes nothing", "DRIFT", "web far icmp", "host2",
        "tc qdisc add dev {far.tap} root bfifo limit 20", "tc qdisc del dev {far.tap} root")  # fmt: skip
on_host("switch port receives nothing", "DRIFT", "far web icmp", "host2",
        "ovs-ofctl -O OpenFlow10 mod-port br-int {far.tap} no-receive",
        "ovs-ofctl -O OpenFlow10 mod-port br-int {far.tap} receive")  # fmt: skip
on_host("switch port forwards nothing", "DRIFT", "web far icmp", "host2",
        "ovs-ofctl -O OpenFlow10 mod-port br-int {far.tap} no-forward",
        "ovs-ofctl -O OpenFlow10 mod-port br-int {far.tap} forward")  # fmt: skip
on_host("cable in no bridge", "UNDERLAY_DOWN", "web far icmp", "underlay", "ip link set h2-eth1 nomaster",
        "ip link set h2-eth1 master trunk")  # fmt: skip
on_host("flow with another destination MAC", "DRIFT", "web far icmp", "host2",
        "ovs-ofctl add-flow br-int 'table=0,priority=60000,in_port=int-br-eth1,dl_vlan={blue.segment},ip,"
        "nw_dst={far.ip},actions=mod_dl_dst:02:00:00:00:00:99,mod_vlan_vid:{world.blue_on_host2},resubmit(,60)'",
        "ovs-ofctl --strict del-flows br-int 'table=0,priority=60000,in_port=int-br-eth1,dl_vlan={blue.segment},ip,"
        "nw_dst={far.ip}'")  # fmt: skip

in_guest("guest ignores pings", "GUEST_FIREWALL", "web far icmp", "far", "host2",
         "sysctl -qw net.ipv4.icmp_echo_ignore_all=1", "sysctl -qw net.ipv4.icmp_echo_ignore_all=0")  # fmt: skip
in_guest("source's interface down", "GUEST_SILENT", "near web icmp", "near", "host1", "ip link set eth0 down",
         "sh -c 'ip link set eth0 up; ip route replace default via 10.71.2.1'")  # fmt: skip
in_guest("source drops what it sends", "GUEST_FIREWALL", "near web icmp", "near", "host1",
         "iptables -I OUTPUT -p icmp -j DROP", "iptables -D OUTPUT -p icmp -j DROP")  # fmt: skip
in_guest("source has no default route", "NO_ROUTE", "web near icmp", "web", "host1", "ip route del default",
         "ip route add default via 10.71.1.1")  # fmt: skip
in_guest("source has a wrong default route", "NO_ROUTE", "web near icmp", "web", "host1",
         "ip route replace default via 10.71.1.77", "ip route replace default via 10.71.1.1")  # fmt: skip
in_guest("source believes in a wrong MAC", "GUEST_FIREWALL", "web app icmp", "web", "host1",
         "ip neigh replace {app.ip} lladdr 02:00:00:00:be:ef dev eth0 nud permanent",
         "ip neigh del {app.ip} dev eth0")  # fmt: skip
