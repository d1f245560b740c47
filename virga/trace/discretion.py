"""What an explanation says to the members of a project: their own objects by name, and no secrets of the operator's hosts."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from virga.contract.explain import Column, Explanation, Hop, Ref, Verdict
from virga.db.tx import Tx
from virga.desired import objects

OPERATORS = ("flow", "rule", "device", "process", "namespace", "agent", "sysctl", "route", "neighbour")
"""Kinds of culprits that are no objects of the API."""
HIDDEN = "the operator's network"
ASK = "Tell the operator, with the id of this explanation."
OF_OTHERS = "It belongs to another project: ask its members."
WRONG = "Something in the operator's network is not as it should be."


def kept_for_project(tx: Tx, kept: Any, project_id: str) -> Any:
    """The same of one that was kept: somebody of the project who sees everything may have asked."""
    return msgspec.to_builtins(for_project(tx, msgspec.convert(kept, Explanation), project_id))


def for_project(tx: Tx, explanation: Explanation, project_id: str) -> Explanation:
    """The same answer without hosts, VLANs, flows and frames, and without what others own."""
    refs = [ref for hop in explanation.hops for ref in hop.objects]
    refs += [ref for ref in (explanation.verdict.culprit,) if ref is not None]
    refs += [change.object for change in explanation.changes]
    stands = objects.standings(tx, [(ref.kind, ref.id) for ref in refs if ref.id])
    own = {key for key, one in stands.items() if one.project_id == project_id}
    return replace(
        explanation,
        source=replace(explanation.source, host=""),
        destination=replace(explanation.destination, host=""),
        hops=[_hop(hop, own) for hop in explanation.hops],
        verdict=_verdict(explanation.verdict, own),
        changes=[one for one in explanation.changes if (one.object.kind, one.object.id) in own],
    )


def _hop(hop: Hop, own: set[tuple[str, str]]) -> Hop:
    mine = [replace(ref, host="") for ref in hop.objects if (ref.kind, ref.id) in own]
    told = hop.kind in ("tap", "qvo", "outside") or (hop.kind in ("qr", "qrouter") and bool(mine))
    return replace(
        hop,
        host="",
        name=hop.name if told else hop.kind,
        expected=_column(hop.expected, told),
        realised=_column(hop.realised, told=False),
        observed=_column(hop.observed, told=False),
        objects=mine,
    )


def _column(column: Column, told: bool) -> Column:
    return Column(state=column.state, text=column.text if told else "")


def _verdict(verdict: Verdict, own: set[tuple[str, str]]) -> Verdict:
    culprit = verdict.culprit
    if culprit is None:
        return replace(verdict, evidence=[])
    if culprit.kind in OPERATORS:
        hidden = Ref(kind="operator", name=HIDDEN)
        return Verdict(
            code=verdict.code, reachable=verdict.reachable, sentence=WRONG, culprit=hidden, mend=ASK
        )
    if (culprit.kind, culprit.id) in own or not culprit.id:
        return replace(verdict, culprit=replace(culprit, host=""), evidence=[])
    return replace(
        verdict, culprit=Ref(kind=culprit.kind), evidence=[], mend=OF_OTHERS, changed_by="", changed_at=""
    )
