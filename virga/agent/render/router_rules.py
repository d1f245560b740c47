"""The iptables rules of a router namespace, chain by chain as OpenStack's L3 agent lays them out.

    PREROUTING -> REDIRECT of metadata, DNAT of floating IPs, fip-pf (port forwardings)
    FORWARD    -> scope: what leaves an internal device must carry the mark of its address scope
    POSTROUTING-> snat -> float-snat (floating IPs), then everything else by the gateway's address

The upper 16 bits of the mark hold the address scope, the lower ones say "for the metadata proxy" (0x1)
and "came in by a gateway" (0x2).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from virga.agent.render import meter_rules
from virga.agent.render.meter_rules import Meter
from virga.agent.render.tables import FILTER_TOP, POSTROUTING_BOTTOM, PREFIX, RuleSet, Table

METADATA_PORT = 9697
METADATA_V4 = "169.254.169.254/32"
METADATA_V6 = "fe80::a9fe:a9fe/128"
METADATA_MARK = "0x1/0xffff"
EXTERNAL_MARK = "0x2/0xffff"
SCOPE_MASK = "0xffff0000"
NO_SCOPE = 1024
"""Mark of subnets that are in no address scope; those of scopes lie above."""


@dataclass(frozen=True, slots=True)
class RuleDevice:
    """A device of the router as the rules see it. A scope id of None: in no address scope."""

    name: str
    has_v4: bool = True
    has_v6: bool = False
    scope_v4: str | None = None
    scope_v6: str | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    """An external gateway. ``snat_address`` is its first IPv4 address, None when it has none."""

    device: RuleDevice
    snat_address: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Floating:
    """A floating IP; ``scope_v4`` is the scope of the fixed address."""

    floating: str
    fixed: str
    scope_v4: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Forwarding:
    id: str
    floating: str
    protocol: str
    external_port: str
    """A number or ``low:high``."""
    internal: str
    internal_port: str


@dataclass(frozen=True, slots=True)
class RouterRules:
    """Everything that decides the rules of one router."""

    interfaces: tuple[RuleDevice, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    enable_snat: bool = True
    floating: tuple[Floating, ...] = ()
    forwardings: tuple[Forwarding, ...] = ()
    meters: tuple[Meter, ...] = ()


def scope_mark(scope_id: str | None) -> str:
    """``0x4000000/0xffff0000``: derived from the id, so that marks of connections survive a restart."""
    number = NO_SCOPE if scope_id is None else NO_SCOPE + 1 + zlib.crc32(scope_id.encode()) % 60000
    return f"{hex(number << 16)}/{SCOPE_MASK}"


def render(rules: RouterRules) -> RuleSet:
    return RuleSet(
        v4=(_nat4(rules), _mangle4(rules), _filter(rules, 4), _raw()),
        v6=(_nat6(), _mangle6(rules), _filter(rules, 6), _raw()),
    )


def _table(name: str, chains: tuple[str, ...], *rules: str) -> Table:
    """Write ``$x`` for our chain x, to keep the rules readable."""
    return Table(
        name,
        tuple(c if c.startswith("neutron-") else PREFIX + c for c in chains),
        tuple(rule.replace("$", PREFIX) for rule in rules),
    )


def _raw() -> Table:
    return _table("raw", ("OUTPUT", "PREROUTING"), "-A PREROUTING -j $PREROUTING", "-A OUTPUT -j $OUTPUT")


def _nat4(rules: RouterRules) -> Table:
    forwarding_chains = sorted({_forwarding_chain(f) for f in rules.forwardings})
    chains = ["OUTPUT", "POSTROUTING", "PREROUTING", "float-snat", "snat"]
    if rules.forwardings:
        chains += ["fip-pf", *forwarding_chains]
    floating = sorted(rules.floating)
    return _table(
        "nat",
        (*chains, POSTROUTING_BOTTOM),
        "-A PREROUTING -j $PREROUTING",
        "-A OUTPUT -j $OUTPUT",
        "-A POSTROUTING -j $POSTROUTING",
        f"-A POSTROUTING -j {POSTROUTING_BOTTOM}",
        *(f"-A $OUTPUT -d {f.floating}/32 -j DNAT --to-destination {f.fixed}" for f in floating),
        *_nat4_postrouting(rules),
        f"-A $PREROUTING -d {METADATA_V4} -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports {METADATA_PORT}",
        *(f"-A $PREROUTING -d {f.floating}/32 -j DNAT --to-destination {f.fixed}" for f in floating),
        *(["-A $PREROUTING -j $fip-pf"] if rules.forwardings else []),
        *(f"-A $fip-pf -j ${chain}" for chain in forwarding_chains),
        *(_forward(f) for f in sorted(rules.forwardings)),
        *(
            f"-A $float-snat -s {f.fixed}/32 -j SNAT --to-source {f.floating} --random-fully"
            for f in floating
        ),
        "-A $snat -j $float-snat",
        *_nat4_snat(rules),
        f'-A {POSTROUTING_BOTTOM} -m comment --comment "Perform source NAT on outgoing traffic." -j $snat',
    )


def _with_address(rules: RouterRules) -> list[tuple[str, str, str | None]]:
    """Gateways that can translate: device, address, scope."""
    return [
        (g.device.name, g.snat_address, g.device.scope_v4)
        for g in rules.gateways
        if g.snat_address is not None
    ]


def _nat4_postrouting(rules: RouterRules) -> list[str]:
    """What does not leave by a gateway is not translated, unless its destination was."""
    names = [name for name, _, _ in _with_address(rules)]
    if len(names) <= 1:
        return [f"-A $POSTROUTING ! -o {name} -m conntrack ! --ctstate DNAT -j ACCEPT" for name in names]
    # With several gateways "not by this one" does not mean "inside", so the inner devices are named.
    return [
        f"-A $POSTROUTING -o {device.name} -m conntrack ! --ctstate DNAT -j ACCEPT"
        for device in rules.interfaces
    ]


def _nat4_snat(rules: RouterRules) -> list[str]:
    lines = []
    gateways = _with_address(rules)
    for name, address, scope in gateways:
        if scope is not None:
            # Inside one address scope addresses are unique: no translation.
            lines.append(f"-A $snat -o {name} -m connmark --mark {scope_mark(scope)} -j ACCEPT")
        if rules.enable_snat:
            lines.append(f"-A $snat -o {name} -j SNAT --to-source {address} --random-fully")
    for _, address, _ in gateways[:1]:
        # Replies to inner clients of a floating IP must come back through the router.
        lines.append(
            f"-A $snat -m mark ! --mark {EXTERNAL_MARK} -m conntrack --ctstate DNAT"
            f" -j SNAT --to-source {address} --random-fully"
        )
    return lines


def _forwarding_chain(forwarding: Forwarding) -> str:
    return f"pf-{forwarding.id[:8]}"


def _forward(forwarding: Forwarding) -> str:
    low, _, high = forwarding.internal_port.partition(":")
    first_external = forwarding.external_port.partition(":")[0]
    internal = f"{low}-{high}/{first_external}" if high else low
    protocol = forwarding.protocol
    return (
        f"-A ${_forwarding_chain(forwarding)} -d {forwarding.floating}/32 -p {protocol} -m {protocol}"
        f" --dport {forwarding.external_port} -j DNAT --to-destination {forwarding.internal}:{internal}"
    )


_SAVE_MARK = f"-j CONNMARK --save-mark --nfmask {SCOPE_MASK} --ctmask {SCOPE_MASK}"
_NO_CONNMARK = f"-m connmark --mark 0x0/{SCOPE_MASK}"
_RESTORE_MARK = (
    f"-A $PREROUTING -m connmark ! --mark 0x0/{SCOPE_MASK} -j CONNMARK"
    f" --restore-mark --nfmask {SCOPE_MASK} --ctmask {SCOPE_MASK}"
)
_BUILT_IN_JUMPS = (
    "-A PREROUTING -j $PREROUTING",
    "-A INPUT -j $INPUT",
    "-A FORWARD -j $FORWARD",
    "-A OUTPUT -j $OUTPUT",
    "-A POSTROUTING -j $POSTROUTING",
)


def _mangle4(rules: RouterRules) -> Table:
    chains = ("FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING")
    gateways = [name for name, _, _ in _with_address(rules)]
    devices = [d for d in (*rules.interfaces, *(g.device for g in rules.gateways)) if d.has_v4]
    forward, floatingip, float_snat = _floating_scopes(rules)
    return _table(
        "mangle",
        (*chains, "float-snat", "floatingip", "mark", "scope"),
        *_BUILT_IN_JUMPS,
        *forward,
        *(f"-A $POSTROUTING -o {name} {_NO_CONNMARK} {_SAVE_MARK}" for name in gateways),
        "-A $PREROUTING -j $mark",
        "-A $PREROUTING -j $scope",
        _RESTORE_MARK,
        "-A $PREROUTING -j $floatingip",
        f"-A $PREROUTING -d {METADATA_V4} -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark {METADATA_MARK}",
        f"-A $float-snat {_NO_CONNMARK} {_SAVE_MARK}",
        *float_snat,
        *floatingip,
        *(f"-A $mark -i {name} -j MARK --set-xmark {EXTERNAL_MARK}" for name in gateways),
        *(f"-A $scope -i {d.name} -j MARK --set-xmark {scope_mark(d.scope_v4)}" for d in devices),
    )


def _floating_scopes(rules: RouterRules) -> tuple[list[str], list[str], list[str]]:
    """A floating IP is the one way between two address scopes: its packets take the mark of the other side."""
    forward: list[str] = []
    floatingip: list[str] = []
    float_snat: list[str] = []
    external = rules.gateways[0].device.scope_v4 if rules.gateways else None
    crossing = [f for f in sorted(rules.floating) if f.scope_v4 != external]
    if not crossing:
        return forward, floatingip, float_snat
    outside = scope_mark(external)
    devices = [*rules.interfaces, *(g.device for g in rules.gateways)]
    float_snat += [
        f"-A $float-snat -o {d.name} -j MARK --set-xmark {outside}" for d in devices if d.scope_v4 == external
    ]
    for f in crossing:
        floatingip.append(f"-A $floatingip -d {f.floating}/32 -j MARK --set-xmark {scope_mark(f.scope_v4)}")
        forward.append(f"-A $FORWARD -s {f.fixed}/32 -j $float-snat")
    return forward, floatingip, float_snat


def _mangle6(rules: RouterRules) -> Table:
    chains = ("FORWARD", "INPUT", "OUTPUT", "POSTROUTING", "PREROUTING", "scope")
    devices = [d for d in (*rules.interfaces, *(g.device for g in rules.gateways)) if d.has_v6]
    return _table(
        "mangle",
        chains,
        *_BUILT_IN_JUMPS,
        "-A $PREROUTING -j $scope",
        _RESTORE_MARK,
        f"-A $PREROUTING -d {METADATA_V6} -i qr-+ -p tcp -m tcp --dport 80 -j MARK --set-xmark {METADATA_MARK}",
        *(f"-A $scope -i {d.name} -j MARK --set-xmark {scope_mark(d.scope_v6)}" for d in devices),
    )


def _filter(rules: RouterRules, version: int) -> Table:
    inner = [
        (d.name, scope_mark(d.scope_v4 if version == 4 else d.scope_v6))
        for d in rules.interfaces
        if (d.has_v4 if version == 4 else d.has_v6)
    ]
    metered = meter_rules.rules(rules.meters, [g.device.name for g in rules.gateways], version)
    return _table(
        "filter",
        (FILTER_TOP, "FORWARD", "INPUT", "OUTPUT", "local", "scope", *meter_rules.chains(rules.meters)),
        "-A INPUT -j $INPUT",
        f"-A FORWARD -j {FILTER_TOP}",
        "-A FORWARD -j $FORWARD",
        *metered[:1],
        f"-A OUTPUT -j {FILTER_TOP}",
        "-A OUTPUT -j $OUTPUT",
        f"-A {FILTER_TOP} -j $local",
        "-A $FORWARD -j $scope",
        f"-A $INPUT -m mark --mark {METADATA_MARK} -j ACCEPT",
        f"-A $INPUT -p tcp -m tcp --dport {METADATA_PORT} -j DROP",
        *(f"-A $scope -o {name} -m mark ! --mark {mark} -j DROP" for name, mark in inner),
        *metered[1:],
    )


def _nat6() -> Table:
    """No translation in IPv6: only guests' way to the metadata proxy."""
    return _table(
        "nat",
        ("PREROUTING",),
        "-A PREROUTING -j $PREROUTING",
        f"-A $PREROUTING -d {METADATA_V6} -i qr-+ -p tcp -m tcp --dport 80 -j REDIRECT --to-ports {METADATA_PORT}",
    )
