"""The quotas API: limits of a project, defaults, what is used, and setting them with a look at what is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.collection import MakeContext
from virga.api.request import Request
from virga.api.resource import Context, authorize
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid, between, boolean
from virga.db.tx import Tx
from virga.services.network import faults, quota
from virga.services.network.models import quota as table

InvalidQuotaLimit = faults.refusal(
    "InvalidQuotaLimit",
    400,
    "Quota limit {limit} for resource '{resource}' is less than the current usage {used}.",
)


def _allowed(context: Context, rule: str, project_id: str) -> None:
    authorize(context, [rule], {"project_id": project_id, "tenant_id": project_id})


def index(tx: Tx, context: Context, req: Request) -> Any:
    """Projects whose limits were set."""
    _allowed(context, "get_quota", "")
    projects = sorted({row.project_id for row in tx.all(select(table.c.project_id))})
    return {
        "quotas": [
            {**quota.limits(tx, context.settings, p), "project_id": p, "tenant_id": p} for p in projects
        ]
    }


def own_project(tx: Tx, context: Context, req: Request) -> Any:
    return {"tenant": {"tenant_id": context.project_id, "project_id": context.project_id}}


def show(tx: Tx, context: Context, req: Request) -> Any:
    _may_see(context, req["project"])
    return {"quota": quota.limits(tx, context.settings, req["project"])}


def _may_see(context: Context, project_id: str) -> None:
    if project_id != context.project_id:
        _allowed(context, "get_quota", project_id)


def show_default(tx: Tx, context: Context, req: Request) -> Any:
    _may_see(context, req["project"])
    return {"quota": quota.defaults(context.settings)}


def show_details(tx: Tx, context: Context, req: Request) -> Any:
    project_id = req["project"]
    _may_see(context, project_id)
    limits = quota.limits(tx, context.settings, project_id)
    return {
        "quota": {
            name: {"limit": limit, "used": quota.used(tx, project_id, name), "reserved": 0}
            for name, limit in limits.items()
        }
    }


def _body(req: Request) -> tuple[dict[str, int], bool]:
    """The limits of a request, and whether what is used is to be disregarded."""
    body = req.body.get("quota") if isinstance(req.body, dict) else None
    if not isinstance(body, dict):
        raise faults.HTTPBadRequest(reason="Unable to find 'quota' in request body")
    wanted: dict[str, int] = {}
    force = False
    for name, value in body.items():
        if name in ("tenant_id", "project_id"):
            continue
        try:
            if name in ("force", "check_limit"):
                force = boolean(value) if name == "force" else force
            elif name in quota.DEFAULTS:
                wanted[name] = between(-1, 2**31 - 1)(value)
            else:
                raise faults.HTTPBadRequest(reason=f"Unrecognized attribute(s) '{name}'")
        except Invalid as problem:
            raise faults.HTTPBadRequest(reason=f"Invalid input for {name}. Reason: {problem}.") from None
    return wanted, force


def update(tx: Tx, context: Context, req: Request) -> Any:
    project_id = req["project"]
    _allowed(context, "update_quota", project_id)
    wanted, force = _body(req)
    for name, limit in wanted.items():
        if not force and limit >= 0:
            used = quota.used(tx, project_id, name)
            if used > limit:
                raise InvalidQuotaLimit(limit=limit, resource=name, used=used)
        tx.execute(delete(table).where(table.c.project_id == project_id, table.c.resource == name))
        tx.execute(insert(table).values(project_id=project_id, resource=name, limit=limit))
    return {"quota": quota.limits(tx, context.settings, project_id)}


def reset(tx: Tx, context: Context, req: Request) -> None:
    project_id = req["project"]
    _allowed(context, "delete_quota", project_id)
    if tx.first(select(table.c.project_id).where(table.c.project_id == project_id)) is None:
        raise faults.TenantQuotaNotFound(id=project_id)
    tx.execute(delete(table).where(table.c.project_id == project_id))


def routes(make_context: MakeContext) -> list[Route]:
    def serve(act: Callable[[Tx, Context, Request], Any]) -> Callable[[Tx, Request], Any]:
        return lambda tx, req: act(tx, make_context(req), req)

    one = "/v2.0/quotas/{project}"
    return [
        Route("GET", "/v2.0/quotas", serve(index), AUTHENTICATED),
        Route("GET", "/v2.0/quotas/tenant", serve(own_project), AUTHENTICATED),
        Route("GET", "/v2.0/quotas/project", serve(own_project), AUTHENTICATED),
        Route("GET", one, serve(show), AUTHENTICATED),
        Route("GET", one + "/default", serve(show_default), AUTHENTICATED),
        Route("GET", one + "/details", serve(show_details), AUTHENTICATED),
        Route("PUT", one, serve(update), AUTHENTICATED),
        Route("DELETE", one, serve(reset), AUTHENTICATED, status=204),
    ]
