"""Ties a URL to its policy: the target that the rule looks at is read in the handler's own transaction."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from sqlalchemy import select

from virga.api.context import AsyncContext
from virga.api.faults import Fault
from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Handler, Route
from virga.db.tx import Tx
from virga.services.identity import models
from virga.services.identity.faults import ForbiddenAction

About = Callable[[Tx, Request], Mapping[str, Any]]
"""Reads what the URL or the body names, for ``%(target.user.domain_id)s`` and the like."""


def line(
    method: str, path: str, handler: Handler, rule: str, about: About | None = None, status: int = 200
) -> Route:
    """A route whose rule is ``identity:<rule>``; with ``about`` it is asked inside the transaction."""
    name = f"identity:{rule}"
    if about is None:
        return Route(method, path, handler, name, status)
    return Route(method, path, _guarded(handler, name, about), AUTHENTICATED, status)


def _guarded(handler: Handler, rule: str, about: About) -> Handler:
    if inspect.iscoroutinefunction(handler):

        @wraps(handler)
        async def guarded_async(ctx: AsyncContext, req: Request) -> Any:
            await ctx.read(lambda tx: enforce(tx, req, rule, about))
            return await handler(ctx, req)

        return guarded_async

    @wraps(handler)
    def guarded(tx: Tx, req: Request) -> Any:
        enforce(tx, req, rule, about)
        return handler(tx, req)

    return guarded


def enforce(tx: Tx, req: Request, rule: str, about: About) -> None:
    """Raise Forbidden unless the rule holds for what the request is about."""
    target = {**req.own_target(), **dict(req.query), **req.path_params, "target": dict(about(tx, req))}
    req.enforce(rule, target)


def reworded(fault: Fault) -> Fault:
    """A policy's refusal in the words of the Identity API."""
    name = fault.message.removeprefix("Policy doesn't allow ").removesuffix(" to be performed.")
    return ForbiddenAction(name)


def _row(tx: Tx, table: Any, key: str | None) -> dict[str, Any]:
    """The row, or nothing: whether it exists is the handler's business, after the policy."""
    if not key:
        return {}
    row = tx.first(select(table).where(table.c.id == key))
    return dict(row._mapping) if row is not None else {}


def _project_row(tx: Tx, key: str | None) -> dict[str, Any]:
    row = _row(tx, models.project, key)
    if row and row["is_domain"]:
        row["domain_id"] = None
    return row


def _role_row(tx: Tx, key: str | None) -> dict[str, Any]:
    row = _row(tx, models.role, key)
    if row:
        row["domain_id"] = row["domain_id"] or None
    return row


def named(tx: Tx, req: Request) -> dict[str, Any]:
    """Everything that the URL names: user, group, project, domain, role, credential, trust, limit."""
    found: dict[str, Any] = {}
    for key, value in req.path_params.items():
        if key == "user_id":
            found["user"] = _row(tx, models.user, value)
        elif key == "group_id":
            found["group"] = _row(tx, models.group, value)
        elif key == "project_id":
            found["project"] = _project_row(tx, value)
        elif key == "domain_id":
            found["domain"] = {"id": value}
        elif key == "role_id":
            found["role"] = _role_row(tx, value)
        elif key == "credential_id":
            found["credential"] = _row(tx, models.credential, value)
        elif key == "trust_id":
            found["trust"] = _row(tx, models.trust, value)
        elif key == "limit_id":
            found["limit"] = _limit(tx, value)
    return found


def _limit(tx: Tx, key: str) -> dict[str, Any]:
    row = _row(tx, models.limit, key)
    if not row:
        return {}
    return {
        "project_id": row["project_id"] or None,
        "domain": {"id": row["domain_id"] or None},
        "project": _project_row(tx, row["project_id"]),
    }


def body_of(kind: str) -> About:
    """What the body describes, with the domain it would land in."""

    def about(tx: Tx, req: Request) -> dict[str, Any]:
        inner = req.body.get(kind) if isinstance(req.body, Mapping) else None
        return {kind: dict(inner) if isinstance(inner, Mapping) else {}}

    return about


def own_domain(tx: Tx, req: Request) -> dict[str, Any]:
    """Lists: somebody scoped to a domain sees that domain."""
    domain_id = req.caller.domain_id
    if not domain_id:
        return {}
    return {"domain_id": domain_id, "domain": {"id": domain_id}, "group": {"domain_id": domain_id}}
