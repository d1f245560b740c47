"""What is done to a router beyond changing it: interfaces and single routes come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.collection import MakeContext, render_ids
from virga.api.request import Request
from virga.api.resource import Context, Values, authorize, shown, target_of
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid
from virga.api.validators import routes as route_list
from virga.db.tx import Tx
from virga.services.network import faults, router, router_gateways, router_interface

Act = Callable[[Tx, Context, Values, Any], Any]


def _act(make_context: MakeContext, rule: str, act: Act) -> Callable[[Tx, Request], Any]:
    def handler(tx: Tx, req: Request) -> Any:
        context = make_context(req)
        current = router.RESOURCE.find(tx, context, req["id"])
        authorize(context, [rule], target_of(router.RESOURCE, tx, context, current))
        return act(tx, context, current, req.body)

    return handler


def _routes_of(body: Any) -> list[Values]:
    if not isinstance(body, dict) or not isinstance(body.get("router"), dict):
        raise faults.BadRequest(
            resource="router", reason="Invalid format: Unable to find 'router' in request body"
        )
    if "routes" not in body["router"]:
        raise faults.BadRequest(
            resource="router", reason="Invalid format: Unable to find 'routes' in request body"
        )
    try:
        return route_list(body["router"]["routes"])
    except Invalid as problem:
        raise faults.BadRequest(
            resource="routes", reason=f"Invalid input for routes. Reason: {problem}"
        ) from None


def _shown(tx: Tx, context: Context, current: Values) -> Any:
    items = render_ids(tx, context, router.RESOURCE, [current["id"]])
    return {"router": shown(router.RESOURCE, tx, context, items)[0]}


def _add_routes(tx: Tx, context: Context, current: Values, body: Any) -> Any:
    router.change_routes(tx, current["id"], _routes_of(body), [])
    return _shown(tx, context, current)


def _remove_routes(tx: Tx, context: Context, current: Values, body: Any) -> Any:
    router.change_routes(tx, current["id"], [], _routes_of(body))
    return _shown(tx, context, current)


def _gateways(verb: str, change: Act) -> Act:
    def act(tx: Tx, context: Context, current: Values, body: Any) -> Any:
        asked = router_gateways.wanted_of(body)
        router_gateways.allow(tx, context, verb, current, asked)
        change(tx, context, current, asked)
        return _shown(tx, context, current)

    return act


def routes(make_context: MakeContext) -> list[Route]:
    acts: dict[str, Act] = {
        "add_router_interface": router_interface.add,
        "remove_router_interface": router_interface.remove,
        "add_extraroutes": _add_routes,
        "remove_extraroutes": _remove_routes,
        "add_external_gateways": _gateways("add", router_gateways.add),
        "update_external_gateways": _gateways("update", router_gateways.replace),
        "remove_external_gateways": _gateways("remove", router_gateways.remove),
    }
    return [
        Route("PUT", f"/v2.0/routers/{{id}}/{name}", _act(make_context, name, act), AUTHENTICATED)
        for name, act in acts.items()
    ]
