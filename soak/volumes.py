"""Short lives of volumes under load: made, cloned, recorded in snapshots, given to a machine and taken away again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

V, C = "/volume/v3/", "/compute/v2.1/"
PATIENCE_S = 3.0
Ask = Callable[[str, str, Any], Any]


def life(ask: Ask, machine: str, rng: random.Random, name: str) -> None:
    """One volume and what becomes of it. ``machine`` is the server that takes volumes, or nothing."""
    made = ask("POST", V + "volumes", {"volume": {"size": 1, "name": name}})
    if made is None or not _comes_to(ask, made["id"], "available"):
        return
    ident = made["id"]
    deeds: list[Callable[[], None]] = [
        lambda: _copy(ask, ident, name),
        lambda: _record(ask, ident, name),
        *([lambda: _lend(ask, ident, machine, rng, name)] * 2 if machine else []),
    ]
    for deed in rng.choices(deeds, k=2):
        deed()
    if rng.random() < 0.5:
        ask("DELETE", V + f"volumes/{ident}?cascade=true", None)


def _comes_to(ask: Ask, ident: str, status: str) -> bool:
    """Whether it gets there soon; when somebody died it does not, and that is no failure of the load."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = ask("GET", V + f"volumes/{ident}", None)
        if found is None or found["status"] == status:
            return found is not None
        time.sleep(0.1)
    return False


def _copy(ask: Ask, ident: str, name: str) -> None:
    ask("POST", V + "volumes", {"volume": {"size": 1, "source_volid": ident, "name": f"{name}-clone"}})


def _record(ask: Ask, ident: str, name: str) -> None:
    ask("POST", V + "snapshots", {"snapshot": {"volume_id": ident, "force": True, "name": name}})


def _lend(ask: Ask, ident: str, machine: str, rng: random.Random, name: str) -> None:
    at = C + f"servers/{machine}/os-volume_attachments"
    given = ask("POST", at, {"volumeAttachment": {"volumeId": ident}})
    if given is None or not _comes_to(ask, ident, "in-use"):
        return
    if rng.random() < 0.4:
        _record(ask, ident, name)
    if rng.random() < 0.6:
        ask("DELETE", f"{at}/{ident}", None)
        _comes_to(ask, ident, "available")
