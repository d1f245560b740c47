"""Network devices of this host: veth pairs, taps and Linux bridges.

The userspace datapath of Open vSwitch reads devices by raw sockets, so a checksum that the kernel left
to the hardware would never be filled in: both ends of a pair get transmit checksumming turned off
before anything uses them, and taps are made without vnet_hdr.

Mark of ours: the name of the host's end. A pair is made under a passing name for its inner end, which
then moves into its namespace and gets its own name in one step; a half-made pair is made again.
"""

from __future__ import annotations

import array
import fcntl
import json
import re
import socket
import struct
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from virga.agent.drivers.inner_ends import InnerEnd, inner_faults, strangely_treated
from virga.agent.protocol import Difference, Failure
from virga.agent.wishes import Outcome, Wishes
from virga.lib.run import CommandError, Runner, run

OURS = re.compile(r"^(tap|qbr|qvb|qvo|qr-|qg-|sg-|fg-|ha-|rfp-|fpr-)[0-9a-f]{8}-[0-9a-f]{1,2}$")
SYSCTL = Path("/proc/sys/net/ipv6/conf")
BRIDGE_SYSCTL = Path("/proc/sys/net/bridge")
TUN = Path("/dev/net/tun")

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_TUNSETIFF = 0x400454CA
_TUNSETPERSIST = 0x400454CB
_IFF_TAP = 0x0002
_IFF_NO_PI = 0x1000


@dataclass(frozen=True, slots=True)
class Veth:
    """A pair. ``peer_namespace`` None: both ends on the host."""

    peer: str
    peer_namespace: str | None
    mac: str | None
    mtu: int

    kind = "veth"


@dataclass(frozen=True, slots=True)
class Tap:
    mtu: int

    kind = "tun"


@dataclass(frozen=True, slots=True)
class Bridge:
    members: tuple[str, ...]
    mtu: int

    kind = "bridge"


Link = Veth | Tap | Bridge


@dataclass(frozen=True, slots=True)
class ActualLink:
    """A device as the kernel shows it."""

    kind: str
    mtu: int
    up: bool
    master: str = ""
    elsewhere: str | None = None
    """Name of the namespace that the other end of the pair is in, ``?`` when that has no name any more."""


class Interfaces(Protocol):
    """The few things that need the kernel's own calls."""

    def checksum_off(self, name: str) -> None: ...
    def make_tap(self, name: str) -> None: ...
    def no_ipv6(self, name: str) -> None: ...
    def exists(self, name: str) -> bool: ...
    def filter_bridges(self) -> None: ...


class KernelInterfaces:
    """ioctl and /proc of the namespace that this process runs in."""

    def checksum_off(self, name: str) -> None:
        """Idempotent. Turns off every kind of transmit checksumming."""
        value = array.array("B", struct.pack("=II", _ETHTOOL_STXCSUM, 0))
        request = struct.pack("16sP", name.encode(), value.buffer_info()[0])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, _SIOCETHTOOL, request)

    def make_tap(self, name: str) -> None:
        """Idempotent. The tap stays after this descriptor is closed."""
        with TUN.open("r+b", buffering=0) as tun:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
            fcntl.ioctl(tun, _TUNSETPERSIST, 1)

    def no_ipv6(self, name: str) -> None:
        """Idempotent. The host must take no address from what a tenant advertises."""
        switch = SYSCTL / name / "disable_ipv6"
        if switch.exists():
            switch.write_text("1")

    def filter_bridges(self) -> None:
        """Idempotent. What crosses a Linux bridge is shown to iptables."""
        for family in ("iptables", "ip6tables"):
            switch = BRIDGE_SYSCTL / f"bridge-nf-call-{family}"
            if switch.exists():
                switch.write_text("1")

    def exists(self, name: str) -> bool:
        try:
            socket.if_nametoindex(name)
        except OSError:
            return False
        return True


class LinkDriver:
    """Creates wanted devices, removes ours that nobody wants."""

    name = "links"

    def __init__(self, runner: Runner = run, interfaces: Interfaces | None = None) -> None:
        self._run = runner
        self._interfaces = interfaces or KernelInterfaces()
        self._wishes: Wishes[Link] = Wishes(self.name)
        self._actual: dict[str, ActualLink] = {}
        self._broken_inside: dict[str, str] = {}
        """Pairs whose inner end ``check`` saw broken: they are made again."""
        self._made: dict[str, Link] = {}
        """What devices were made as: the inner end of a pair is not read back."""

    def want_veth(
        self, name: str, peer: str, peer_namespace: str | None, mac: str | None = None, mtu: int = 1500
    ) -> None:
        self._wishes.want(name, Veth(peer, peer_namespace, mac, mtu))

    def want_tap(self, name: str, mtu: int = 1500) -> None:
        self._wishes.want(name, Tap(mtu))

    def want_bridge(self, name: str, members: Collection[str], mtu: int = 1500) -> None:
        self._wishes.want(name, Bridge(tuple(sorted(members)), mtu))

    def unwant(self, name: str) -> None:
        self._wishes.want(name, None)

    def listen(self, listener: Callable[[str], None]) -> None:
        self._wishes.listeners.append(listener)

    def is_wanted(self, name: str) -> bool:
        return name in self._wishes.wanted

    def outcome(self, name: str) -> Outcome:
        return self._wishes.outcome(name)

    def realised(self, name: str) -> bool:
        outcome = self._wishes.outcome(name)
        return name in self._wishes.wanted and outcome.settled and not outcome.reason

    def resync(self) -> None:
        """Reads only: all devices of the host; what differs from the wish becomes stale."""
        self._actual = self._read()
        self._made = {name: link for name, link in self._made.items() if name in self._actual}
        self._wishes.mark_stale(
            n for n in self._wishes.wanted if not self._fits(n) or n in self._broken_inside
        )

    def apply(self) -> Sequence[Failure]:
        """Idempotent: pairs and taps first, then the bridges that take them in. Mark: the name."""
        stale = self._wishes.stale()
        taps = [name for name in stale if isinstance(self._wishes.wanted[name], Tap)]
        failures: list[Failure] = []
        if len(taps) > 1:
            self._make_taps(taps)
        failures += self._realise_all([n for n in stale if not isinstance(self._wishes.wanted[n], Bridge)])
        bridges = [n for n in self._wishes.stale() if isinstance(self._wishes.wanted[n], Bridge)]
        return [*failures, *self._realise_all(bridges)]

    def _realise_all(self, names: Sequence[str]) -> list[Failure]:
        failures = []
        for name in names:
            try:
                self._realise(name, self._wishes.wanted[name])
            except (CommandError, OSError) as error:
                failures.append(self._wishes.failed(name, str(error)))
            else:
                self._wishes.done(name)
        return failures

    def prune(self) -> Sequence[Failure]:
        """Idempotent: devices with our names that nobody wants go, in one batch."""
        unwanted = self._left_over(self._actual)
        if not unwanted:
            return []
        text = "".join(f"link del dev {name}\n" for name in unwanted)
        self._run(["ip", "-force", "-batch", "-"], stdin=text, check=False, timeout_s=120.0)
        failures = []
        for name in unwanted:
            if self._interfaces.exists(name):
                failures.append(Failure(self.name, name, "the device is still there after ip link del"))
            else:
                self._actual.pop(name, None)
                self._made.pop(name, None)
        return failures

    def check(self) -> Sequence[Difference]:
        actual = self._read()
        found = []
        for name, wanted in sorted(self._wishes.wanted.items()):
            if name not in actual:
                found.append(Difference(self.name, name, "missing", wanted=str(wanted)))
            elif not _fits(name, wanted, actual[name], actual):
                found.append(Difference(self.name, name, "differs", str(wanted), str(actual[name])))
        found += [Difference(self.name, name, "extra") for name in self._left_over(actual)]
        return [*found, *self._check_inside(actual), *self._check_strangers()]

    def _check_inside(self, actual: Collection[str]) -> list[Difference]:
        """The inner ends in namespaces of services. What a guest does with its own end is its business."""
        ends = {
            name: InnerEnd(wanted.peer, wanted.peer_namespace, wanted.mac, wanted.mtu)
            for name, wanted in sorted(self._wishes.wanted.items())
            if isinstance(wanted, Veth) and wanted.peer_namespace and name in actual
            if not wanted.peer_namespace.startswith("instance-")
        }
        faults = self._broken_inside = inner_faults(self._run, ends)
        return [
            Difference(self.name, name, "differs", str(ends[name]), fault) for name, fault in faults.items()
        ]

    def _check_strangers(self) -> list[Difference]:
        text = self._run(["ip", "-d", "-j", "link", "show"], timeout_s=60.0).stdout
        treated = strangely_treated(json.loads(text or "[]"))
        return [Difference(self.name, name, "foreign", actual=what) for name, what in sorted(treated.items())]

    def _left_over(self, actual: Collection[str]) -> list[str]:
        wanted = self._wishes.wanted
        inner = {w.peer for w in wanted.values() if isinstance(w, Veth) and not w.peer_namespace}
        return sorted(n for n in actual if n not in wanted and n not in inner and OURS.match(n))

    def _make_taps(self, names: Sequence[str]) -> None:
        """Taps in one batch. What it did not achieve is done one by one afterwards, with a reason."""
        made = []
        for name in names:
            if name not in self._actual:
                try:
                    self._interfaces.make_tap(name)
                    self._interfaces.no_ipv6(name)
                except OSError:
                    continue
                made.append(name)
        wanted = {name: self._wishes.wanted[name] for name in made}
        try:
            self._batch(*(f"link set dev {name} mtu {tap.mtu} up" for name, tap in wanted.items()))
        except CommandError:
            return
        for name, tap in wanted.items():
            self._note(name, tap)

    def _fits(self, name: str) -> bool:
        actual = self._actual.get(name)
        return actual is not None and _fits(name, self._wishes.wanted[name], actual, self._actual)

    def _realise(self, name: str, wanted: Link) -> None:
        made = self._made.get(name, wanted)
        broken = self._broken_inside.pop(name, "")
        if self._fits(name) and made == wanted and not broken:
            self._made[name] = wanted
            return
        actual = self._actual.pop(name, None)
        keeps = (
            actual is not None and _can_be_changed(wanted, actual) and _is_like(wanted, made) and not broken
        )
        if actual is not None and not keeps:
            self._run(["ip", "link", "del", "dev", name], check=False)
            actual = None
        if isinstance(wanted, Veth):
            self._veth(name, wanted, fresh=actual is None)
        elif isinstance(wanted, Tap):
            self._interfaces.make_tap(name)
            self._host_end(name, wanted.mtu)
        else:
            self._bridge(name, wanted, fresh=actual is None)
        self._note(name, wanted)

    def _note(self, name: str, wanted: Link) -> None:
        """What is so now. A device that was made anew is in no bridge: its bridge has work to do."""
        self._made[name] = wanted
        elsewhere = wanted.peer_namespace if isinstance(wanted, Veth) else None
        self._actual[name] = ActualLink(wanted.kind, wanted.mtu, True, elsewhere=elsewhere)
        if isinstance(wanted, Bridge):
            for member in wanted.members:
                self._actual[member] = replace(self._actual[member], master=name)
            return
        inner = wanted.peer if isinstance(wanted, Veth) and elsewhere is None else name
        if inner != name:
            self._actual[inner] = ActualLink(wanted.kind, wanted.mtu, True)
        bridges = [n for n, w in self._wishes.wanted.items() if isinstance(w, Bridge)]
        self._wishes.mark_stale(n for n in bridges if {name, inner} & set(self._members(n)))

    def _members(self, bridge: str) -> Collection[str]:
        wanted = self._wishes.wanted[bridge]
        return wanted.members if isinstance(wanted, Bridge) else ()

    def _veth(self, name: str, wanted: Veth, *, fresh: bool) -> None:
        passing = f"v{name}"[:15] if wanted.peer_namespace else wanted.peer
        if fresh:
            mac = f" address {wanted.mac}" if wanted.mac else ""
            self._batch(
                f"link add name {name} mtu {wanted.mtu} type veth peer name {passing}{mac} mtu {wanted.mtu}"
            )
            for end in (name, passing):
                self._interfaces.checksum_off(end)
        self._host_end(name, wanted.mtu)
        if not fresh:
            self._inner_mtu(wanted)
        elif wanted.peer_namespace:
            self._batch(f"link set dev {passing} netns {wanted.peer_namespace} name {wanted.peer} up")
        else:
            self._host_end(wanted.peer, wanted.mtu)

    def _inner_mtu(self, wanted: Veth) -> None:
        command = ["ip", *(["-n", wanted.peer_namespace] if wanted.peer_namespace else [])]
        self._run([*command, "link", "set", "dev", wanted.peer, "mtu", str(wanted.mtu)])

    def _bridge(self, name: str, wanted: Bridge, *, fresh: bool) -> None:
        if fresh:
            self._interfaces.filter_bridges()
            self._batch(f"link add name {name} type bridge forward_delay 0 ageing_time 0 mcast_snooping 0")
            self._batch(f"link set dev {name} arp off")
        self._host_end(name, wanted.mtu)
        self._batch(*(f"link set dev {member} master {name}" for member in wanted.members))

    def _host_end(self, name: str, mtu: int) -> None:
        self._interfaces.no_ipv6(name)
        self._batch(f"link set dev {name} mtu {mtu} up")

    def _batch(self, *lines: str) -> None:
        if lines:
            self._run(["ip", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))

    def _read(self) -> dict[str, ActualLink]:
        text = self._run(["ip", "-d", "-j", "link", "show"], timeout_s=60.0).stdout
        numbers = self._run(["ip", "-j", "netns", "list-id"], check=False).stdout
        names = {int(e["nsid"]): str(e.get("name", "?")) for e in json.loads(numbers or "[]")}
        return {entry["ifname"]: _actual(entry, names) for entry in json.loads(text or "[]")}


def _actual(entry: dict[str, object], namespaces: dict[int, str]) -> ActualLink:
    info = entry.get("linkinfo")
    kind = str(info.get("info_kind", "")) if isinstance(info, dict) else ""
    flags = entry.get("flags")
    return ActualLink(
        kind=kind,
        mtu=int(str(entry.get("mtu", 0))),
        up=isinstance(flags, list) and "UP" in flags,
        master=str(entry.get("master", "")),
        elsewhere=namespaces.get(int(str(entry["link_netnsid"])), "?") if "link_netnsid" in entry else None,
    )


def _fits(name: str, wanted: Link, actual: ActualLink, others: dict[str, ActualLink]) -> bool:
    if actual.kind != wanted.kind or not actual.up or actual.mtu != wanted.mtu:
        return False
    if isinstance(wanted, Veth):
        return actual.elsewhere == wanted.peer_namespace
    if isinstance(wanted, Bridge):
        return all(m in others and others[m].master == name for m in wanted.members)
    return True


def _is_like(wanted: Link, made: Link) -> bool:
    """Whether one becomes the other by what can be changed: the size of packets, the members of a bridge."""
    if isinstance(wanted, Veth) and isinstance(made, Veth):
        return replace(wanted, mtu=0) == replace(made, mtu=0)
    return True


def _can_be_changed(wanted: Link, actual: ActualLink) -> bool:
    """Another kind, or a pair whose inner end is not where it belongs, is made again."""
    if actual.kind != wanted.kind:
        return False
    return not isinstance(wanted, Veth) or actual.elsewhere == wanted.peer_namespace
