"""From all evidence to one verdict: intent first, then what the hosts hold, then what was seen. Pure.

A path on which the probe made its way there and back is never accused, whatever else was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from virga.contract.explain import Ref, Verdict
from virga.contract.trace import Sighting
from virga.trace import observed
from virga.trace.model import Finding, Path
from virga.trace.probing import Plan
from virga.trace.verdicts import CODES

RANK = {"SWITCH_DOWN": 0, "INSTANCE_DOWN": 1, "LINK_DOWN": 1, "DRIFT": 3}
"""Of several findings the more particular is named; DRIFT says the least."""
PARTICULAR = 2


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
        return stale(facts, reachable=None)
    sentence = "Nothing that was read stands against it; no probe was sent."
    return Finding("REACHABLE", sentence, reachable=True, evidence=tuple(notes(facts)))


def _with_probe(facts: Facts, plan: Plan) -> Finding:
    firm = [one for one in facts.certain if one.firm]
    seen = observed.judge(facts.path, plan, facts.sightings)
    if firm and seen is not None:
        # It did not arrive: what is firm is one finding among all.
        return _joined(best(facts.certain), seen)
    if firm:
        return best(firm)
    if seen is None:
        return Finding("REACHABLE", arrived(facts), reachable=True, evidence=tuple(notes(facts)))
    if seen.code in ("CONNECTION_REFUSED", "ADDRESS_DUPLICATE"):
        return seen
    if seen.code == "MTU_BLACKHOLE":
        return next((_joined(one, seen) for one in facts.suspects if one.code == seen.code), seen)
    if facts.certain:
        return _joined(best(facts.certain), seen)
    if facts.unread:
        return stale(facts, reachable=False)
    near = [one for one in facts.suspects if one.code != "MTU_BLACKHOLE" and _is_near(one, seen)]
    if near and seen.code in ("LOST", "ARP_UNANSWERED", "OUTSIDE_SILENT"):
        return _joined(best(near), seen)
    changed = [one for one in near if one.culprit is not None and one.culprit.kind == "flow"]
    if changed and seen.code in ("GUEST_SILENT", "GUEST_FIREWALL"):
        # A flow that is not ours may have changed what the guest was given.
        return _joined(best(changed), seen)
    return seen


def _is_near(suspect: Finding, seen: Finding) -> bool:
    """At the place where the packet was lost, or in the router before it."""
    return suspect.step < 0 or seen.step < 0 or abs(suspect.step - seen.step) <= 1


def _joined(suspect: Finding, seen: Finding) -> Finding:
    return replace(suspect, evidence=(*suspect.evidence, seen.sentence, *seen.evidence))


def best(findings: Sequence[Finding]) -> Finding:
    """The most particular; of several the first on the way."""
    return min(findings, key=lambda one: (RANK.get(one.code, PARTICULAR), one.step))


def stale(facts: Facts, *, reachable: bool | None) -> Finding:
    """``reachable`` False: the probe did not arrive, and why cannot be told without the host."""
    host = next(iter(facts.unread))
    lost = "The packet does not arrive, and the agent" if reachable is False else "The agent"
    return Finding(
        "AGENT_STALE",
        f"{lost} of {host} does not answer: what {host} holds cannot be told, and nothing new gets there.",
        Ref(kind="agent", name=f"agent of {host}", host=host),
        "virga status",
        evidence=tuple(f"{name}: {reason}" for name, reason in facts.unread.items()),
        reachable=reachable,
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
