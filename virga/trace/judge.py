"""From all evidence to one verdict: intent first, then what the hosts hold, then what was seen. Pure.

A path on which the probe made its way there and back is never accused, whatever else was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from virga.contract.explain import Verdict
from virga.contract.trace import Sighting
from virga.trace import observed
from virga.trace.model import Finding, Path
from virga.trace.probing import Plan
from virga.trace.verdicts import CODES

RANK = {"SWITCH_DOWN": 0, "DRIFT": 2}
"""Of two suspects at one place the more particular is named; DRIFT says the least."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known."""

    path: Path
    intent: Finding | None = None
    certain: Sequence[Finding] = ()
    """What the hosts hold would stop the packet."""
    suspects: Sequence[Finding] = ()
    """What the hosts hold otherwise than is meant, and may stop it."""
    unread: dict[str, str] = field(default_factory=dict)
    """Host that did not answer -> why."""
    plan: Plan | None = None
    sightings: Sequence[Sighting] = ()
    probed: bool = False
    notes: Sequence[str] = ()


def judge(facts: Facts) -> Finding:
    """The one finding that the verdict speaks of."""
    if facts.intent is not None:
        return facts.intent
    if facts.probed and facts.plan is not None:
        return _with_probe(facts, facts.plan)
    if facts.certain:
        return best(facts.certain)
    if facts.unread:
        return stale(facts)
    if facts.suspects:
        return best(facts.suspects)
    return Finding("REACHABLE", "Nothing that was read stands against it; no probe was sent.", reachable=True)


def _with_probe(facts: Facts, plan: Plan) -> Finding:
    seen = observed.judge(facts.path, plan, facts.sightings)
    if seen is None:
        return Finding("REACHABLE", arrived(facts), reachable=True, evidence=tuple(notes(facts)))
    if seen.code == "CONNECTION_REFUSED":
        return seen
    if facts.certain:
        return best(facts.certain)
    near = [one for one in facts.suspects if _is_near(one, seen)]
    if near:
        return _joined(best(near), seen)
    if facts.unread:
        return stale(facts)
    if seen.code == "LOST" and facts.suspects:
        return _joined(best(facts.suspects), seen)
    return seen


def _is_near(suspect: Finding, seen: Finding) -> bool:
    """At the place where the packet was lost, or in the router before it."""
    if suspect.code in ("MTU_BLACKHOLE",) or seen.code == "MTU_BLACKHOLE":
        return suspect.code == seen.code
    return suspect.step < 0 or seen.step < 0 or abs(suspect.step - seen.step) <= 1


def _joined(suspect: Finding, seen: Finding) -> Finding:
    return Finding(
        suspect.code,
        suspect.sentence,
        suspect.culprit,
        suspect.mend,
        (*suspect.evidence, seen.sentence, *seen.evidence),
        suspect.step,
    )


def best(findings: Sequence[Finding]) -> Finding:
    """The first on the way; of those at one place the most particular."""
    return min(findings, key=lambda one: (RANK.get(one.code, 1), one.step))


def stale(facts: Facts) -> Finding:
    host, why = next(iter(facts.unread.items()))
    return Finding(
        "AGENT_STALE",
        f"The agent of {host} does not answer, so what {host} holds cannot be told.",
        None,
        "virga status",
        evidence=tuple(f"{name}: {reason}" for name, reason in facts.unread.items()) or (why,),
        reachable=None,
    )


def arrived(facts: Facts) -> str:
    return "The probe arrived, and its answer came back." if facts.path.back else "The probe arrived."


def notes(facts: Facts) -> list[str]:
    """What was found on the side and does not stop this packet."""
    found = [f"{one.code} found on the side: {one.sentence}" for one in (*facts.certain, *facts.suspects)]
    return [*facts.notes, *found][:8]


def verdict(finding: Finding) -> Verdict:
    """As it is told; who changed the culprit is filled in by who knows."""
    sentence = finding.sentence or CODES[finding.code]
    return Verdict(
        code=finding.code,
        reachable=finding.reachable,
        sentence=sentence,
        culprit=finding.culprit,
        evidence=list(finding.evidence),
        mend=finding.mend,
    )
