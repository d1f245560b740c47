"""The URLs under ``/v1``, and who may: the explainer's here, those for operators in operator_routes.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from virga.api.context import AsyncContext
from virga.api.faults import BadRequest, Fault
from virga.api.request import Request
from virga.api.routing import Route, ServiceApi
from virga.contract.explain import Explanation
from virga.settings import Settings
from virga.trace import operator_routes
from virga.trace.ends import Question
from virga.trace.explain import HubLike, explain

POLICIES = {
    "explain:create": "role:reader or role:member or role:admin",
    "explain:get": "role:reader or role:member or role:admin",
    "explain:all_projects": "role:admin",
}
KEPT = 200


class Body(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What ``POST /v1/explain`` takes."""

    source: str
    destination: str
    traffic: str = "icmp"
    ip_version: int | None = None
    source_address: str = ""
    source_port: int = 0
    probe: bool = True


class Unavailable(Fault):
    status = 503
    type = "Unavailable"


def envelope(fault: Fault, request_id: str) -> Any:
    return {
        "error": {
            "code": fault.status,
            "type": fault.type,
            "message": fault.message,
            "request_id": request_id,
        }
    }


class Explainer:
    """Answers, and keeps the last of them."""

    def __init__(self, hub: Callable[[], HubLike | None]) -> None:
        self._hub = hub
        self._kept: deque[tuple[str, Explanation]] = deque(maxlen=KEPT)

    async def create(self, ctx: AsyncContext, req: Request) -> Any:
        hub = self._hub()
        if hub is None:
            raise Unavailable("The hosts cannot be asked now.")
        try:
            body = msgspec.convert(req.body, Body)
        except msgspec.ValidationError as error:
            raise BadRequest(str(error)) from None
        if body.ip_version not in (None, 4, 6):
            raise BadRequest("ip_version is 4 or 6.")
        question = Question(
            body.source,
            body.destination,
            body.traffic,
            body.ip_version,
            body.source_address,
            body.source_port,
        )
        everything = req.allows("explain:all_projects")
        project_id = None if everything else req.caller.project_id or ""
        found = await explain(ctx, hub, question, project_id, probe=body.probe)
        self._kept.append((req.caller.project_id or "", found))
        return {"explanation": msgspec.to_builtins(found)}

    async def list(self, ctx: AsyncContext, req: Request) -> Any:
        everything = req.allows("explain:all_projects")
        own = [e for project, e in self._kept if everything or project == req.caller.project_id]
        return {"explanations": [msgspec.to_builtins(each) for each in reversed(own)]}


def service(settings: Settings, hub: Callable[[], HubLike | None]) -> ServiceApi:
    explainer = Explainer(hub)
    return ServiceApi(
        name="explain",
        prefix="/v1",
        routes=[
            Route("POST", "/explain", explainer.create, "explain:create"),
            Route("GET", "/explain", explainer.list, "explain:get"),
            *operator_routes.ROUTES,
        ],
        envelope=envelope,
        policies=POLICIES | operator_routes.POLICIES,
    )
