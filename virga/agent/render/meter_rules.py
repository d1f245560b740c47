"""What a router counts for metering labels, as iptables rules with the chains that OpenStack's agent makes.

    FORWARD -> neutron-meter-FORWARD -> neutron-meter-r-<label>: what counts -> neutron-meter-l-<label>

``iptables -nvxL neutron-meter-l-<label>`` shows packets and bytes; a chain's one rule does nothing but count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

FORWARD = "neutron-meter-FORWARD"
LABEL_LENGTH = 11


@dataclass(frozen=True, slots=True)
class MeterRule:
    direction: str
    excluded: bool = False
    source: str | None = None
    destination: str | None = None

    @property
    def version(self) -> int:
        return ip_network(self.source or self.destination or "0.0.0.0/0").version


@dataclass(frozen=True, slots=True)
class Meter:
    """A label by the part of its id that chains carry."""

    label: str
    rules: tuple[MeterRule, ...] = ()


def chains(meters: Sequence[Meter]) -> list[str]:
    if not meters:
        return []
    return [FORWARD, *(f"neutron-meter-{kind}-{meter.label}" for meter in meters for kind in "lr")]


def rules(meters: Sequence[Meter], gateways: Iterable[str], version: int) -> list[str]:
    """Exclusions stand before what they are taken from."""
    if not meters:
        return []
    lines = [f"-A FORWARD -j {FORWARD}"]
    lines += [f"-A {FORWARD} -j neutron-meter-r-{meter.label}" for meter in meters]
    for meter in meters:
        lines.append(f"-A neutron-meter-l-{meter.label}")
        for rule in sorted(meter.rules, key=lambda rule: not rule.excluded):
            if rule.version == version:
                lines += [_line(meter, rule, gateway) for gateway in gateways]
    return lines


def _line(meter: Meter, rule: MeterRule, gateway: str) -> str:
    source = f" -s {_text(rule.source)}" if rule.source and not rule.source.endswith("/0") else ""
    there = rule.destination
    destination = f" -d {_text(there)}" if there and not there.endswith("/0") else ""
    device = f" -o {gateway}" if rule.direction == "egress" else f" -i {gateway}"
    target = "RETURN" if rule.excluded else f"neutron-meter-l-{meter.label}"
    return f"-A neutron-meter-r-{meter.label}{source}{destination}{device} -j {target}"


def _text(prefix: str) -> str:
    return str(ip_network(prefix))
