"""Chooses the host of a volume: filters say which may, weighers say which is best. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from virga.settings import Settings, SettingsError


@dataclass(frozen=True)
class Backend:
    """A host that serves volumes, as it is now."""

    host: str
    zone: str
    total_gb: float
    free_gb: float
    provisioned_gb: float = 0.0
    """Promised to volumes, whatever they hold."""
    volumes: int = 0
    up: bool = True
    capabilities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wish:
    """What is to be placed."""

    size_gb: int
    zone: str = ""
    extra_specs: Mapping[str, Any] = field(default_factory=dict)
    only: str | None = None
    """The host of the source: copies are made where it is."""
    overcommit: float = 20.0


Filter = Callable[[Backend, Wish], bool]
Weigher = Callable[[Backend, Wish], float]


def availability_zone_filter(backend: Backend, wish: Wish) -> bool:
    """The zone that was asked for, and one of those that the type allows."""
    allowed = wish.extra_specs.get("RESKEY:availability_zones")
    zones = {zone.strip() for zone in str(allowed).split(",")} if allowed else {backend.zone}
    return wish.zone in ("", backend.zone) and backend.zone in zones


def capacity_filter(backend: Backend, wish: Wish) -> bool:
    """Thin volumes: what is promised may exceed what is there by a factor; a full pool takes none."""
    if backend.total_gb <= 0 or backend.free_gb <= 0:
        return False
    if backend.provisioned_gb + wish.size_gb > backend.total_gb * wish.overcommit:
        return False
    return wish.size_gb <= backend.free_gb * wish.overcommit


def capabilities_filter(backend: Backend, wish: Wish) -> bool:
    """Each unscoped extra spec, and each of scope ``capabilities``, must be met."""
    for key, wanted in wish.extra_specs.items():
        scope, colon, name = key.partition(":")
        if colon and scope != "capabilities":
            continue
        offered: Any = backend.capabilities
        for part in (name if colon else key).split(":"):
            offered = offered.get(part) if isinstance(offered, Mapping) else None
        if offered is None or not meets(offered, str(wanted)):
            return False
    return True


def meets(offered: Any, wanted: str) -> bool:
    """OpenStack's little language of extra specs: ``<is> True``, ``<in> x``, ``<or> a <or> b``, ``>= 5``, ``s== x``."""
    words = wanted.split()
    have = str(offered)
    if not words:
        return have == ""
    word, rest = words[0], " ".join(words[1:])
    if word == "<is>":
        return _truth(have) == _truth(rest)
    if word == "<in>":
        return rest in have
    if word == "<or>":
        return have in [part.strip() for part in wanted.split("<or>") if part.strip()]
    if word in _TEXT:
        return _TEXT[word](have, rest)
    if word in _NUMBER:
        return _compared(word, have, rest)
    return have.lower() == wanted.lower()


_TEXT: dict[str, Callable[[str, str], bool]] = {
    "s==": lambda a, b: a == b,
    "s!=": lambda a, b: a != b,
    "s<": lambda a, b: a < b,
    "s<=": lambda a, b: a <= b,
    "s>": lambda a, b: a > b,
    "s>=": lambda a, b: a >= b,
}
_NUMBER: dict[str, Callable[[float, float], bool]] = {
    "=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


def _compared(word: str, have: str, wanted: str) -> bool:
    try:
        return _NUMBER[word](float(have), float(wanted))
    except ValueError:
        return False


def _truth(text: str) -> bool:
    return text.strip().lower() in ("true", "1", "yes", "on", "t", "y")


FILTERS: dict[str, Filter] = {
    "AvailabilityZoneFilter": availability_zone_filter,
    "CapacityFilter": capacity_filter,
    "CapabilitiesFilter": capabilities_filter,
}


def capacity_weigher(backend: Backend, wish: Wish) -> float:
    """Most room first: what may still be promised."""
    return backend.total_gb * wish.overcommit - backend.provisioned_gb


def free_capacity_weigher(backend: Backend, wish: Wish) -> float:
    """Most bytes free first."""
    return backend.free_gb


def allocated_capacity_weigher(backend: Backend, wish: Wish) -> float:
    """Least promised first."""
    return -backend.provisioned_gb


def volume_number_weigher(backend: Backend, wish: Wish) -> float:
    """Fewest volumes first."""
    return -float(backend.volumes)


WEIGHERS: dict[str, Weigher] = {
    "CapacityWeigher": capacity_weigher,
    "FreeCapacityWeigher": free_capacity_weigher,
    "AllocatedCapacityWeigher": allocated_capacity_weigher,
    "VolumeNumberWeigher": volume_number_weigher,
}


def filters_of(settings: Settings) -> list[Filter]:
    return [_known(name, FILTERS, "volume_filters") for name in settings.volume_filters]


def weighers_of(settings: Settings) -> list[tuple[Weigher, float]]:
    found = []
    for text in settings.volume_weighers:
        name, _, factor = text.partition("=")
        found.append((_known(name, WEIGHERS, "volume_weighers"), float(factor or 1.0)))
    return found


def _known(name: str, known: dict[str, Any], setting: str) -> Any:
    if name not in known:
        raise SettingsError(f"setting {setting!r}: there is no {name!r}")
    return known[name]


def rank(backends: Sequence[Backend], wish: Wish, settings: Settings) -> list[str]:
    """The hosts that may, best first."""
    fit = [one for one in backends if one.up and wish.only in (None, one.host)]
    for test in filters_of(settings):
        fit = [one for one in fit if test(one, wish)]
    scores = dict.fromkeys((one.host for one in fit), 0.0)
    for weigher, factor in weighers_of(settings):
        raw = {one.host: weigher(one, wish) for one in fit}
        low, high = min(raw.values(), default=0.0), max(raw.values(), default=0.0)
        for host, value in raw.items():
            scores[host] += factor * ((value - low) / (high - low) if high > low else 0.0)
    return sorted(scores, key=lambda host: (-scores[host], host))
