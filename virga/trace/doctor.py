"""The doctor of a running cloud: asks every agent, tries the wires between hosts, reads rows and logs. Changes nothing,
unless it is told to hand what differs to the agents.

    rows -> hosts -> agent.check, agent.examine, volume.pool   (all hosts at once)
                  -> agent.probe_wires                         (all hosts at once)
         -> database, logs                                     -> Diagnosis
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import select

from virga.api.context import AsyncContext, CallError
from virga.contract.calls import CheckHost, HostDifference, PoolFacts, PoolShow
from virga.contract.doctor import (
    Diagnosis,
    ExamineHost,
    Finding,
    HostExamination,
    ProbeWires,
    ResyncHost,
    WiresProbed,
)
from virga.db.tx import Tx
from virga.desired.record import Observed, observe
from virga.lib.clock import iso_micro, now_us
from virga.services.block_storage.models import volume_service
from virga.services.compute.models import server
from virga.services.network.models import network
from virga.services.network.models_l3 import router
from virga.trace import doctor_database, doctor_hosts, doctor_logs, doctor_wires
from virga.trace.doctor_hosts import KnownHost

T = TypeVar("T")
CALL_S = 90.0
FIRST_CALL_S = 10.0
"""Looking at itself takes an agent no time."""
QUIET_CALL_S = 3.0
"""For a host that was not heard of lately: the answer is not worth waiting for."""
MOST_ROUNDS = 20
"""A repair may take the agent several rounds of its loop; each question lets it make one."""


class NoSuchHost(Exception):
    """The host that is to be looked at never reported."""


@dataclass(slots=True)
class Ward:
    """What is known of one host so far."""

    known: KnownHost
    differences: list[HostDifference] = field(default_factory=list)
    examination: HostExamination | None = None
    pool: PoolFacts | None = None
    pool_rows: doctor_database.PoolRows | None = None
    skew: float = 0.0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Rows:
    """What one look into the database says."""

    hosts: list[KnownHost]
    carried: list[doctor_wires.Carried]
    database: doctor_database.Checked
    jobs: list[Finding]
    names: dict[str, str]
    pools: dict[str, doctor_database.PoolRows]
    now: int


async def diagnose(ctx: AsyncContext, wanted: Sequence[str] = (), fix: bool = False) -> Diagnosis:
    """Look at all hosts, or at those named. Raises NoSuchHost."""
    began = time.monotonic()
    rows = await ctx.read(lambda tx: _rows(tx, ctx.settings))
    unknown = sorted(set(wanted) - {host.name for host in rows.hosts})
    if unknown:
        raise NoSuchHost(unknown[0])
    wards = [Ward(known) for known in rows.hosts if not wanted or known.name in wanted]
    await asyncio.gather(*(_visit(ctx, ward, rows) for ward in wards))
    fixed: list[Finding] = []
    if fix:
        for ward in wards:
            fixed += await _fix(ctx, ward, rows)
    found, checked = await _gathered(ctx, wards, rows, bool(wanted))
    drifts = [each for each in [*found, *fixed] if each.kind and each.host]
    if drifts:
        seen = [Observed("drift", msgspec.to_builtins(d), d.host, f"{d.check} {d.subject}") for d in drifts]
        await ctx.write(lambda tx: observe(tx, seen))
    return Diagnosis(
        hosts=[ward.known.name for ward in wards],
        findings=found,
        fixed=fixed,
        checked=checked,
        neighbours={
            w.known.name: w.examination.neighbours
            for w in wards
            if w.examination and w.examination.neighbours
        },
        seconds=round(time.monotonic() - began, 3),
    )


def _rows(tx: Tx, settings: Any) -> Rows:
    names = {
        row.id: f"{kind} {row.name}"
        for kind, table in (("network", network), ("router", router), ("server", server))
        for row in tx.all(select(table.c.id, table.c.name))
        if row.name
    }
    serving = [row.host for row in tx.all(select(volume_service.c.host).distinct())]
    return Rows(
        hosts=doctor_hosts.known_hosts(tx, settings),
        carried=doctor_wires.carried(tx),
        database=doctor_database.examine(tx),
        jobs=doctor_hosts.stuck_jobs(tx),
        names=names,
        pools={host: doctor_database.pool_rows(tx, host) for host in serving},
        now=tx.now,
    )


async def _visit(ctx: AsyncContext, ward: Ward, rows: Rows) -> None:
    """Ask one agent all that it can say by itself."""
    limit = QUIET_CALL_S if ward.known.is_quiet(rows.now) else FIRST_CALL_S
    host = ward.known.name
    try:
        ward.examination = await _ask(ctx, host, "agent.examine", ExamineHost(), HostExamination, limit)
        ward.skew = ward.examination.time - now_us() / 1_000_000
        ward.differences = await _check(ctx, host)
        if host in rows.pools:
            ward.pool = await _ask(ctx, host, "volume.pool", PoolShow(), PoolFacts, CALL_S)
            # The rows of now, not of before: a volume may have come meanwhile.
            ward.pool_rows = await ctx.read(lambda tx: doctor_database.pool_rows(tx, host))
    except CallError as error:
        ward.trouble = str(error)


async def _ask(
    ctx: AsyncContext, host: str, method: str, arguments: Any, result: type[T], limit_s: float
) -> T:
    return msgspec.json.decode(await ctx.call(host, method, arguments, limit_s), type=result)


async def _check(ctx: AsyncContext, host: str) -> list[HostDifference]:
    return await _ask(ctx, host, "agent.check", CheckHost(), list[HostDifference], CALL_S)


async def _fix(ctx: AsyncContext, ward: Ward, rows: Rows) -> list[Finding]:
    """Hand what differs to the agent, and see what became of it."""
    before = [each for each in ward.differences if each.kind in doctor_hosts.FIXABLE]
    if not before or ward.trouble:
        return []
    host = ward.known.name
    try:
        await ctx.call(host, "agent.resync", ResyncHost(), CALL_S)
        for _ in range(MOST_ROUNDS):
            ward.differences = await _check(ctx, host)
            if not any(each.kind in doctor_hosts.FIXABLE for each in ward.differences):
                break
    except CallError as error:
        ward.trouble = str(error)
        return []
    left = {(each.driver, each.key, each.kind) for each in ward.differences}
    gone = [each for each in before if (each.driver, each.key, each.kind) not in left]
    return doctor_hosts.findings(host, gone, rows.names)


async def _gathered(
    ctx: AsyncContext, wards: Sequence[Ward], rows: Rows, some: bool
) -> tuple[list[Finding], dict[str, int]]:
    found: list[Finding] = []
    checked: dict[str, int] = {"hosts": len(wards), "database rows": rows.database.rows}
    found += doctor_hosts.services([ward.known for ward in wards], rows.now)
    for ward in wards:
        found += _of_ward(ward, rows)
        if ward.examination is not None:
            for name, count in ward.examination.checked.items():
                checked[name] = checked.get(name, 0) + count
    wires, count = await _wires(ctx, wards, rows)
    checked["crossings"] = count
    directory = Path(ctx.settings.state_dir) / "logs"
    since = iso_micro(rows.now - doctor_logs.LATE_S * 1_000_000) or ""
    logs = await ctx.thread(lambda: doctor_logs.errors(directory, since))
    found += wires
    if not some:
        found += [*rows.database.findings, *rows.jobs, *logs]
    return sorted(found, key=lambda each: (each.level != "problem", each.host, each.check)), checked


def _of_ward(ward: Ward, rows: Rows) -> list[Finding]:
    host = ward.known.name
    if ward.trouble:
        return [doctor_hosts.unreachable(host, ward.trouble)]
    found = doctor_hosts.findings(host, ward.differences, rows.names)
    if ward.examination is not None:
        found += ward.examination.findings
        found += doctor_hosts.clock_skew(host, ward.skew)
    if ward.pool is not None and ward.pool_rows is not None:
        pool = ward.pool
        found += doctor_database.pool_findings(host, pool, ward.pool_rows)
    return found


async def _wires(ctx: AsyncContext, wards: Sequence[Ward], rows: Rows) -> tuple[list[Finding], int]:
    """Every host says hello to every other at the same time."""
    seen = {ward.known.name: ward.examination for ward in wards if ward.examination is not None}
    wanted = doctor_wires.crossings(seen, rows.carried)
    if len(seen) < 2:
        return [], 0
    number = f"{ctx.request_id}"

    async def probe(host: str) -> tuple[str, WiresProbed | str]:
        wish = ProbeWires(
            id=number,
            targets=doctor_wires.targets(host, seen, wanted),
            pings=doctor_wires.pings(host, seen),
        )
        try:
            return host, await _ask(ctx, host, "agent.probe_wires", wish, WiresProbed, CALL_S)
        except CallError as error:
            return host, str(error)

    answers: list[Awaitable[tuple[str, WiresProbed | str]]] = [probe(host) for host in seen]
    results = dict(await asyncio.gather(*answers))
    probed = {host: result for host, result in results.items() if isinstance(result, WiresProbed)}
    names = {(each.physical_network, each.vlan): each.name or each.network_id for each in rows.carried}
    trouble = [doctor_hosts.unreachable(h, r) for h, r in results.items() if isinstance(r, str)]
    return [*trouble, *doctor_wires.verdicts(wanted, probed, names), *doctor_wires.silent(probed)], len(
        wanted
    )
