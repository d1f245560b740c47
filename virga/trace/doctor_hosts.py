"""Differences that agents report, and hosts that do not, as findings for people. Pure, but for one query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from virga.contract.calls import HostDifference
from virga.contract.doctor import Finding
from virga.db.outbox import job
from virga.db.tx import Tx
from virga.services.compute.models import compute_service
from virga.services.network.models import agent
from virga.settings import Settings

CHECKS = {
    "namespaces": ("namespaces", "ip netns list"),
    "links": ("links", "ip -d link"),
    "leak": ("leak", "nft list table netdev virga"),
    "ipsets": ("rules", "ipset list"),
    "bridge rules": ("rules", "iptables -S"),
    "ovsdb": ("ports", "ovs-vsctl show"),
    "flows": ("flows", "ovs-ofctl dump-flows"),
    "addresses": ("addresses", "ip netns exec NAMESPACE ip addr"),
    "iptables": ("rules", "ip netns exec NAMESPACE iptables-save"),
    "dnsmasq": ("dhcp", "ps aux | grep dnsmasq"),
    "radvd": ("advertisements", "ps aux | grep radvd"),
    "haproxy": ("metadata", "ps aux | grep haproxy"),
    "conntrack": ("connections", "conntrack -L"),
    "targets": ("targets", "tgtadm --mode target --op show"),
    "instances": ("instances", "ps aux | grep qemu"),
}
"""Driver to the name of its check, and what shows the same by hand."""

SENTENCES = {
    "missing": "is missing",
    "extra": "is left over: nobody wants it any more",
    "differs": "is not as it must be",
    "foreign": "was put there by somebody else",
    "unreadable": "cannot be looked at",
}
FIXABLE = ("missing", "extra", "differs")
SILENT_US = 30_000_000


@dataclass(frozen=True, slots=True)
class KnownHost:
    """A host as the rows have it."""

    name: str
    seen_at: int
    silent: tuple[str, ...] = ()
    """Agents of it that were not heard of for too long."""
    disabled: tuple[str, ...] = ()

    def is_quiet(self, now: int) -> bool:
        return now - self.seen_at > SILENT_US


def known_hosts(tx: Tx, settings: Settings) -> list[KnownHost]:
    """All hosts whose agents ever reported."""
    seen: dict[str, int] = {}
    silent: dict[str, list[str]] = {}
    disabled: dict[str, list[str]] = {}
    limit = tx.now - settings.agent_down_seconds * 1_000_000
    for row in tx.all(select(agent).order_by(agent.c.host, agent.c.agent_type)):
        seen[row.host] = max(seen.get(row.host, 0), row.heartbeat_timestamp)
        if row.heartbeat_timestamp < limit:
            silent.setdefault(row.host, []).append(row.agent_type)
        if not row.admin_state_up:
            disabled.setdefault(row.host, []).append(row.agent_type)
    computes = select(compute_service).where(compute_service.c.binary == "nova-compute")
    for row in tx.all(computes):
        seen[row.host] = max(seen.get(row.host, 0), row.seen_at or 0)
        if row.disabled or row.forced_down:
            disabled.setdefault(row.host, []).append("nova-compute")
    return [
        KnownHost(name, at, tuple(silent.get(name, ())), tuple(disabled.get(name, ())))
        for name, at in sorted(seen.items())
    ]


def services(hosts: Sequence[KnownHost], now: int) -> list[Finding]:
    """Agents that are not heard of, and services that somebody switched off."""
    found = []
    for host in hosts:
        if host.silent:
            age = (now - host.seen_at) // 1_000_000
            text = f"{', '.join(host.silent)} of {host.name} were last heard of {age} s ago."
            found.append(_service(host.name, host.silent[0], "missing", text, "virga up"))
        for name in host.disabled:
            command = (
                "openstack compute service set --enable"
                if name == "nova-compute"
                else "openstack network agent set --enable"
            )
            text = f"{name} of {host.name} is disabled: nothing new is put there."
            found.append(_service(host.name, name, "differs", text, command, "note"))
    return found


def unreachable(host: str, reason: str) -> Finding:
    return _service(
        host, "agent", "missing", f"The agent of {host} does not answer: {reason}.", "virga status; virga up"
    )


def stuck_jobs(tx: Tx) -> list[Finding]:
    """Work that should have begun long ago."""
    late = tx.all(select(job).where(job.c.not_before < tx.now - 60_000_000).order_by(job.c.id).limit(20))
    return [
        Finding(
            check="services",
            subject=row.name,
            sentence=f"{row.name} of {row.ordering_key} waits since more than a minute, after {row.attempts} attempts.",
            request_id=row.request_id,
            level="note",
            mend=f"virga logs --request {row.request_id}" if row.request_id else "virga logs server",
        )
        for row in late
    ]


def clock_skew(host: str, seconds: float) -> list[Finding]:
    if abs(seconds) < 2:
        return []
    text = f"The clock of {host} is {seconds:+.1f} s off: leases, tokens and logs will not agree."
    return [_service(host, "clock", "differs", text, "chronyc tracking", "note")]


def findings(host: str, differences: Sequence[HostDifference], names: Mapping[str, str]) -> list[Finding]:
    """``names`` says for some ids what people call them."""
    return [_finding(host, each, names) for each in differences]


def _finding(host: str, each: HostDifference, names: Mapping[str, str]) -> Finding:
    check, look = CHECKS.get(each.driver, (each.driver, ""))
    if each.driver == "flows" and "mod_vlan_vid" in each.wanted + each.actual:
        check = "translation"
    if each.driver == "ovsdb" and each.wanted == "bridge":
        check = "bridges"
    if each.kind == "extra" and each.driver in (
        "namespaces",
        "links",
        "instances",
        "dnsmasq",
        "haproxy",
        "radvd",
    ):
        check = "orphans"
    name = next((f" ({names[key]})" for key in names if key and key in each.key), "")
    sentence = f"{each.driver}: {each.key or host}{name} {SENTENCES.get(each.kind, each.kind)}."
    look = look.replace("NAMESPACE", re.split("[/ ]", each.key)[0])
    if each.driver == "flows":
        look += f" {each.key.split(' ')[0]}"
    mend = f"virga doctor {host} --fix" if each.kind in FIXABLE else f"virga host exec {host} -- {look}"
    return Finding(
        check=check,
        host=host,
        subject=each.key,
        kind=each.kind,
        sentence=sentence,
        wanted=each.wanted,
        actual=each.actual,
        mend=mend,
    )


def _service(host: str, subject: str, kind: str, text: str, mend: str, level: str = "problem") -> Finding:
    return Finding(
        check="services",
        host=host,
        subject=subject,
        kind=kind,
        sentence=text,
        mend=mend,
        level="note" if level == "note" else "problem",
    )
