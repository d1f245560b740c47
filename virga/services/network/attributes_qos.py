"""The wire contract of quality of service: policies, and what a rule of each type says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from virga.api.resource import REQUIRED, Attribute
from virga.api.validators import between, boolean, integer, one_of
from virga.services.network.attributes import ID, SHARED, STANDARD, TAGS, both

DIRECTIONS = ["egress", "ingress"]
DSCP_MARKS = [0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56]
ANY_NUMBER = {"start": 0, "end": 2147483647}

POLICY = (
    *STANDARD,
    TAGS,
    SHARED,
    both("is_default", boolean, default=False),
    Attribute("rules"),
)


def _amount(name: str, default: object = 0) -> Attribute:
    return both(name, between(0, None), default=default)


def _direction(*more: str) -> Attribute:
    return both("direction", one_of([*DIRECTIONS, *more]), default="egress")


@dataclass(frozen=True)
class RuleType:
    """A kind of rule: what it says, and which values hosts can realise."""

    name: str
    attributes: tuple[Attribute, ...]
    supported: Mapping[str, object] | None = None
    """By parameter, a list of choices or a range; None when hosts cannot realise rules of this kind."""

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self.attributes)

    @property
    def parameters(self) -> list[dict[str, object]]:
        """As the rule types API describes them."""
        return [
            {
                "parameter_name": name,
                "parameter_type": "choices" if isinstance(values, list) else "range",
                "parameter_values": values,
            }
            for name, values in (self.supported or {}).items()
        ]


def _dscp(value: object) -> int:
    return int(one_of(DSCP_MARKS)(integer(value)))


RULE_TYPES: Mapping[str, RuleType] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            RuleType(
                "bandwidth_limit",
                (_amount("max_kbps", REQUIRED), _amount("max_burst_kbps"), _direction()),
                {"max_kbps": ANY_NUMBER, "max_burst_kbps": ANY_NUMBER, "direction": DIRECTIONS},
            ),
            RuleType(
                "packet_rate_limit",
                (_amount("max_kpps", REQUIRED), _amount("max_burst_kpps"), _direction()),
                {"max_kpps": ANY_NUMBER, "max_burst_kpps": ANY_NUMBER, "direction": ["egress"]},
            ),
            RuleType(
                "dscp_marking", (both("dscp_mark", _dscp, default=REQUIRED),), {"dscp_mark": DSCP_MARKS}
            ),
            RuleType("minimum_bandwidth", (_amount("min_kbps", REQUIRED), _direction())),
            RuleType("minimum_packet_rate", (_amount("min_kpps", REQUIRED), _direction("any"))),
        )
    }
)

RULE_ID = ID
