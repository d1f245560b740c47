"""One explanation from the question to the answer: ends, intent, readings of the hosts, probe, verdict.

words -> ends -> planned path -> [hosts are read, all at once] -> [a probe is sent and watched] -> verdict and hops
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec.structs import replace as with_fields

from virga.api.context import AsyncContext, CallError
from virga.api.faults import BadRequest
from virga.contract.explain import Explanation, Ref, Verdict
from virga.contract.trace import Collect, HostReading, ReadHost, Send, Sighting, Watch
from virga.db.tx import Tx
from virga.desired import objects
from virga.desired.feed import Feed
from virga.desired.network_source import NetworkSource
from virga.lib.ids import new_uuid
from virga.trace import (
    devices,
    discretion,
    ends,
    hops,
    intent,
    path,
    points,
    probing,
    realised,
    spaces,
    standing,
    switching,
)
from virga.trace.ends import Pick, Question
from virga.trace.judge import Facts, judge, verdict
from virga.trace.model import TCP, UDP, End, Finding, Flight, Leg, Path, Traffic
from virga.trace.probing import Asked, Plan
from virga.trace.switching import Passage
from virga.trace.world import World

T = TypeVar("T")
READ_S = 4.0
PROBE_S = 3.0
WAIT_S = 1.0
GUEST_S = 0.3


class HubLike(Protocol):
    """What is needed of the hub."""

    async def look(self, function: Callable[[Feed], T]) -> T: ...

    @property
    def hosts(self) -> set[str]: ...


@dataclass(slots=True)
class Case:
    """One explanation on its way."""

    question: Question
    source: Pick
    destination: Pick
    traffic: Traffic
    version: int
    world: World
    ends: tuple[End, End] | None = None
    path: Path = field(default_factory=Path)
    meant: dict[int, Passage] = field(default_factory=dict)
    actual: dict[int, Passage] = field(default_factory=dict)
    intent: Finding | None = None
    certain: list[Finding] = field(default_factory=list)
    suspects: list[Finding] = field(default_factory=list)
    readings: dict[str, HostReading] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None
    sightings: list[Sighting] = field(default_factory=list)
    probed: bool = False
    asked: Asked = field(default_factory=Asked)
    notes: list[str] = field(default_factory=list)


async def explain(
    ctx: AsyncContext, hub: HubLike, question: Question, project_id: str | None, *, probe: bool
) -> Explanation:
    """The whole answer. NotFound and BadRequest for words that mean nothing. ``project_id`` None: for the operator."""
    began = time.monotonic()
    source, destination = await ctx.read(lambda tx: _pick(tx, question, project_id))
    version = ends.version_of(question, source, destination)
    case = Case(question, source, destination, _traffic(question, version), version, await _world(ctx, hub))
    _plan(case)
    await ctx.read(lambda tx: _stand(tx, case))
    if case.intent is None:
        await _read_hosts(ctx, case)
        _compare(case)
        if probe and case.readings:
            await _probe(ctx, case)
    finding = _with_guest_rules(case, _as_service(case, judge(_facts(case))))

    def answer(tx: Tx) -> Explanation:
        said = standing.named(tx, verdict(finding))
        whole = _answer(tx, case, said, time.monotonic() - began)
        if question.since_us:
            whole = with_fields(whole, changes=standing.changes(tx, whole, question.since_us))
        return whole if project_id is None else discretion.for_project(tx, whole, project_id)

    return await ctx.read(answer)


def _pick(tx: Tx, question: Question, project_id: str | None) -> tuple[Pick, Pick]:
    if question.destination in ends.SERVICES:
        return ends.pick(tx, question.source, project_id), Pick(question.destination, question.destination)
    return ends.pick(tx, question.source, project_id), ends.pick(tx, question.destination, project_id)


def _traffic(question: Question, version: int) -> Traffic:
    port = question.source_port or probing.source_port(os.urandom)
    service = question.destination if question.destination in ends.SERVICES else ""
    if service == "dhcp":
        return Traffic("dhcp", UDP, 67, 68)
    if service == "metadata":
        return Traffic("metadata", TCP, 80, port)
    if service == "dns":
        return Traffic("dns", UDP, 53, port)
    return ends.traffic_of(question.traffic, version, port)


async def _world(ctx: AsyncContext, hub: HubLike) -> World:
    external = frozenset(await ctx.read(objects.external_networks))

    def copy(feed: Feed) -> World:
        source = feed.source(NetworkSource)
        return World(
            hosts={host: dict(of.items) for host, of in feed.hosts.items()},
            networks=dict(source.networks),
            subnets=dict(source.subnets),
            ports=dict(source.ports),
            routers=dict(source.routers),
            floating=dict(source.floating),
            external=external,
        )

    return await hub.look(copy)


# -- intent --------------------------------------------------------------------------------------


def _plan(case: Case) -> None:
    """Ends and path, and what the objects of the API forbid."""
    world = case.world
    source = ends.end_of(world, case.source, case.version, case.destination)
    if isinstance(source, Finding):
        case.intent = source
        return
    service = case.destination.kind if case.destination.kind in ends.SERVICES else ""
    if service:
        target = _service(case, service, source)
    else:
        target = ends.end_of(world, case.destination, case.version, case.source)
        if isinstance(target, End) and target.port is not None and source.outside:
            target = standing.seen_from_outside(world, target)
    if isinstance(target, Finding):
        case.intent = target
        return
    if source.port is not None and target.port is not None and source.port.key == target.port.key:
        raise BadRequest("Both ends are the same port.")
    case.ends = (source, target)
    flight = _flight(case, source, target)
    if service and not target.outside:
        case.path = path.plan_local(world, source, target, flight)
    else:
        case.path = path.plan(world, source, target, flight)
    case.intent, case.meant = intent.judge(world, case.path, flight)
    if service == "dns" and case.intent is not None and case.intent.code == "ARP_UNANSWERED":
        sentence = f"The subnet names {target.address} as its name server, and nobody has that address."
        case.intent = replace(case.intent, code="DNS_DOWN", sentence=sentence)


def _service(case: Case, service: str, source: End) -> End | Finding:
    if source.port is None:
        return Finding(
            "UNKNOWN",
            f"{service} is asked for by ports of the cloud, not by {case.source.word}.",
            reachable=None,
        )
    if service == "dns":
        outer = ends.outer_name_server(case.world, source, case.version)
        if outer:
            return ends.end_of(case.world, Pick(outer, "address", name=outer), case.version, case.source)
        case.asked = Asked(name=standing.own_name(case.world, source))
    if service == "dhcp":
        case.asked = Asked(dhcp=True)
    return ends.service_end(case.world, service, source, case.version)


def _flight(case: Case, source: End, target: End) -> Flight:
    if case.traffic.kind == "dhcp":
        return Flight(4, UDP, "0.0.0.0", "255.255.255.255", 68, 67)
    return Flight(
        case.version,
        case.traffic.protocol,
        case.question.source_address or source.address,
        target.address,
        case.traffic.source_port,
        case.traffic.port,
    )


def _stand(tx: Tx, case: Case) -> None:
    """Instances that do not run, ports that are in error, networks that are shut: said before anything else."""
    found = standing.judge(tx, case.world, case.path, case.ends, case.intent)
    if found is not None:
        case.intent = found


# -- what the hosts hold ---------------------------------------------------------------------------


async def _read_hosts(ctx: AsyncContext, case: Case) -> None:
    wanted = {host: _request(case, host) for host in case.path.hosts}
    answers = await asyncio.gather(
        *(_ask(ctx, host, "trace.read", call, READ_S) for host, call in wanted.items())
    )
    for host, answer in zip(wanted, answers, strict=True):
        if isinstance(answer, CallError):
            case.unread[host] = str(answer)
        else:
            reading = msgspec.json.decode(answer, type=HostReading)
            if reading.in_memory:
                case.notes.append(f"{host} is in memory: only what is meant was looked at.")
            else:
                case.readings[host] = reading


async def _ask(ctx: AsyncContext, host: str, method: str, call: Any, timeout_s: float) -> bytes | CallError:
    try:
        return await ctx.call(host, method, call, timeout_s=timeout_s)
    except CallError as error:
        return error


def _request(case: Case, host: str) -> ReadHost:
    return spaces.request(case.path, host)


def _compare(case: Case) -> None:
    """Leg by leg and namespace by namespace."""
    networks = sorted({step.network.key for step in case.path.steps if isinstance(step, Leg)})
    for host, reading in case.readings.items():
        if reading.switch_problem:
            sentence = f"Open vSwitch of {host} does not answer."
            evidence = (reading.switch_problem,)
            case.certain.append(
                Finding(
                    "SWITCH_DOWN",
                    sentence,
                    Ref(kind="process", name="ovs-vswitchd", host=host),
                    "virga status",
                    evidence,
                )
            )
    whole = realised.build(case.world, case.readings, networks)
    for number, step in enumerate(case.path.steps):
        if isinstance(step, Leg):
            packet = switching.packet_of(
                step.flight, step.source_mac, step.destination_mac, reply=step.way == "back"
            )
            passage, found = realised.judge_leg(whole, case.readings, step, packet)
            case.actual[number] = passage
            detours = realised.detours(whole, case.readings, step, packet)
            case.suspects += [replace(one, step=number) for one in detours]
            found = found or realised.judge_question(whole, case.readings, step)
            if found is not None:
                case.certain.append(replace(found, step=number))
    service = case.traffic.kind if case.traffic.kind in ends.SERVICES and not _goes_outside(case) else ""
    certain, suspects = spaces.judge(case.path, case.readings, service)
    # Devices come before flows: a link that is down makes flows look wrong, never the other way round.
    case.certain[:0] = certain
    case.suspects += suspects


def _as_service(case: Case, finding: Finding) -> Finding:
    """A name server elsewhere that is not there at all is no name server."""
    nobody = ("ARP_UNANSWERED", "OUTSIDE_SILENT", "CONNECTION_REFUSED", "PORT_UNBOUND")
    if case.traffic.kind == "dns" and finding.code in nobody:
        return replace(
            finding, code="DNS_DOWN", sentence=f"The name server does not answer: {finding.sentence}"
        )
    return finding


def _goes_outside(case: Case) -> bool:
    return case.ends is not None and case.ends[1].outside


# -- what is seen ----------------------------------------------------------------------------------


async def _probe(ctx: AsyncContext, case: Case) -> None:
    plan = probing.make(case.path, case.traffic, case.readings, os.urandom, case.asked)
    if plan is None or any(reading.switch_problem for reading in case.readings.values()):
        return
    name = new_uuid()
    hosts = [host for host in plan.points if host in case.readings]
    watches = (
        Watch(
            id=name, points=plan.points[host], marks=plan.marks, addresses=plan.addresses, longest_s=PROBE_S
        )
        for host in hosts
    )
    begun = await asyncio.gather(
        *(_ask(ctx, host, "trace.watch", watch, PROBE_S) for host, watch in zip(hosts, watches, strict=True))
    )
    problems = [str(each) for each in begun if isinstance(each, CallError)]
    case.notes += problems
    if not problems:
        await _send(ctx, case, plan, name)
    collected = await asyncio.gather(
        *(_ask(ctx, host, "trace.collect", Collect(id=name), PROBE_S) for host in hosts)
    )
    for answer in collected:
        if isinstance(answer, CallError):
            problems.append(str(answer))
        else:
            case.sightings += msgspec.json.decode(answer, type=list[Sighting])
    case.sightings.sort(key=lambda one: one.at)
    case.plan, case.probed = plan, not problems


async def _send(ctx: AsyncContext, case: Case, plan: Plan, name: str) -> None:
    shots = Send(id=name, shots=plan.shots, until=plan.until, wait_s=WAIT_S)
    done = await _ask(ctx, plan.host, "trace.send", shots, PROBE_S)
    if isinstance(done, CallError):
        case.notes.append(str(done))
        return
    if msgspec.json.decode(done) is True:
        return
    questions: Sequence[Awaitable[bytes | CallError]] = [
        _ask(ctx, host, "trace.send", Send(id=name, shots=asked, wait_s=GUEST_S, until=["nothing"]), PROBE_S)
        for host, asked in plan.guest_shots.items()
        if host in plan.points
    ]
    await asyncio.gather(*questions)


def _with_guest_rules(case: Case, finding: Finding) -> Finding:
    """An instance that is a namespace can be looked into: the rules that drop the packet are evidence."""
    last = case.path.there[-1] if case.path.there else None
    if finding.code != "GUEST_FIREWALL" or not isinstance(last, Leg):
        return finding
    found = devices.guest_rules(last, case.readings.get(last.receiver.host))
    return replace(finding, evidence=(*finding.evidence, *found))


# -- the answer ------------------------------------------------------------------------------------


def _facts(case: Case) -> Facts:
    return Facts(
        path=case.path,
        intent=case.intent,
        certain=case.certain,
        suspects=case.suspects,
        unread=case.unread,
        plan=case.plan,
        sightings=case.sightings,
        probed=case.probed,
        notes=case.notes,
    )


def _answer(tx: Tx, case: Case, said: Verdict, seconds: float) -> Explanation:
    evidence = hops.Evidence(
        path=case.path,
        meant=case.meant,
        actual=case.actual,
        intent=case.intent,
        found=[*case.certain, *case.suspects],
        readings=case.readings,
        waypoints=case.plan.waypoints if case.plan else points.waypoints(case.path, case.readings),
        sightings=case.sightings,
        probed=case.probed,
    )
    source, destination = (
        (end.ref for end in case.ends) if case.ends else (case.source.ref, case.destination.ref)
    )
    return Explanation(
        id=new_uuid(),
        source=source,
        destination=destination,
        traffic=case.traffic.text,
        ip_version=case.version,
        verdict=said,
        hops=[standing.named_hop(tx, hop) for hop in hops.hops(evidence)],
        seconds=round(seconds, 3),
    )
