"""Rules of routers: the same as a real L3 agent's for the same router, and what each knob changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from virga.agent.render import tables
from virga.agent.render.router_rules import (
    Floating,
    Forwarding,
    Gateway,
    RouterRules,
    RuleDevice,
    render,
    scope_mark,
)

RECORDED = Path(__file__).parent / "recorded"
FLOATING = {
    "172.30.0.186": "10.80.1.224",
    "172.30.0.38": "10.80.3.157",
    "172.30.0.103": "10.80.3.158",
    "172.30.0.151": "10.80.0.252",
    "172.30.0.216": "10.80.0.83",
    "172.30.0.206": "10.80.0.158",
}
GATEWAY = Gateway(RuleDevice("qg-03ffb368-40"), "172.30.0.86")
ROUTER = RouterRules(
    interfaces=(RuleDevice("qr-90f047d1-3d"),),
    gateways=(GATEWAY,),
    floating=tuple(Floating(*pair) for pair in FLOATING.items()),
)


def rules_of(rules: RouterRules, table: str, chain: str, version: int = 4) -> list[str]:
    found = render(rules)
    wanted = {t.name: t for t in (found.v4 if version == 4 else found.v6)}[table]
    prefix = f"-A {tables.PREFIX}{chain} "
    return [rule.removeprefix(prefix) for rule in wanted.rules if rule.startswith(prefix)]


@pytest.mark.parametrize(
    ("version", "file"),
    [
        (4, "qrouter-iptables-nat.txt"),
        (4, "qrouter-iptables-mangle.txt"),
        (4, "qrouter-iptables-filter.txt"),
        (4, "qrouter-iptables-raw.txt"),
        (6, "qrouter-ip6tables.txt"),
    ],
)
def test_same_as_recorded(version: int, file: str) -> None:
    recorded = tables.parse((RECORDED / file).read_text())
    rendered = render(ROUTER)
    for table in rendered.v4 if version == 4 else rendered.v6:
        if table.name not in recorded:
            continue
        wanted, actual = tables.wanted_by_chain(table), tables.ours(recorded[table.name])
        # Floating IPs of a router stand in no particular order.
        assert {c: sorted(r) for c, r in wanted.items()} == {c: sorted(r) for c, r in actual.items()}
    assert recorded.keys() <= {t.name for t in (rendered.v4 if version == 4 else rendered.v6)}


def test_without_snat_floating_ips_still_work() -> None:
    chain = rules_of(replace(ROUTER, enable_snat=False), "nat", "snat")
    assert not [rule for rule in chain if rule.startswith("-o")]
    assert "-j neutron-l3-agent-float-snat" in chain
    assert len(rules_of(replace(ROUTER, enable_snat=False), "nat", "float-snat")) == 6


def test_floating_ips_come_before_the_gateway_address() -> None:
    chain = rules_of(ROUTER, "nat", "snat")
    assert chain[0] == "-j neutron-l3-agent-float-snat"


def test_without_gateway_nothing_is_translated() -> None:
    bare = RouterRules(interfaces=ROUTER.interfaces)
    assert rules_of(bare, "nat", "snat") == ["-j neutron-l3-agent-float-snat"]
    assert rules_of(bare, "nat", "POSTROUTING") == []


def test_each_gateway_translates_to_its_own_address() -> None:
    second = Gateway(RuleDevice("qg-2"), "192.0.2.7")
    chain = rules_of(replace(ROUTER, gateways=(GATEWAY, second)), "nat", "snat")
    assert "-o qg-03ffb368-40 -j SNAT --to-source 172.30.0.86 --random-fully" in chain
    assert "-o qg-2 -j SNAT --to-source 192.0.2.7 --random-fully" in chain
    # What leaves by either gateway must get as far as these rules.
    assert not [
        r for r in rules_of(replace(ROUTER, gateways=(GATEWAY, second)), "nat", "POSTROUTING") if "qg-" in r
    ]


def test_inside_one_address_scope_nothing_is_translated() -> None:
    inner = RuleDevice("qr-1", scope_v4="scope")
    gateway = Gateway(RuleDevice("qg-1", scope_v4="scope"), "172.30.0.86")
    chain = rules_of(RouterRules(interfaces=(inner,), gateways=(gateway,)), "nat", "snat")
    accept = f"-o qg-1 -m connmark --mark {scope_mark('scope')} -j ACCEPT"
    assert chain.index(accept) < chain.index("-o qg-1 -j SNAT --to-source 172.30.0.86 --random-fully")


def test_between_address_scopes_only_floating_ips_pass() -> None:
    one, other = RuleDevice("qr-1", scope_v4="a"), RuleDevice("qr-2", scope_v4="b")
    rules = RouterRules(
        interfaces=(one, other),
        gateways=(Gateway(RuleDevice("qg-1", scope_v4="b"), "172.30.0.86"),),
        floating=(Floating("172.30.0.9", "10.0.0.9", "a"),),
    )
    marks = [scope_mark("a"), scope_mark("b")]
    assert marks[0] != marks[1] != scope_mark(None)
    assert f"-o qr-1 -m mark ! --mark {marks[0]} -j DROP" in rules_of(rules, "filter", "scope")
    assert f"-i qr-2 -j MARK --set-xmark {marks[1]}" in rules_of(rules, "mangle", "scope")
    assert f"-d 172.30.0.9/32 -j MARK --set-xmark {marks[0]}" in rules_of(rules, "mangle", "floatingip")
    assert "-s 10.0.0.9/32 -j neutron-l3-agent-float-snat" in rules_of(rules, "mangle", "FORWARD")


def test_ipv6_devices_are_in_the_ipv6_tables_only_when_they_have_ipv6() -> None:
    rules = RouterRules(interfaces=(RuleDevice("qr-1"), RuleDevice("qr-2", has_v4=False, has_v6=True)))
    assert [r.split()[1] for r in rules_of(rules, "filter", "scope", 6)] == ["qr-2"]
    assert [r.split()[1] for r in rules_of(rules, "filter", "scope", 4)] == ["qr-1"]


def test_port_forwardings() -> None:
    one = Forwarding("11111111-2222", "172.30.0.9", "tcp", "2222", "10.0.0.9", "22")
    many = Forwarding("33333333-4444", "172.30.0.9", "udp", "100:110", "10.0.0.9", "200:210")
    rules = replace(ROUTER, forwardings=(one, many))
    assert rules_of(rules, "nat", "PREROUTING")[-1] == "-j neutron-l3-agent-fip-pf"
    assert rules_of(rules, "nat", "fip-pf") == [
        "-j neutron-l3-agent-pf-11111111",
        "-j neutron-l3-agent-pf-33333333",
    ]
    assert rules_of(rules, "nat", "pf-11111111") == [
        "-d 172.30.0.9/32 -p tcp -m tcp --dport 2222 -j DNAT --to-destination 10.0.0.9:22"
    ]
    assert rules_of(rules, "nat", "pf-33333333") == [
        "-d 172.30.0.9/32 -p udp -m udp --dport 100:110 -j DNAT --to-destination 10.0.0.9:200-210/100"
    ]


def test_chain_names_fit_the_kernel() -> None:
    rules = replace(
        ROUTER, forwardings=(Forwarding("11111111-2222", "1.2.3.4", "tcp", "1", "10.0.0.1", "1"),)
    )
    rendered = render(rules)
    names = [chain for table in (*rendered.v4, *rendered.v6) for chain in table.chains]
    assert max(len(name) for name in names) <= 28


# -- joining with what is there ---------------------------------------------------------------------

SAVED = """*nat
:PREROUTING ACCEPT [5:300]
:mine - [0:0]
:neutron-l3-agent-gone - [0:0]
[1:60] -A PREROUTING -p udp -j mine
[7:420] -A PREROUTING -j neutron-l3-agent-PREROUTING
[0:0] -A PREROUTING -p tcp -j ACCEPT
[3:9] -A mine -j RETURN
COMMIT
"""
WANTED = tables.Table(
    "nat",
    ("neutron-l3-agent-PREROUTING",),
    ("-A PREROUTING -j neutron-l3-agent-PREROUTING", "-A neutron-l3-agent-PREROUTING -j ACCEPT"),
)


def test_what_the_user_added_stays_where_it_stood_and_counters_go_on() -> None:
    text = tables.restore_text([WANTED], tables.parse(SAVED))
    lines = text.splitlines()
    assert [line for line in lines if " -A PREROUTING" in line] == [
        "[1:60] -A PREROUTING -p udp -j mine",
        "[7:420] -A PREROUTING -j neutron-l3-agent-PREROUTING",
        "[0:0] -A PREROUTING -p tcp -j ACCEPT",
    ]
    assert "[3:9] -A mine -j RETURN" in lines
    assert ":PREROUTING ACCEPT [5:300]" in lines
    assert "neutron-l3-agent-gone" not in text


def test_restored_text_is_what_is_wanted() -> None:
    restored = tables.parse(tables.restore_text([WANTED], tables.parse(SAVED)))
    assert tables.differing([WANTED], tables.parse(SAVED)) == [WANTED]
    assert tables.differing([WANTED], restored) == []


def test_every_table_of_a_router_can_be_read_back() -> None:
    rendered = render(ROUTER)
    for family in (rendered.v4, rendered.v6):
        assert tables.differing(family, tables.parse(tables.restore_text(family, {}))) == []
