"""Faults behind the cloud's back: Open vSwitch, devices, wires, processes of a host."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from tests.faults.fault import fault, on_host
from tests.faults.world import World
from tests.lib.lab import wait_for
from virga.lab import process

FLOWS = "ovs-ofctl -O OpenFlow15 --no-stats --no-names"


def flows_lost(name: str, code: str, asked: str, host: str, match: str, bridge: str = "br-int") -> None:
    """Flows that match are deleted, and put back as they were."""
    file = f"/tmp/faults-flows-{{world.name}}-{host}"
    save = f"{FLOWS} dump-flows {bridge} '{match}' | grep cookie= | sed 's/ reset_counts//' > {file}; [ -s {file} ]"
    on_host(name, code, asked, host, f"{save}; ovs-ofctl -O OpenFlow15 del-flows {bridge} '{match}'",
            f"{FLOWS} add-flows {bridge} {file}; rm {file}")  # fmt: skip


flows_lost("flow to the destination's MAC deleted", "DRIFT", "far app icmp", "host1",
           "cookie={app.cookie}/-1,table=60,dl_dst={app.mac}")  # fmt: skip
flows_lost("flow between ports of a host deleted", "DRIFT", "web app icmp", "host1",
           "cookie={app.cookie}/-1,table=73")  # fmt: skip
flows_lost("source's guard flow deleted", "DRIFT", "web app tcp/22", "host1",
           "cookie={web.cookie}/-1,table=71,ip,nw_src={web.ip}")  # fmt: skip
flows_lost(
    "source's ARP flow deleted", "DRIFT", "solo other icmp", "host1", "cookie={solo.cookie}/-1,table=71,arp"
)
flows_lost("source's port flow deleted", "DRIFT", "web far icmp", "host1",
           "cookie={web.cookie}/-1,table=60,in_port={world.ofport_web}")  # fmt: skip
flows_lost("egress rules of a host deleted", "DRIFT", "db web icmp", "host2", "table=72")
flows_lost("ingress rules of a host deleted", "DRIFT", "web db icmp", "host2", "table=82")
flows_lost(
    "conntrack of arriving packets deleted", "DRIFT", "web far tcp/22", "host2", "table=81,ip,ct_state=-trk"
)
flows_lost("ARP to guests deleted", "DRIFT", "other solo tcp/22", "host2", "table=81,arp")
flows_lost("segmentation id not translated on br-int", "DRIFT", "web far icmp", "host2",
           "table=0,dl_vlan={blue.segment}")  # fmt: skip
flows_lost("tag not translated on br-eth1", "DRIFT", "far web icmp", "host2",
           "dl_vlan={world.blue_on_host2}", "br-eth1")  # fmt: skip
flows_lost("all flows gone", "DRIFT", "web far icmp", "host2", "table=60")


def flow_added(name: str, asked: str, host: str, flow: str, bridge: str = "br-int") -> None:
    """A flow of a stranger."""
    match = flow.partition(",actions=")[0]
    on_host(name, "DRIFT", asked, host, f"ovs-ofctl -O OpenFlow15 add-flow {bridge} '{flow}'",
            f"ovs-ofctl -O OpenFlow15 --strict del-flows {bridge} '{match}'")  # fmt: skip


flow_added(
    "flow on top that drops an address",
    "web app icmp",
    "host1",
    "table=0,priority=60000,ip,nw_dst={app.ip},actions=drop",
)
flow_added(
    "flow on top that drops one TCP port",
    "web far tcp/22",
    "host2",
    "table=81,priority=60000,tcp,tp_dst=22,actions=drop",
)
flow_added("flow on top that drops replies", "web far icmp", "host2",
           "table=0,priority=60000,icmp,icmp_type=0,nw_src={far.ip},actions=drop")  # fmt: skip
flow_added("flow on top that drops on the provider bridge", "web db icmp", "host2",
           "table=0,priority=60000,in_port=phy-br-eth1,ip,nw_src={db.ip},actions=drop", "br-eth1")  # fmt: skip
flow_added("flow on top that drops outside", "outside web tcp/22", "host1",
           "table=0,priority=60000,ip,nw_dst={web.fip},actions=drop", "br-ex")  # fmt: skip
flow_added("flow on top that sends to a wrong port", "web app tcp/22", "host1",
           "table=60,priority=60000,ip,nw_dst={app.ip},actions=output:{solo.tap}")  # fmt: skip
flow_added("flow on top that drops ARP", "other solo icmp", "host2",
           "table=0,priority=60000,arp,in_port={other.tap},actions=drop")  # fmt: skip
flow_added("flow on top that drops DHCP", "web dhcp", "host1",
           "table=0,priority=60000,udp,tp_dst=67,actions=drop")  # fmt: skip
flow_added(
    "flow on top that drops names", "web dns", "host1", "table=0,priority=60000,udp,tp_dst=53,actions=drop"
)

on_host("local tag of the source changed", "WRONG_LOCAL_TAG", "web far icmp", "host1",
        "ovs-vsctl set Port {web.tap} tag=77", "ovs-vsctl set Port {web.tap} tag={world.blue_on_host1}")  # fmt: skip
on_host("local tag of a router port changed", "WRONG_LOCAL_TAG", "far near icmp", "host1",
        "ovs-vsctl set Port {world.qr_blue} tag=78",
        "ovs-vsctl set Port {world.qr_blue} tag={world.blue_on_host1}")  # fmt: skip
on_host("local tag of the DHCP port changed", "WRONG_LOCAL_TAG", "far dhcp", "host1",
        "ovs-vsctl set Port {blue.dhcp_tap} tag=79",
        "ovs-vsctl set Port {blue.dhcp_tap} tag={world.blue_on_host1}")  # fmt: skip
on_host("local tag of the gateway changed", "WRONG_LOCAL_TAG", "near outside icmp", "host1",
        "ovs-vsctl set Port {r1.qg} tag=80", "ovs-vsctl set Port {r1.qg} tag={world.public_on_host1}")  # fmt: skip
on_host("tag translated to a wrong segmentation id", "WRONG_LOCAL_TAG", "far web icmp", "host2",
        "ovs-ofctl mod-flows br-eth1 'in_port=phy-br-eth1,dl_vlan={world.blue_on_host2}'"
        ",actions=mod_vlan_vid:1999,NORMAL",
        "ovs-ofctl mod-flows br-eth1 'in_port=phy-br-eth1,dl_vlan={world.blue_on_host2}'"
        ",actions=mod_vlan_vid:{blue.segment},NORMAL")  # fmt: skip
on_host("segmentation id translated to a wrong tag", "WRONG_LOCAL_TAG", "web far icmp", "host2",
        "ovs-ofctl mod-flows br-int 'table=0,dl_vlan={blue.segment}',actions='mod_vlan_vid:99,resubmit(,60)'",
        "ovs-ofctl mod-flows br-int 'table=0,dl_vlan={blue.segment}',"
        "actions='mod_vlan_vid:{world.blue_on_host2},resubmit(,60)'")  # fmt: skip

on_host("instance's device taken off the switch", "DRIFT", "web far icmp", "host2",
        "ovs-vsctl del-port {far.tap}", "")  # fmt: skip
on_host("patch to the provider bridge removed", "DRIFT", "web far icmp", "host2",
        "ovs-vsctl del-port int-br-eth1", "")  # fmt: skip
on_host("NIC taken off the provider bridge", "DRIFT", "web db icmp", "host2",
        "ovs-vsctl del-port eth1", "")  # fmt: skip
on_host("instance's device down", "LINK_DOWN", "web far icmp", "host2", "ip link set {far.tap} down",
        "ip link set {far.tap} up")  # fmt: skip
on_host(
    "trunk NIC down", "LINK_DOWN", "web far icmp", "host2", "ip link set eth1 down", "ip link set eth1 up"
)
on_host("trunk NIC of the network host down", "LINK_DOWN", "far near icmp", "host1", "ip link set eth1 down",
        "ip link set eth1 up")  # fmt: skip
on_host("outside NIC down", "LINK_DOWN", "near outside icmp", "host1", "ip link set eth2 down",
        "ip link set eth2 up")  # fmt: skip
on_host("cable pulled at the far end", "LINK_DOWN", "web far icmp", "underlay", "ip link set h2-eth1 down",
        "ip link set h2-eth1 up")  # fmt: skip
on_host("trunk does not carry the VLAN", "VLAN_NOT_TRUNKED", "web far icmp", "underlay",
        "nft 'add table netdev faults; add chain netdev faults in "
        "{{ type filter hook ingress device h1-eth1 priority 0; }}; "
        "add rule netdev faults in vlan id {blue.segment} drop'",
        "nft delete table netdev faults")  # fmt: skip
on_host("trunk does not carry the VLAN on the way back", "VLAN_NOT_TRUNKED", "web db tcp/22", "underlay",
        "nft 'add table netdev faults; add chain netdev faults in "
        "{{ type filter hook ingress device h2-eth1 priority 0; }}; "
        "add rule netdev faults in vlan id {green.segment} drop'",
        "nft delete table netdev faults")  # fmt: skip
on_host("MTU of the trunk NIC lowered", "MTU_BLACKHOLE", "web far icmp", "host2", "ip link set eth1 mtu 1300",
        "ip link set eth1 mtu 1500", "web far icmp big")  # fmt: skip
on_host("MTU of the wire lowered", "MTU_BLACKHOLE", "web db tcp/22", "underlay",
        "ip link set h1-eth1 mtu 1300", "ip link set h1-eth1 mtu 1500", "web db icmp big")  # fmt: skip
on_host("MTU of an instance's device lowered", "MTU_BLACKHOLE", "web app icmp", "host1",
        "ip link set {app.tap} mtu 1200", "ip link set {app.tap} mtu 1500", "web app icmp big")  # fmt: skip


def _stopped(world: World, record: str) -> Iterator[None]:
    found = process.living(Path(world.lab.state_dir) / "run" / f"{record}.pid.json")
    assert found is not None, record
    os.kill(found.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(found.pid, signal.SIGCONT)


@fault("switch hangs", "SWITCH_DOWN", "web far icmp")
def switch_hangs(world: World) -> Iterator[None]:
    yield from _stopped(world, "host2-vswitchd")


@fault("switch of the network host hangs", "SWITCH_DOWN", "far outside icmp")
def network_switch_hangs(world: World) -> Iterator[None]:
    yield from _stopped(world, "host1-vswitchd")


@fault("agent hangs while a rule is made", "AGENT_STALE", "web far tcp/8081", never=True)
def agent_hangs(world: World) -> Iterator[None]:
    stopped = _stopped(world, "agent-host2")
    next(stopped)
    rule = world.allow(world.group.id, "tcp", 8081)
    yield
    world.api.network.delete_security_group_rule(rule.id)
    next(stopped, None)
    wait_for(
        "the agent is back", lambda: process.living(world.lab.state_dir / "run" / "agent-host2.pid.json")
    )
