"""The map: which table of which bridge does what, and which register carries what.

Numbers and meanings follow the OpenFlow firewall of OpenStack's Open vSwitch agent, so that guides
that show ``ovs-ofctl dump-flows`` read the same. What differs: flows that are alike for all ports are
there once (``reg5`` names the port they speak of), and security group rules are conjunctions of
"a port of the group", "a remote that is allowed" and "a protocol", each dimension shared by all.

br-int, a frame of an instance                    br-int, a frame from outside (int-br-X)

    0  classifier  ------------------+                0  segmentation id -> local tag
    60 which port, which network     |                60 a MAC of ours? -> 81, else NORMAL
    71 is it who it says it is?      |                81 ingress: ARP, ND, DHCP pass; ct()
    72 egress rules (conntrack)      |                82 ingress rules (conntrack)
    73 a port of this host? -> 81    |                92 remember the connection, output
       else remember the connection  |
    94 output: to the uplink or NORMAL

br-X (provider bridge): local tag -> segmentation id on what comes by phy-br-X, NORMAL for the rest.
"""

from __future__ import annotations

CLASSIFIER = 0
ARP_SPOOF = 24
MAC_SPOOF = 25
TRANSIENT = 60
EGRESS_BASE = 71
EGRESS_RULES = 72
EGRESS_ACCEPTED_LOOKUP = 73
INGRESS_BASE = 81
INGRESS_RULES = 82
INGRESS_ACCEPTED = 92
DROPPED = 93
EGRESS_OUTPUT = 94

NAMES = {
    CLASSIFIER: "classifier",
    ARP_SPOOF: "ARP guard of hybrid ports",
    MAC_SPOOF: "MAC guard of hybrid ports",
    TRANSIENT: "which port, which network",
    EGRESS_BASE: "egress: source guards",
    EGRESS_RULES: "egress: security group rules",
    EGRESS_ACCEPTED_LOOKUP: "egress accepted: is the destination here",
    INGRESS_BASE: "ingress: always allowed, connection tracking",
    INGRESS_RULES: "ingress: security group rules",
    INGRESS_ACCEPTED: "ingress accepted: remember and output",
    DROPPED: "dropped",
    EGRESS_OUTPUT: "egress: output",
}

REG_QOS = "reg2"
"""``QOS_DONE`` once the limits and the mark of the sending port were applied."""
QOS_DONE = 1
P_QOS = 20
"""In the classifier: before the guards of hybrid ports and all arrivals."""

REG_PORT = "reg5"
"""OpenFlow number of the port that the tables at hand speak of: source in 71-73, destination in 81-92."""
REG_NETWORK = "reg6"
"""Local VLAN tag of the network; also the conntrack zone."""
REG_RULE = "reg7"
"""Conjunction id of the rule that accepted; for people who trace."""

ZONE = "zone=NXM_NX_REG6[0..15]"
CT_INVALIDATED = 1
"""ct_mark of a connection whose rule is gone."""

# Priorities in the tables of rules.
P_INVALID = 79
P_NEIGHBOUR = 80
P_REPLY = 77
P_MARKED_REPLY = 76
P_RULE = 70
P_NO_RULE = 40

STATIC_COOKIE = 0x7669726761000000
"""Flows that belong to no object; the bytes spell the product."""

DEAD_VLAN = 4095
"""Tag of a port that must not forward."""

UNICAST = "00:00:00:00:00:00/01:00:00:00:00:00"
