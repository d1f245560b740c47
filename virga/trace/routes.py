"""The URLs under ``/v1``, and who may: the explainer's here, those for operators in operator_routes.py."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import msgspec

from virga.api.context import AsyncContext
from virga.api.faults import BadRequest, Fault, virga_envelope
from virga.api.request import Request
from virga.api.routing import Route, ServiceApi
from virga.desired.record import Observed, observe
from virga.lib.clock import parse_iso
from virga.settings import Settings
from virga.trace import operator_routes, record_routes
from virga.trace.ends import Question
from virga.trace.explain import HubLike, explain

POLICIES = {
    "explain:create": "role:reader or role:member or role:admin",
    "explain:get": "role:reader or role:member or role:admin",
    "explain:all_projects": "role:admin",
}
MINUTE_S = 60.0


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``POST /v1/explain`` takes."""

    source: str
    destination: str
    traffic: str = "icmp"
    ip_version: int | None = None
    source_address: str = ""
    source_port: int = 0
    probe: bool = True
    since: str = ""
    """A time: what changed on the path since then is told as well."""


class Unavailable(Fault):
    status = 503
    type = "Unavailable"


class TooMany(Fault):
    status = 429
    type = "TooManyProbes"


class Allowance:
    """So many probes a minute for each user: a probe costs processes on several hosts."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._sent: dict[str, deque[float]] = {}

    def take(self, user_id: str) -> None:
        """Raise TooMany when the user has had enough for now."""
        now = self._clock()
        sent = self._sent.setdefault(user_id, deque())
        while sent and sent[0] <= now - MINUTE_S:
            sent.popleft()
        if len(sent) >= self._per_minute:
            wait = max(1, round(sent[0] + MINUTE_S - now))
            raise TooMany(
                f"{self._per_minute} probes a minute are allowed (explain_probes_per_minute): wait {wait} s.",
                headers={"Retry-After": str(wait)},
            )
        sent.append(now)


class Explainer:
    """Answers, and writes the answers down."""

    def __init__(self, hub: Callable[[], HubLike | None], per_minute: int) -> None:
        self._hub = hub
        self._allowance = Allowance(per_minute)

    async def create(self, ctx: AsyncContext, req: Request) -> Any:
        hub = self._hub()
        if hub is None:
            raise Unavailable("The hosts cannot be asked now.")
        try:
            body = msgspec.convert(req.body, Body)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from None
        question = _question(body)
        if body.probe:
            self._allowance.take(req.caller.user_id)
        everything = req.allows("explain:all_projects")
        project_id = None if everything else req.caller.project_id or ""
        found = await explain(ctx, hub, question, project_id, probe=body.probe)
        answer = msgspec.to_builtins(found)
        seen = Observed("explanation", answer, found.source.host, f"{found.source.id} {found.destination.id}")
        await ctx.write(lambda tx: observe(tx, [seen]))
        return {"explanation": answer}


def _question(body: Body) -> Question:
    """BadRequest for what cannot be meant."""
    if body.source_address:
        try:
            ip_address(body.source_address)
        except ValueError:
            raise BadRequest(f"{body.source_address!r} is no address.") from None
    if not 0 <= body.source_port < 65536:
        raise BadRequest(f"{body.source_port} is no port.")
    if body.ip_version not in (None, 4, 6):
        raise BadRequest("ip_version is 4 or 6.")
    try:
        since = parse_iso(body.since) if body.since else 0
    except ValueError:
        raise BadRequest(f"{body.since!r} is no time: say it as 2026-11-24T10:02:00Z.") from None
    return Question(
        body.source,
        body.destination,
        body.traffic,
        body.ip_version,
        body.source_address,
        body.source_port,
        since,
    )


def service(settings: Settings, hub: Callable[[], HubLike | None]) -> ServiceApi:
    explainer = Explainer(hub, settings.explain_probes_per_minute)
    return ServiceApi(
        name="explain",
        prefix="/v1",
        routes=[
            Route("POST", "/explain", explainer.create, "explain:create"),
            *operator_routes.ROUTES,
            *record_routes.ROUTES,
        ],
        envelope=virga_envelope,
        policies=POLICIES | operator_routes.POLICIES | record_routes.POLICIES,
    )
