"""From what several drivers say about one object to the one status that is reported."""

from __future__ import annotations

from collections.abc import Iterable

from virga.agent.wishes import Outcome
from virga.contract.messages import Report


def report(kind: str, key: str, outcomes: Iterable[Outcome]) -> Report | None:
    """ACTIVE when all is so, ERROR with every reason when something failed, None while work is under way."""
    found = list(outcomes)
    reasons = [outcome.reason for outcome in found if outcome.reason]
    if reasons:
        return Report(kind=kind, key=key, status="ERROR", reason="; ".join(dict.fromkeys(reasons)))
    if not all(outcome.settled for outcome in found):
        return None
    return Report(kind=kind, key=key, status="ACTIVE")
