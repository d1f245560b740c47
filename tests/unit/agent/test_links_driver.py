"""The link driver against a pretended kernel: adopt, repair, leave alone, and go on when a tool fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from virga.agent.drivers.links import LinkDriver
from virga.lib.run import CommandError, Completed

TAP, OTHER, QVO = "tapaaaaaaaa-aa", "tapbbbbbbbb-bb", "qvoaaaaaaaa-aa"


class PretendedKernel:
    """Devices of a host; understands what the driver asks of ip(8), and the calls beside it."""

    def __init__(self) -> None:
        self.devices: dict[str, dict[str, Any]] = {}
        self.namespaces: dict[str, dict[str, int]] = {"inside": {}}
        self.addresses: dict[str, str] = {}
        self.failing: set[str] = set()
        self.writes = 0

    def checksum_off(self, name: str) -> None:
        assert name in self.devices
        self.devices[name]["checksum"] = False

    def make_tap(self, name: str) -> None:
        if name in self.failing:
            raise OSError(f"no room for {name}")
        self.writes += 1
        self.devices.setdefault(name, {"kind": "tun", "mtu": 1500, "up": False})

    def no_ipv6(self, name: str) -> None:
        assert name in self.devices

    def exists(self, name: str) -> bool:
        return name in self.devices

    def filter_bridges(self) -> None:
        """Nothing to remember."""

    def __call__(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30.0, check: bool = True
    ) -> Completed:
        if "show" in argv and "-n" in argv:
            inner = self.namespaces[argv[argv.index("-n") + 1]]
            shown = [{"ifname": n, "mtu": mtu, "address": self.addresses.get(n)} for n, mtu in inner.items()]
            return Completed(tuple(argv), 0, json.dumps(shown), "")
        if "show" in argv:
            return Completed(tuple(argv), 0, json.dumps([self._shown(n) for n in self.devices]), "")
        if "list-id" in argv:
            return Completed(tuple(argv), 0, json.dumps([{"nsid": 0, "name": "inside"}]), "")
        for line in stdin.splitlines() if stdin else [" ".join(argv[1:])]:
            self._do(line.split())
        return Completed(tuple(argv), 0, "", "")

    def _shown(self, name: str) -> dict[str, Any]:
        device = self.devices[name]
        shown = {
            "ifname": name,
            "mtu": device["mtu"],
            "flags": ["UP"] if device["up"] else [],
            "linkinfo": {"info_kind": device["kind"]},
            "master": device.get("master", ""),
        }
        return shown | ({"link_netnsid": 0} if device.get("moved") else {})

    def _do(self, words: list[str]) -> None:
        if any(name in words for name in self.failing):
            raise CommandError(Completed(tuple(words), 2, "", "RTNETLINK answers: No buffer space available"))
        self.writes += 1
        values = dict(zip(words, [*words[1:], ""], strict=True))
        name = values.get("dev") or values.get("name", "")
        if words[0] == "-n":
            self.namespaces[words[1]][values["dev"]] = int(values["mtu"])
        elif words[:2] == ["link", "add"]:
            name = words[words.index("name") + 1]
            mtu = int(values.get("mtu") or 1500)
            self.devices[name] = {"kind": values["type"], "mtu": mtu, "up": False}
            if values["type"] == "veth":
                peer = words[len(words) - 1 - words[::-1].index("name") + 1]
                self.devices[peer] = {
                    "kind": "veth",
                    "mtu": mtu,
                    "up": False,
                    "outer": name,
                    "address": values.get("address", ""),
                }
        elif words[:2] == ["link", "del"]:
            self.devices.pop(name)
            for inner in [n for n, d in self.devices.items() if d.get("outer") == name]:
                del self.devices[inner]
        elif "netns" in values:
            inner = self.devices.pop(name)
            self.devices[inner["outer"]]["moved"] = True
            self.namespaces[values["netns"]][values["name"]] = inner["mtu"]
            self.addresses[values["name"]] = inner["address"]
        elif "master" in values:
            self.devices[name]["master"] = values["master"]
        elif "arp" not in values:
            self.devices[name]["mtu"] = int(values["mtu"])
            self.devices[name]["up"] = self.devices[name]["up"] or words[-1] == "up"


def driver(kernel: PretendedKernel) -> LinkDriver:
    made = LinkDriver(runner=kernel, interfaces=kernel)
    made.resync()
    return made


def want_all(links: LinkDriver, mtu: int = 1450) -> None:
    links.want_tap(TAP, mtu)
    links.want_veth(OTHER, OTHER, "inside", "fa:16:3e:00:00:01", mtu)
    links.want_veth(QVO, "qvbaaaaaaaa-aa", None, None, mtu)
    links.want_bridge("qbraaaaaaaa-aa", [TAP, "qvbaaaaaaaa-aa"], mtu)


def test_devices_are_made_once_and_adopted_by_a_fresh_driver() -> None:
    kernel = PretendedKernel()
    links = driver(kernel)
    want_all(links)
    assert links.apply() == []
    assert set(kernel.devices) == {TAP, OTHER, QVO, "qvbaaaaaaaa-aa", "qbraaaaaaaa-aa"}
    assert kernel.namespaces["inside"] == {OTHER: 1450}
    assert kernel.devices[TAP]["master"] == kernel.devices["qvbaaaaaaaa-aa"]["master"] == "qbraaaaaaaa-aa"
    assert kernel.devices[OTHER]["checksum"] is False
    again, kernel.writes = driver(kernel), 0
    want_all(again)
    assert [*again.apply(), *again.prune(), *again.check()] == []
    assert kernel.writes == 0


def test_what_is_left_over_goes_and_what_is_foreign_stays() -> None:
    kernel = PretendedKernel()
    kernel.devices = {
        TAP: {"kind": "tun", "mtu": 1500, "up": True},
        "eth0": {"kind": "", "mtu": 1500, "up": True},
        "tap0": {"kind": "tun", "mtu": 1500, "up": True},
    }
    links = driver(kernel)
    assert [difference.key for difference in links.check()] == [TAP]
    assert links.prune() == []
    assert set(kernel.devices) == {"eth0", "tap0"}


def test_drift_is_repaired_and_a_new_tap_gets_back_into_its_bridge() -> None:
    kernel = PretendedKernel()
    links = driver(kernel)
    want_all(links)
    links.apply()
    del kernel.devices[TAP]
    kernel.devices[QVO]["mtu"] = 900
    links.resync()
    assert links.apply() == []
    assert kernel.devices[TAP]["master"] == "qbraaaaaaaa-aa"
    assert kernel.devices[QVO]["mtu"] == 1450


def test_a_half_made_pair_is_made_again() -> None:
    kernel = PretendedKernel()
    kernel.devices = {
        OTHER: {"kind": "veth", "mtu": 1450, "up": True},
        f"v{OTHER}": {"kind": "veth", "mtu": 1450, "up": False, "outer": OTHER},
    }
    links = driver(kernel)
    links.want_veth(OTHER, OTHER, "inside", None, 1450)
    assert links.apply() == []
    assert set(kernel.devices) == {OTHER} and kernel.namespaces["inside"] == {OTHER: 1450}


def test_packet_size_changes_on_both_ends_and_another_mac_makes_a_new_pair() -> None:
    kernel = PretendedKernel()
    links = driver(kernel)
    want_all(links)
    links.apply()
    want_all(links, mtu=1400)
    links.apply()
    assert (kernel.devices[OTHER]["mtu"], kernel.namespaces["inside"][OTHER]) == (1400, 1400)
    kernel.namespaces["inside"].clear()
    links.want_veth(OTHER, OTHER, "inside", "fa:16:3e:00:00:02", 1400)
    links.apply()
    assert kernel.namespaces["inside"] == {OTHER: 1400}


def test_one_failure_stops_no_other_device_and_is_tried_again() -> None:
    kernel = PretendedKernel()
    kernel.failing = {OTHER, "tapcccccccc-cc"}
    links = driver(kernel)
    want_all(links)
    links.want_tap("tapcccccccc-cc")
    failures = links.apply()
    assert sorted(failure.key for failure in failures) == [OTHER, "tapcccccccc-cc"]
    assert links.realised(TAP) and not links.realised(OTHER)
    assert "No buffer space" in links.outcome(OTHER).reason
    kernel.failing.clear()
    assert links.apply() == []
    assert links.realised(OTHER) and links.realised("tapcccccccc-cc")


def test_check_sees_what_was_done_to_the_inner_end_and_changes_nothing() -> None:
    kernel = PretendedKernel()
    links = driver(kernel)
    want_all(links)
    links.apply()
    assert links.check() == []
    kernel.namespaces["inside"][OTHER] = 576
    kernel.writes = 0
    assert [(d.key, d.kind, d.actual) for d in links.check()] == [(OTHER, "differs", "mtu 576")]
    del kernel.namespaces["inside"][OTHER]
    assert [(d.key, d.actual) for d in links.check()] == [(OTHER, f"{OTHER} is not in inside")]
    assert kernel.writes == 0
