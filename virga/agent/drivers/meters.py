"""Meters of one bridge: what its flows need before they can name them.

Mark of ours: every meter from number 4 on (a port has four, and ports are numbered from 1); what a
person makes below that is left alone. A meter that goes takes the flows that name it along, so removals
come after the flows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from virga.lib.run import CommandError
from virga.sdn.qos_flows import METERS_A_PORT, Meter

Ofctl = Callable[..., str]
"""Runs ``ovs-ofctl`` with a command and its arguments on the bridge; gives what it printed."""

_METER = re.compile(
    r"meter=(\d+) (kbps|pktps) burst (?:stats )?bands=\s*type=drop rate=(\d+) burst_size=(\d+)"
)


def parse(text: str) -> dict[int, Meter]:
    """The answer of ``dump-meters``. Meters of another shape are none of ours, or differ."""
    found = {}
    for number, unit, rate, burst in _METER.findall(text):
        found[int(number)] = Meter(int(number), unit, int(rate), int(burst))
    return found


def _text(meter: Meter) -> str:
    return (
        f"meter={meter.number},{meter.unit},burst,stats,"
        f"band=type=drop,rate={meter.rate},burst_size={meter.burst}"
    )


class MeterTable:
    """Wanted meters by owner, and those that the switch has."""

    def __init__(self) -> None:
        self._wanted: dict[str, tuple[Meter, ...]] = {}
        self._actual: dict[int, Meter] = {}
        self._known: set[int] = set()
        """Numbers in use at the switch, whatever they mean there."""
        self._refused: dict[int, str] = {}

    def put(self, owner: str, meters: Iterable[Meter]) -> bool:
        """Exactly these are the owner's. True when that is news."""
        value = tuple(meters)
        if self._wanted.get(owner, ()) == value:
            return False
        if value:
            self._wanted[owner] = value
        else:
            del self._wanted[owner]
        return True

    def reason(self, owner: str) -> str:
        """Why a meter of the owner is not so; empty when all are."""
        reasons = (self._refused.get(meter.number) for meter in self._wanted.get(owner, ()))
        return next((reason for reason in reasons if reason), "")

    def read(self, ofctl: Ofctl) -> None:
        text = ofctl("dump-meters")
        self._actual = parse(text)
        self._known = {int(number) for number in re.findall(r"meter=(\d+)", text)}
        self._refused = {}

    def _by_number(self) -> dict[int, Meter]:
        return {meter.number: meter for meters in self._wanted.values() for meter in meters}

    def make(self, ofctl: Ofctl) -> dict[str, str]:
        """Add and change. Idempotent. What was refused, by meter, and why."""
        failed = {}
        for number, meter in sorted(self._by_number().items()):
            if self._actual.get(number) == meter:
                continue
            try:
                ofctl("mod-meter" if number in self._known else "add-meter", _text(meter))
            except CommandError as error:
                self._refused[number] = failed[f"meter {number}"] = str(error)
                continue
            self._actual[number] = meter
            self._known.add(number)
            self._refused.pop(number, None)
        return failed

    def prune(self, ofctl: Ofctl) -> None:
        """Remove what nobody names any more. Idempotent."""
        wanted = self._by_number()
        for number in sorted(self._known):
            if number >= METERS_A_PORT and number not in wanted:
                ofctl("del-meter", f"meter={number}")
                self._known.discard(number)
                self._actual.pop(number, None)

    def differences(self, ofctl: Ofctl) -> list[tuple[int, str]]:
        """Numbers that are not as wanted, and how they differ. Reads only."""
        text, wanted = ofctl("dump-meters"), self._by_number()
        actual = parse(text)
        numbers = {int(number) for number in re.findall(r"meter=(\d+)", text)}
        found = [(n, "extra") for n in sorted(numbers - wanted.keys()) if n >= METERS_A_PORT]
        for number, meter in sorted(wanted.items()):
            if actual.get(number) != meter:
                found.append((number, "differs" if number in numbers else "missing"))
        return found
