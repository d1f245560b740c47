"""What a fault is: a way to break one path of the world, and the code that an explanation of it must have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.traffic import Path
from tests.faults.world import World

Break = Callable[[World], Iterator[None]]
"""Breaks, yields, mends."""


@dataclass(frozen=True)
class Fault:
    """``asked`` is the path that is explained, ``probe`` what fails for real when that is not the same."""

    name: str
    code: str
    asked: Path
    break_: Break
    probe: Path
    never: bool = False
    """The path does not work without the fault either."""


FAULTS: list[Fault] = []


def path(words: str) -> Path:
    """``web app tcp/22``, ``web dhcp``; then perhaps ``v6`` and ``big``."""
    found = words.split()
    flags = {word for word in found if word in ("v6", "big")}
    ends = [word for word in found if word not in flags]
    if len(ends) == 2:
        ends = [ends[0], "", ends[1]]
    return Path(*ends, version=6 if "v6" in flags else 4, big="big" in flags)


def fault(name: str, code: str, asked: str, probe: str = "", never: bool = False) -> Callable[[Break], Break]:
    """Register the generator below as a fault."""

    def register(break_: Break) -> Break:
        FAULTS.append(Fault(name, code, path(asked), break_, path(probe or asked), never))
        return break_

    return register


def on_host(name: str, code: str, asked: str, host: str, broken: str, mended: str, probe: str = "") -> None:
    """A fault behind the cloud's back: two shell scripts on a host, with ``{web.tap}`` and the like.

    Without the second one a new agent mends it.
    """

    def break_(world: World) -> Iterator[None]:
        again = mended.format(**world.names())
        world.sh(host, broken.format(**world.names()))
        yield
        if again:
            world.sh(host, again)
        else:
            world.revive(host)

    FAULTS.append(Fault(name, code, path(asked), break_, path(probe or asked)))
