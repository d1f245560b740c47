"""Flavors of network services, and the service profiles that say by which driver a flavor is made.

Routers are the one service that has flavors here, and there is one driver for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.collection import MakeContext
from virga.api.request import Request
from virga.api.resource import REQUIRED, Context, Resource, Values, authorize
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid, boolean, list_of, or_none, text, uuid
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import faults
from virga.services.network.attributes import ID, NAME, both, once
from virga.services.network.models_flavor import flavor, flavor_profile, service_profile
from virga.services.network.models_l3 import router
from virga.services.network.standard import by_ids, grouped

FlavorNotFound = faults.refusal("FlavorNotFound", 404, "Flavor {id} could not be found.")
FlavorInUse = faults.refusal("FlavorInUse", 409, "Flavor {id} is used by some service instance.")
FlavorDisabled = faults.refusal("FlavorDisabled", 409, "Flavor is not enabled.")
ProfileNotFound = faults.refusal("ServiceProfileNotFound", 404, "Service Profile {id} could not be found.")
ProfileInUse = faults.refusal(
    "ServiceProfileInUse", 409, "Service Profile {id} is used by some service instance."
)
ProfileEmpty = faults.refusal(
    "ServiceProfileEmpty", 400, "Service Profile needs either a driver or metainfo."
)
ProfileDriverNotFound = faults.refusal(
    "ServiceProfileDriverNotFound", 404, "Service Profile driver {driver} could not be found."
)
BindingExists = faults.refusal(
    "FlavorServiceProfileBindingExists",
    409,
    "Service Profile {id} is already associated with flavor {flavor_id}.",
)
BindingNotFound = faults.refusal(
    "FlavorServiceProfileBindingNotFound",
    404,
    "Service Profile {id} is not associated with flavor {flavor_id}.",
)
InvalidServiceType = faults.refusal("InvalidServiceType", 400, "Invalid service type: {kind}.")

ROUTERS = "L3_ROUTER_NAT"
SERVICE_TYPES = ("FLAVORS", ROUTERS, "QOS", "TRUNK")
DRIVERS = ("neutron.services.l3_router.service_providers.single_node.SingleNodeDriver",)
LONG = 1024

_PROFILES = select(flavor_profile.c.flavor_id, flavor_profile.c.service_profile_id).where(
    within(flavor_profile.c.flavor_id)
)


# --- flavors


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    profiles = grouped(by_ids(tx, _PROFILES, [row.id for row in rows]))
    return [
        {
            "id": row.id,
            "name": row.name,
            "description": row.description,
            "service_type": row.service_type,
            "service_profiles": sorted(profiles.get(row.id, [])),
            "enabled": row.enabled,
        }
        for row in rows
    ]


def create(tx: Tx, context: Context, values: Values) -> str:
    if values["service_type"] not in SERVICE_TYPES:
        raise InvalidServiceType(kind=values["service_type"])
    flavor_id = new_uuid()
    own = ("name", "description", "service_type", "enabled")
    tx.execute(insert(flavor).values(id=flavor_id, **{name: values[name] for name in own}))
    for profile_id in values["service_profiles"]:
        _bind(tx, flavor_id, profile_id)
    return flavor_id


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    _refuse_if_used(tx, current["id"])
    if "service_profiles" in changes:
        tx.execute(delete(flavor_profile).where(flavor_profile.c.flavor_id == current["id"]))
        for profile_id in changes["service_profiles"]:
            _bind(tx, current["id"], profile_id)
    columns = {name: value for name, value in changes.items() if name != "service_profiles"}
    if columns:
        tx.execute(sql_update(flavor).where(flavor.c.id == current["id"]).values(**columns))


def remove(tx: Tx, context: Context, current: Values) -> None:
    _refuse_if_used(tx, current["id"])
    tx.execute(delete(flavor_profile).where(flavor_profile.c.flavor_id == current["id"]))
    tx.execute(delete(flavor).where(flavor.c.id == current["id"]))


def _refuse_if_used(tx: Tx, flavor_id: str) -> None:
    if tx.first(select(router.c.id).where(router.c.flavor_id == flavor_id).limit(1)) is not None:
        raise FlavorInUse(id=flavor_id)


def _bind(tx: Tx, flavor_id: str, profile_id: str) -> None:
    if tx.first(select(service_profile.c.id).where(service_profile.c.id == profile_id)) is None:
        raise ProfileNotFound(id=profile_id)
    tx.execute(insert(flavor_profile).values(flavor_id=flavor_id, service_profile_id=profile_id))


def check_for_router(tx: Tx, flavor_id: str) -> None:
    """A router can be made of this flavor: it is one of routers, switched on, and has a driver."""
    row = tx.first(select(flavor).where(flavor.c.id == flavor_id))
    if row is None:
        raise FlavorNotFound(id=flavor_id)
    if row.service_type != ROUTERS:
        raise InvalidServiceType(kind=row.service_type)
    if not row.enabled:
        raise FlavorDisabled()
    if not _providers(tx, flavor_id):
        raise BindingNotFound(id=None, flavor_id=flavor_id)


def _providers(tx: Tx, flavor_id: str) -> Sequence[Row[Any]]:
    return tx.all(
        select(service_profile)
        .join(flavor_profile, flavor_profile.c.service_profile_id == service_profile.c.id)
        .where(
            flavor_profile.c.flavor_id == flavor_id,
            service_profile.c.enabled.is_(True),
            service_profile.c.driver.in_(DRIVERS),
        )
    )


FLAVOR = Resource(
    name="flavor",
    collection="flavors",
    table=flavor,
    attributes=(
        ID,
        NAME,
        both("description", or_none(text(LONG)), default=""),
        once("service_type", text(), default=REQUIRED),
        both("service_profiles", list_of(uuid), default=[]),
        both("enabled", boolean, default=True),
    ),
    not_found=lambda flavor_id: FlavorNotFound(id=flavor_id),
    render=render,
    create=create,
    update=update,
    delete=remove,
    scope=lambda _: None,
)


# --- service profiles


def render_profiles(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    names = ("id", "description", "driver", "metainfo", "enabled")
    return [{name: getattr(row, name) for name in names} for row in rows]


def _check_profile(values: Values) -> None:
    if values["driver"] and values["driver"] not in DRIVERS:
        raise ProfileDriverNotFound(driver=values["driver"])
    if not values["driver"] and not values["metainfo"]:
        raise ProfileEmpty()


def create_profile(tx: Tx, context: Context, values: Values) -> str:
    _check_profile(values)
    profile_id = new_uuid()
    tx.execute(insert(service_profile).values(id=profile_id, **values))
    return profile_id


def update_profile(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    _refuse_if_bound(tx, current["id"])
    _check_profile({**current, **changes})
    if changes:
        table = service_profile
        tx.execute(sql_update(table).where(table.c.id == current["id"]).values(**changes))


def remove_profile(tx: Tx, context: Context, current: Values) -> None:
    _refuse_if_bound(tx, current["id"])
    tx.execute(delete(service_profile).where(service_profile.c.id == current["id"]))


def _refuse_if_bound(tx: Tx, profile_id: str) -> None:
    table = flavor_profile
    if tx.first(select(table.c.flavor_id).where(table.c.service_profile_id == profile_id)) is not None:
        raise ProfileInUse(id=profile_id)


PROFILE = Resource(
    name="service_profile",
    collection="service_profiles",
    table=service_profile,
    attributes=(
        ID,
        both("description", or_none(text(LONG)), default=""),
        both("driver", text(LONG), default=""),
        both("metainfo", text(None), default=""),
        both("enabled", boolean, default=True),
    ),
    not_found=lambda profile_id: ProfileNotFound(id=profile_id),
    render=render_profiles,
    create=create_profile,
    update=update_profile,
    delete=remove_profile,
    scope=lambda _: None,
)


# --- which profiles a flavor has


def _bound(tx: Tx, flavor_id: str, profile_id: str) -> bool:
    table = flavor_profile
    query = select(table.c.flavor_id).where(
        table.c.flavor_id == flavor_id, table.c.service_profile_id == profile_id
    )
    return tx.first(query) is not None


def _add(tx: Tx, context: Context, req: Request) -> Any:
    inner = req.body.get("service_profile") if isinstance(req.body, dict) else None
    try:
        profile_id = uuid(inner.get("id") if isinstance(inner, dict) else None)
    except Invalid as problem:
        raise faults.HTTPBadRequest(reason=f"Invalid input for id. Reason: {problem}.") from None
    if _bound(tx, req["flavor_id"], profile_id):
        raise BindingExists(id=profile_id, flavor_id=req["flavor_id"])
    _bind(tx, req["flavor_id"], profile_id)
    return {"service_profile": PROFILE.find(tx, context, profile_id)}


def _take(tx: Tx, context: Context, req: Request) -> None:
    if not _bound(tx, req["flavor_id"], req["id"]):
        raise BindingNotFound(id=req["id"], flavor_id=req["flavor_id"])
    table = flavor_profile
    tx.execute(
        delete(table).where(table.c.flavor_id == req["flavor_id"], table.c.service_profile_id == req["id"])
    )


def _next(tx: Tx, context: Context, req: Request) -> Any:
    found = _providers(tx, req["flavor_id"])
    shown = [{"provider": "single_node", "driver": r.driver, "metainfo": r.metainfo} for r in found]
    return {"next_providers": shown}


def routes(make_context: MakeContext) -> list[Route]:
    def serve(rule: str, act: Any) -> Any:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            authorize(context, [rule], req.own_target())
            FLAVOR.find(tx, context, req["flavor_id"])
            return act(tx, context, req)

        return handler

    one = "/v2.0/flavors/{flavor_id}"
    make, drop = "create_flavor_service_profile", "delete_flavor_service_profile"
    return [
        Route("POST", one + "/service_profiles", serve(make, _add), AUTHENTICATED, status=201),
        Route("DELETE", one + "/service_profiles/{id}", serve(drop, _take), AUTHENTICATED, status=204),
        Route("GET", one + "/next_providers", serve("get_flavor", _next), AUTHENTICATED),
    ]
