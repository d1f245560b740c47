"""Whether a stranger's rule would take a packet."""

from __future__ import annotations

import pytest

from virga.trace.model import ICMP, TCP, Flight
from virga.trace.netfilter import Passing, deciding, foreign, parse, takes

ECHO = Flight(4, ICMP, "10.1.0.3", "10.2.0.5")
LOGIN = Flight(4, TCP, "10.1.0.3", "10.2.0.5", 40000, 22)


def rule(text: str, where: str = "4/filter") -> object:
    found = parse(f"{where} {text}")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "flight", "taken"),
    [
        ("-A FORWARD -j DROP", ECHO, True),
        ("-A FORWARD -d 10.2.0.5/32 -j DROP", ECHO, True),
        ("-A FORWARD -d 10.2.0.6/32 -j DROP", ECHO, False),
        ("-A FORWARD ! -d 10.2.0.6/32 -j DROP", ECHO, True),
        ("-A FORWARD ! -s 10.1.0.0/16 -j DROP", ECHO, False),
        ("-A FORWARD -p tcp -m tcp --dport 22 -j DROP", LOGIN, True),
        ("-A FORWARD -p tcp -m tcp --dport 20:25 -j DROP", LOGIN, True),
        ("-A FORWARD -p tcp -m tcp --dport 80 -j DROP", LOGIN, False),
        ("-A FORWARD -p tcp -m tcp --dport 22 -j DROP", ECHO, False),
        ("-A FORWARD -i qr-a -o qr-b -j DROP", ECHO, True),
        ("-A FORWARD -i qg-+ -j DROP", ECHO, False),
        ("-A FORWARD -p icmp -m icmp --icmp-type 8 -j DROP", ECHO, True),
        ("-A FORWARD -p icmp -m icmp --icmp-type 0 -j DROP", ECHO, False),
        ("-A FORWARD -m conntrack --ctstate ESTABLISHED -j DROP", ECHO, False),
        ('-A FORWARD -m comment --comment "to be kept out" -j DROP', ECHO, True),
        ("-A FORWARD -m strange --word x -j DROP", ECHO, True),
    ],
)
def test_a_rule_takes_what_all_its_matches_fit(text: str, flight: Flight, taken: bool) -> None:
    assert takes(rule(text), Passing(flight, "qr-a", "qr-b")) is taken  # type: ignore[arg-type]


def test_replies_are_known_by_their_state_and_type() -> None:
    back = Passing(ECHO.turned(), "qr-b", "qr-a", is_reply=True)
    assert takes(rule("-A FORWARD -p icmp --icmp-type 0 -j DROP"), back)  # type: ignore[arg-type]
    assert takes(rule("-A FORWARD -m conntrack --ctstate ESTABLISHED -j DROP"), back)  # type: ignore[arg-type]


def test_a_rule_of_one_family_takes_no_packet_of_the_other() -> None:
    assert not takes(rule("-A FORWARD -j DROP", "6/filter"), Passing(ECHO))  # type: ignore[arg-type]


def test_what_no_agent_wrote_is_foreign() -> None:
    lines = [
        "4/filter -A FORWARD -j neutron-filter-top",
        "4/nat -A neutron-l3-agent-snat -o qg-1 -j SNAT --to-source 203.0.113.4",
        "4/filter -A FORWARD -s 10.1.0.3/32 -j DROP",
        "4/filter -P FORWARD DROP",
        "nft inet other: drop",
        "4/filter",
    ]
    assert [(r.chain, r.target, r.policy) for r in foreign(lines)] == [
        ("FORWARD", "DROP", False),
        ("FORWARD", "DROP", True),
    ]


def test_a_chain_of_a_stranger_is_followed_until_something_decides() -> None:
    packet = Passing(Flight(4, TCP, "10.1.0.3", "10.2.0.4", 40000, 22), "qr-1", "qr-2")
    lines = ["4/filter -A FORWARD -j strange", "4/filter -A strange -d 10.2.0.4/32 -j DROP"]
    assert [rule.chain for rule in deciding(lines, "FORWARD", packet)] == ["strange"]
    assert deciding(["4/filter -A FORWARD -j ACCEPT", *lines], "FORWARD", packet) == []
    assert deciding([lines[0], "4/filter -A strange -j RETURN", lines[1]], "FORWARD", packet) == []
    policy = "4/filter -P FORWARD DROP"
    assert [rule.policy for rule in deciding([policy], "FORWARD", packet)] == [True]
    assert deciding([policy, "4/filter -A FORWARD -s 10.1.0.0/24 -j ACCEPT"], "FORWARD", packet) == []
    assert deciding(lines, "INPUT", packet) == []
