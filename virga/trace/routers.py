"""What the namespace of a router really holds for a packet that is to pass it. The first thing that stops it is told. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from virga.contract.calls import HostDifference
from virga.contract.explain import Ref
from virga.contract.items import RouterPort
from virga.contract.trace import HostReading, LinkReading, NamespaceReading
from virga.trace import kernel_routes, netfilter
from virga.trace.model import Crossing, Finding, Leg
from virga.trace.netfilter import Passing

FORWARDING = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}
METADATA = "169.254.169.254"


@dataclass(frozen=True, slots=True)
class Inside:
    """A namespace as it was read, with its host."""

    host: str
    space: NamespaceReading
    links: Mapping[str, LinkReading]

    @property
    def ref(self) -> Ref:
        return Ref(kind="namespace", name=self.space.name, host=self.host)

    def fix(self) -> str:
        return f"virga doctor {self.host} --fix"

    def run(self, command: str) -> str:
        return f"virga host exec {self.host} -- ip netns exec {self.space.name} {command}"


def inside(reading: HostReading | None, name: str) -> Inside | None:
    """None when it was not asked for."""
    if reading is None:
        return None
    space = next((n for n in reading.namespaces if n.name == name), None)
    if space is None:
        return None
    return Inside(reading.host, space, {link.name: link for link in space.links})


def judge(crossing: Crossing, onward: Leg | None, reading: HostReading) -> Finding | None:
    """What stops the packet in this router for certain."""
    here = inside(reading, f"qrouter-{crossing.router.key}")
    if here is None:
        return None
    return next(_checks(crossing, onward, here, reading), None)


def _checks(crossing: Crossing, onward: Leg | None, here: Inside, reading: HostReading) -> Iterator[Finding]:
    if not here.space.exists:
        yield Finding("DRIFT", f"The namespace {here.space.name} is missing.", here.ref, here.fix())
        return
    for port in (crossing.came_in, crossing.goes_out):
        yield from _device(here, port)
    version = crossing.before.version
    yield from _switches(here, version, crossing.came_in, crossing.goes_out)
    yield from _addresses(crossing, here)
    yield from _rules(crossing, here)
    yield from _lost_rules(crossing, here, reading.differences)
    yield from _route(crossing, onward, here)
    yield from _neighbour(crossing, onward, here)


def _device(here: Inside, port: RouterPort) -> Iterator[Finding]:
    name = port.device_name
    link = here.links.get(name)
    ref = Ref(kind="device", id=name, host=here.host)
    if link is None:
        sentence = f"The device {name} is missing in {here.space.name}."
        yield Finding("DRIFT", sentence, ref, here.fix())
    elif not link.up or not link.carrier:
        state = "down" if not link.up else "without carrier"
        yield Finding(
            "LINK_DOWN",
            f"The device {name} in {here.space.name} is {state}.",
            ref,
            here.run(f"ip link set {name} up"),
        )


def _switches(here: Inside, version: int, came_in: RouterPort, goes_out: RouterPort) -> Iterator[Finding]:
    name = FORWARDING[version]
    if here.space.sysctls.get(name, "1") == "0":
        dotted = name.replace("/", ".")
        yield Finding(
            "DRIFT",
            f"{here.space.name} does not forward IPv{version}: {dotted} is 0.",
            Ref(kind="sysctl", name=dotted, host=here.host),
            here.run(f"sysctl -w {dotted}=1"),
            evidence=(f"{dotted} = 0",),
        )
    own = f"net/ipv4/conf/{came_in.device_name}/forwarding"
    if version == 4 and here.space.sysctls.get(own, "1") == "0":
        dotted = f"net.ipv4.conf.{came_in.device_name}.forwarding"
        yield Finding(
            "DRIFT",
            f"{here.space.name} does not forward what comes in at {came_in.device_name}: {dotted} is 0.",
            Ref(kind="sysctl", name=dotted, host=here.host),
            here.run(f"sysctl -w {dotted}=1"),
            evidence=(f"{dotted} = 0",),
        )
    per_device = f"net/ipv{version}/conf/{goes_out.device_name}/disable_ipv6"
    if version == 6 and here.space.sysctls.get(per_device, "0") == "1":
        dotted = per_device.replace("/", ".")
        yield Finding(
            "DRIFT",
            f"IPv6 is off at {goes_out.device_name} in {here.space.name}.",
            Ref(kind="sysctl", name=dotted, host=here.host),
            here.run(f"sysctl -w {dotted}=0"),
        )


def _addresses(crossing: Crossing, here: Inside) -> Iterator[Finding]:
    version = crossing.before.version
    for port in (crossing.came_in, crossing.goes_out):
        has = {address.split()[0].partition("/")[0] for address in here.links[port.device_name].addresses}
        for fixed in port.fixed_ips:
            if (":" in fixed.ip_address) == (version == 6) and fixed.ip_address not in has:
                yield Finding(
                    "DRIFT",
                    f"The address {fixed.ip_address} is missing at {port.device_name} in {here.space.name}.",
                    Ref(kind="device", id=port.device_name, host=here.host),
                    here.fix(),
                )
    outer = {crossing.before.destination, crossing.after.source} if crossing.floating_ip_id else set()
    inner = {crossing.after.destination, crossing.before.source}
    everything = {a.split()[0].partition("/")[0] for link in here.links.values() for a in link.addresses}
    if crossing.after.destination in everything:
        yield Finding(
            "DRIFT",
            f"{here.space.name} has the address {crossing.after.destination} itself, and keeps what is for it.",
            here.ref,
            here.run("ip address show"),
        )
    for address in sorted(outer - inner):
        if address not in everything:
            yield Finding(
                "FIP_STALE",
                f"The address of the floating IP, {address}, is missing in {here.space.name}.",
                Ref(kind="floating_ip", id=crossing.floating_ip_id, name=address, host=here.host),
                here.fix(),
            )


# -- rules ---------------------------------------------------------------------------------------


def hooks(crossing: Crossing) -> list[tuple[str, Passing]]:
    """The packet at each hook that it passes."""
    middle = replace(
        crossing.before,
        destination=crossing.after.destination,
        destination_port=crossing.after.destination_port,
    )
    into, out = crossing.came_in.device_name, crossing.goes_out.device_name
    reply = crossing.way == "back"
    return [
        ("PREROUTING", Passing(crossing.before, into, "", reply)),
        ("FORWARD", Passing(middle, into, out, reply)),
        ("POSTROUTING", Passing(middle, "", out, reply)),
    ]


def _rules(crossing: Crossing, here: Inside) -> Iterator[Finding]:
    """Rules of strangers."""
    for chain, packet in hooks(crossing):
        for rule in netfilter.deciding(here.space.rules, chain, packet):
            yield from _stranger(rule, crossing, here)
    yield from nft(here)


def nft(here: Inside) -> Iterator[Finding]:
    """Tables of nftables that are not iptables' own, where they drop."""
    for line in here.space.rules:
        if line.startswith("nft ") and any(word in line.split() for word in ("drop", "drop;", "reject")):
            sentence = f"A foreign table of nftables in {here.space.name} may drop the packet."
            yield Finding("DRIFT", sentence, here.ref, here.run("nft list ruleset"), evidence=(line,))


def _stranger(rule: netfilter.Rule, crossing: Crossing, here: Inside) -> Iterator[Finding]:
    ref = Ref(kind="rule", name=rule.line, host=here.host)
    mend = (
        here.run(rule.removal)
        if not rule.policy
        else here.run(f"iptables -t {rule.table} -P {rule.chain} ACCEPT")
    )
    if rule.target in netfilter.STOPS:
        yield Finding(
            "DRIFT",
            f"A foreign rule in {here.space.name} stops the packet ({rule.target}).",
            ref,
            mend,
            evidence=(rule.text,),
        )
    elif rule.target in netfilter.TRANSLATES and crossing.way == "there":
        yield Finding(
            "FIP_STALE" if crossing.floating_ip_id else "DRIFT",
            f"A foreign rule in {here.space.name} translates the packet ({rule.target}).",
            ref,
            mend,
            evidence=(rule.text,),
        )


def _lost_rules(crossing: Crossing, here: Inside, differences: Sequence[HostDifference]) -> Iterator[Finding]:
    """Rules of ours that are missing, and rules in our chains that are not ours."""
    family = f"v{crossing.before.version}"
    for one in differences:
        if one.driver != "iptables" or not one.key.startswith(f"{here.space.name}/{family}/"):
            continue
        table = one.key.rpartition("/")[2]
        extra = _extra(crossing, table, one)
        if extra is not None:
            yield from _stranger(extra, crossing, here)
        missing = one.wanted.splitlines()
        floating = _about_floating(crossing, missing)
        if table == "nat" and floating:
            yield Finding(
                "FIP_STALE",
                f"Rules that translate the floating IP are missing in {here.space.name}.",
                Ref(kind="floating_ip", id=crossing.floating_ip_id, host=here.host),
                here.fix(),
                evidence=tuple(floating[:4]),
            )
        elif _matters(crossing, table, missing):
            yield Finding(
                "DRIFT",
                f"Rules of the table {table} are missing in {here.space.name}.",
                Ref(kind="rule", name=missing[0], host=here.host),
                here.fix(),
                evidence=tuple(missing[:6]),
            )


def _extra(crossing: Crossing, table: str, one: HostDifference) -> netfilter.Rule | None:
    """A rule that somebody put into a chain of ours, and that takes the packet."""
    for line in one.actual.splitlines():
        rule = netfilter.parse(f"{crossing.before.version}/{table} {line}")
        if rule is None or rule.target not in (*netfilter.STOPS, "DNAT", "SNAT"):
            continue
        if any(netfilter.takes(rule, packet) for _, packet in hooks(crossing)):
            return rule
    return None


def _about_floating(crossing: Crossing, lines: Sequence[str]) -> list[str]:
    if not crossing.floating_ip_id:
        return []
    outer = {
        crossing.before.destination,
        crossing.before.source,
        crossing.after.source,
        crossing.after.destination,
    }
    return [
        line
        for line in lines
        if ("DNAT" in line or "SNAT" in line or "float-snat" in line)
        and any(f"{a}/32" in line for a in outer)
    ] or [line for line in lines if "PREROUTING" in line.split()[:2] or "float-snat" in line]


def _matters(crossing: Crossing, table: str, missing: Sequence[str]) -> bool:
    """Translation matters where the packet is translated; marks and filters matter for all."""
    if not missing:
        return False
    if table != "nat":
        return table == "filter" and any("-j ACCEPT" in line for line in missing)
    changed = (
        crossing.before.source != crossing.after.source
        or crossing.before.destination != crossing.after.destination
    )
    return changed and any("NAT" in line or "snat" in line for line in missing)


# -- routes --------------------------------------------------------------------------------------


def _route(crossing: Crossing, onward: Leg | None, here: Inside) -> Iterator[Finding]:
    destination = crossing.after.destination
    routes = kernel_routes.parse(here.space.routes)
    policy, found = kernel_routes.decide(
        routes, here.space.policies, crossing.before.source, destination, crossing.came_in.device_name
    )
    if policy and (found is None or found.kind):
        yield Finding(
            "NO_ROUTE",
            f"A policy rule in {here.space.name} refuses the packet.",
            Ref(kind="route", name=policy, host=here.host),
            here.run("ip rule list"),
            evidence=(policy, *([found.line] if found is not None else [])),
        )
        return
    if found is None:
        yield Finding(
            "NO_ROUTE",
            f"{here.space.name} has no route to {destination}, though it should.",
            Ref(kind="route", name=destination, host=here.host),
            here.fix(),
            evidence=tuple(crossing.notes),
        )
    elif found.kind:
        yield Finding(
            "NO_ROUTE",
            f"A route in {here.space.name} refuses packets to {destination} ({found.kind}).",
            Ref(kind="route", name=found.line, host=here.host),
            here.run(f"ip route del {found.line}"),
            evidence=(found.line,),
        )
    elif found.destination == "default" and not _by_default(crossing):
        yield Finding(
            "NO_ROUTE",
            f"The route to {destination} is missing in {here.space.name}; only the default one is left.",
            Ref(kind="route", name=destination, host=here.host),
            here.fix(),
            evidence=(f"there: {found.line}", *(f"meant: {note}" for note in crossing.notes)),
        )
    elif found.device != crossing.goes_out.device_name or not _same_hop(found.via, onward, destination):
        yield Finding(
            "DRIFT",
            f"The route to {destination} in {here.space.name} leads elsewhere than is meant.",
            Ref(kind="route", name=found.line, host=here.host),
            here.run(f"ip route del {found.line}"),
            evidence=(f"there: {found.line}", *(f"meant: {note}" for note in crossing.notes)),
        )


def _by_default(crossing: Crossing) -> bool:
    return any(note.startswith(("default ", "0.0.0.0/0 ", "::/0 ")) for note in crossing.notes)


def _same_hop(via: Sequence[str], onward: Leg | None, destination: str) -> bool:
    if onward is None:
        return True
    return onward.next_hop in via if via else onward.next_hop == destination


def _neighbour(crossing: Crossing, onward: Leg | None, here: Inside) -> Iterator[Finding]:
    if onward is None or onward.receiver.port is None:
        return
    for line in here.space.neighbours:
        words = line.split()
        about = words[0] == onward.next_hop and crossing.goes_out.device_name in words
        if about and "lladdr" in words:
            mac = words[words.index("lladdr") + 1]
            if mac != onward.destination_mac:
                yield Finding(
                    "DRIFT",
                    f"{here.space.name} believes that {onward.next_hop} is at {mac}, and it is at {onward.destination_mac}.",
                    Ref(kind="neighbour", name=line, host=here.host),
                    here.run(f"ip neigh del {words[0]} dev {crossing.goes_out.device_name}"),
                    evidence=(line,),
                )
