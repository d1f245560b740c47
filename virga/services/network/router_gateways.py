"""Several external gateways of one router: added, replaced and removed as a list.

The first is the one that ``external_gateway_info`` shows; when it goes, the next takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Row

from virga.api.resource import Context, Values, authorize, bump, rules_for, target_of
from virga.api.validators import Invalid, list_of
from virga.db.tx import Tx
from virga.services.network import faults, router_gateway
from virga.services.network import port as ports
from virga.services.network.attributes_l3 import GATEWAY
from virga.services.network.models import ip_allocation, port
from virga.services.network.models_l3 import floating_ip, router

UnableToMatchGateways = faults.refusal(
    "UnableToMatchGateways",
    400,
    "Unable to match a requested gateway port to existing gateway ports for router {router_id}",
)


def wanted_of(body: Any) -> list[Values]:
    """``{"router": {"external_gateways": […]}}``, checked."""
    inner = body.get("router") if isinstance(body, dict) else None
    if not isinstance(inner, dict) or "external_gateways" not in inner:
        raise faults.BadRequest(
            resource="router", reason="Invalid format: Unable to find 'external_gateways' in request body"
        )
    try:
        asked: list[Values] = list_of(GATEWAY, unique=False)(inner["external_gateways"])
    except Invalid as problem:
        raise faults.HTTPBadRequest(
            reason=f"Invalid input for external_gateways. Reason: {problem}."
        ) from None
    if not all(isinstance(item, dict) and "network_id" in item for item in asked):
        raise faults.BadRequest(resource="router", reason="network_id is required in external_gateways")
    return asked


def allow(tx: Tx, context: Context, verb: str, current: Values, asked: Sequence[Values]) -> None:
    """An administrator alone says which addresses a gateway has, or whether it translates."""
    from virga.services.network.router import RESOURCE

    parts = {"external_gateways": list(asked)} if verb != "remove" else {}
    rules = rules_for(context.policy, verb, "external_gateways", parts)
    authorize(context, rules, target_of(RESOURCE, tx, context, current))


def _rows(tx: Tx, router_id: str) -> list[Row[Any]]:
    """All gateway ports, the first first."""
    first = router_gateway.row_of(tx, router_id).gw_port_id
    found = tx.all(
        select(port)
        .where(port.c.device_id == router_id, port.c.device_owner == router_gateway.OWNER)
        .order_by(port.c.created_at, port.c.id)
    )
    return sorted(found, key=lambda row: row.id != first)


def _addresses(tx: Tx, port_id: str) -> set[str]:
    table = ip_allocation
    query = select(table.c.ip_address).where(table.c.port_id == port_id)
    return {row.ip_address for row in tx.all(query)}


def _match(tx: Tx, rows: Sequence[Row[Any]], asked: Values) -> Row[Any] | None:
    """The gateway that a request names: by its network, and by its addresses where it says any."""
    named = {fixed["ip_address"] for fixed in asked.get("external_fixed_ips") or () if "ip_address" in fixed}
    for row in rows:
        if row.network_id == asked["network_id"] and named <= _addresses(tx, row.id):
            return row
    return None


def add(tx: Tx, context: Context, current: Values, asked: Sequence[Values]) -> None:
    router_id = current["id"]
    for info in asked:
        if router_gateway.row_of(tx, router_id).gw_port_id is None:
            router_gateway.set_gateway(tx, context, router_id, info)
        else:
            router_gateway.make_port(tx, context, router_id, info, several=True)
    _changed(tx, router_id, asked)


def _changed(tx: Tx, router_id: str, asked: Sequence[Values]) -> None:
    said = [info["enable_snat"] for info in asked if "enable_snat" in info]
    if said:
        # Translation is the router's, whichever way a packet takes.
        tx.execute(update(router).where(router.c.id == router_id).values(enable_snat=said[0]))
    bump(tx, router, router_id)
    tx.touch("router", router_id)


def replace(tx: Tx, context: Context, current: Values, asked: Sequence[Values]) -> None:
    """Gateways that are on the list stay, others go, and what is missing is made."""
    router_id = current["id"]
    left = _rows(tx, router_id)
    missing = []
    for info in asked:
        held = _match(tx, left, info)
        if held is None:
            missing.append(info)
        else:
            left.remove(held)
    # First the new ones, so that floating IPs are never without a way out.
    add(tx, context, current, missing)
    _remove(tx, router_id, left)
    _changed(tx, router_id, asked)


def remove(tx: Tx, context: Context, current: Values, asked: Sequence[Values]) -> None:
    router_id = current["id"]
    rows = _rows(tx, router_id)
    gone = []
    for info in asked:
        held = _match(tx, [row for row in rows if row not in gone], info)
        if held is None:
            raise UnableToMatchGateways(router_id=router_id)
        gone.append(held)
    _remove(tx, router_id, gone)
    _changed(tx, router_id, ())


def _remove(tx: Tx, router_id: str, gone: Sequence[Row[Any]]) -> None:
    ids = {row.id for row in gone}
    kept = [row for row in _rows(tx, router_id) if row.id not in ids]
    left = {row.network_id for row in kept}
    for row in gone:
        if row.network_id not in left:
            _refuse_if_needed(tx, router_id, row.network_id)
    values: Values = {"gw_port_id": kept[0].id if kept else None}
    if not kept:
        values["enable_snat"] = True
    tx.execute(update(router).where(router.c.id == router_id).values(**values))
    for row in gone:
        ports.remove(tx, row.id)


def _refuse_if_needed(tx: Tx, router_id: str, network_id: str) -> None:
    needed = select(floating_ip.c.id).where(
        floating_ip.c.router_id == router_id, floating_ip.c.floating_network_id == network_id
    )
    if tx.first(needed.limit(1)) is not None:
        raise router_gateway.GatewayInUseByFloatingIp(router_id=router_id, net_id=network_id)


def next_after(tx: Tx, router_id: str, gone: str) -> str | None:
    """Which gateway becomes the first when ``gone`` no longer is."""
    rows = [row for row in _rows(tx, router_id) if row.id != gone]
    return str(rows[0].id) if rows else None
