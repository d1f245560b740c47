"""Flows that every bridge has, whatever is on the host: the defaults, and what is alike for all ports."""

from __future__ import annotations

from virga.sdn import tables as t
from virga.sdn.flow import Flow

ND_FROM_GUESTS = (130, 131, 132, 133, 135, 143)
"""Multicast listener messages, router and neighbour solicitation: harmless from a verified source."""
ND_TO_GUESTS = (130, 131, 132, 134, 135, 136)
"""Queries, router advertisements (guests can send none) and neighbour discovery."""


def _flow(table: int, priority: int, match: str, actions: str) -> Flow:
    return Flow(table, priority, match, actions, t.STATIC_COOKIE)


def integration_bridge() -> list[Flow]:
    """br-int before any network or port is there: everything is dropped."""
    return [
        _flow(t.CLASSIFIER, 65535, f"dl_vlan={t.DEAD_VLAN}", "drop"),
        _flow(t.CLASSIFIER, 0, "", f"resubmit(,{t.TRANSIENT})"),
        _flow(t.TRANSIENT, 0, "", "drop"),
        _flow(t.ARP_SPOOF, 0, "", "drop"),
        _flow(t.MAC_SPOOF, 3, "vlan_tci=0x1000/0x1000", "drop"),
        _flow(t.MAC_SPOOF, 0, "", "drop"),
        *_egress(),
        *_ingress(),
        _flow(t.DROPPED, 0, "", "drop"),
        _flow(t.EGRESS_OUTPUT, 1, "", "NORMAL"),
    ]


def provider_bridge() -> list[Flow]:
    """br-X: a plain learning switch, apart from what comes from br-int."""
    return [_flow(t.CLASSIFIER, 0, "", "NORMAL")]


def _egress() -> list[Flow]:
    dropped = f"resubmit(,{t.DROPPED})"
    base, rules = t.EGRESS_BASE, t.EGRESS_RULES
    return [
        _flow(base, 110, "ct_state=+trk", f"ct_clear,resubmit(,{base})"),
        _flow(base, 109, "vlan_tci=0x1000/0x1000", dropped),
        _flow(base, 70, "udp,tp_src=67,tp_dst=68", dropped),
        _flow(base, 70, "udp6,tp_src=547,tp_dst=546", dropped),
        _flow(base, 70, "icmp6,icmp_type=134", dropped),
        _flow(base, 70, "icmp6,icmp_type=136", dropped),
        _flow(base, 10, "", dropped),
        *(
            _flow(rules, t.P_NEIGHBOUR, f"icmp6,icmp_type={kind}", f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})")
            for kind in ND_FROM_GUESTS
        ),
        _flow(rules, t.P_NEIGHBOUR, "udp,tp_src=68,tp_dst=67", f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"),
        _flow(rules, t.P_NEIGHBOUR, "udp6,tp_src=546,tp_dst=547", f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"),
        *_stateful(rules, f"resubmit(,{t.EGRESS_ACCEPTED_LOOKUP})"),
        *_lookup(),
    ]


def _lookup() -> list[Flow]:
    """Accepted by the sender's rules and not for a filtered port of this host: remember, and out."""
    lookup, out = t.EGRESS_ACCEPTED_LOOKUP, f"resubmit(,{t.EGRESS_OUTPUT})"
    return [
        *(
            _flow(lookup, 90, f"ct_state=+new-est,{family}", f"ct(commit,{t.ZONE}),{out}")
            for family in ("ip", "ipv6")
        ),
        *(
            _flow(
                lookup,
                85,
                f"ct_state=+est-rpl,ct_mark=0x1,{family}",
                f"ct(commit,{t.ZONE},exec(set_field:0->ct_mark)),{out}",
            )
            for family in ("ip", "ipv6")
        ),
        _flow(lookup, 80, "", out),
    ]


def _ingress() -> list[Flow]:
    base, output = t.INGRESS_BASE, "output:NXM_NX_REG5[]"
    accepted = t.INGRESS_ACCEPTED
    return [
        _flow(base, 100, "arp", output),
        *(_flow(base, 100, f"icmp6,icmp_type={kind}", output) for kind in ND_TO_GUESTS),
        _flow(base, 95, "udp,tp_src=67,tp_dst=68", output),
        _flow(base, 95, "udp6,tp_src=547,tp_dst=546", output),
        *(
            _flow(base, 90, f"ct_state=-trk,{family}", f"ct(table={t.INGRESS_RULES},{t.ZONE})")
            for family in ("ip", "ipv6")
        ),
        _flow(base, 80, "ct_state=+trk", f"resubmit(,{t.INGRESS_RULES})"),
        _flow(base, 0, "", f"resubmit(,{t.DROPPED})"),
        *_stateful(t.INGRESS_RULES, output),
        *(
            _flow(accepted, 90, f"ct_state=+new-est,{family}", f"ct(commit,{t.ZONE}),{output}")
            for family in ("ip", "ipv6")
        ),
        *(
            _flow(
                accepted,
                85,
                f"ct_state=+est-rpl,ct_mark=0x1,{family}",
                f"ct(commit,{t.ZONE},exec(set_field:0->ct_mark)),{output}",
            )
            for family in ("ip", "ipv6")
        ),
        _flow(accepted, 80, "", output),
    ]


def _stateful(table: int, accept: str) -> list[Flow]:
    """What conntrack decides for every port: replies and related pass, a connection without a rule is marked."""
    dropped = f"resubmit(,{t.DROPPED})"
    mark = f"ct(commit,{t.ZONE},exec(set_field:0x1->ct_mark))"
    return [
        _flow(table, t.P_INVALID, "ct_state=+inv+trk", dropped),
        _flow(table, t.P_REPLY, "ct_state=+est-rel+rpl,ct_mark=0", accept),
        _flow(table, t.P_REPLY, "ct_state=-new-est+rel-inv,ct_mark=0", accept),
        _flow(table, t.P_MARKED_REPLY, "ct_state=+est+rpl,ct_mark=0x1", dropped),
        _flow(table, t.P_NO_RULE, "ct_state=-est", dropped),
        *(_flow(table, t.P_NO_RULE, f"ct_state=+est,{family}", mark) for family in ("ip", "ipv6")),
        _flow(table, 0, "", dropped),
    ]
