"""Port forwardings of a floating IP: single ports, or ranges, that lead to ports inside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.resource import Context, Resource, Values, change
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network import faults, router_path
from virga.services.network import port as ports
from virga.services.network.attributes_l3 import PORT_FORWARDING
from virga.services.network.floating_ip import _port as visible_port
from virga.services.network.models_l3 import floating_ip, port_forwarding
from virga.services.network.standard import fresh
from virga.services.network.status import FORWARDING_FAILED

FipInUse = faults.refusal(
    "FipInUseByPortForwarding", 409, "Floating IP {id} in use by Port Forwarding resources."
)
FipInUseByPort = faults.refusal("FipInUseByPort", 409, "{reason}")
PortHasBindingFloatingIP = faults.refusal(
    "PortHasBindingFloatingIP",
    409,
    "Cannot create port forwarding to floating IP {address} ({id}) with port {port_id} using fixed IP {fixed_ip}, as "
    "that port already has a binding floating IP.",
)
PortHasPortForwarding = faults.refusal(
    "PortHasPortForwarding",
    409,
    "Cannot associate floating IP {floatingip_id} with port {port_id} using fixed IP {fixed_ip}, as that port already "
    "has a Port Forwarding.",
)


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    result = []
    for row in rows:
        item: Values = {
            "id": row.id,
            "protocol": row.protocol,
            "internal_port_id": row.internal_port_id,
            "internal_ip_address": row.internal_ip_address,
            "external_port_range": f"{row.external_port_start}:{row.external_port_end}",
            "internal_port_range": f"{row.internal_port_start}:{row.internal_port_end}",
            "description": row.description,
        }
        if row.external_port_start == row.external_port_end:
            item |= {"external_port": row.external_port_start, "internal_port": row.internal_port_start}
        result.append(item)
    return result


def _range(values: Values, side: str) -> tuple[int, int]:
    """``external_port`` or ``external_port_range`` of a request."""
    single, several = values.get(f"{side}_port"), values.get(f"{side}_port_range")
    if single is not None and several is not None:
        raise faults.InvalidInput(reason=f"{side}_port and {side}_port_range cannot be specified together")
    if single is not None:
        return single, single
    if several is None:
        raise faults.InvalidInput(reason=f"either {side}_port or {side}_port_range must be specified")
    low, _, high = several.partition(":")
    try:
        first, last = int(low), int(high or low)
        if not 1 <= first <= last <= 65535:
            raise ValueError
    except ValueError:
        raise faults.InvalidInput(reason=f"'{several}' is not a valid port range") from None
    return first, last


def _columns(values: Values) -> Values:
    external, internal = _range(values, "external"), _range(values, "internal")
    if internal[1] - internal[0] not in (0, external[1] - external[0]):
        raise faults.InvalidInput(
            reason="Port range must be a 1:1 or N:1 mapping: the internal range must have the size of the external "
            "range or be one port"
        )
    return {
        "external_port_start": external[0],
        "external_port_end": external[1],
        "internal_port_start": internal[0],
        "internal_port_end": internal[1],
        "protocol": values["protocol"],
        "internal_port_id": values["internal_port_id"],
        "internal_ip_address": values["internal_ip_address"],
        "description": values["description"],
    }


def _refuse_overlap(tx: Tx, floating_id: str, columns: Values, own: str = "") -> None:
    table = port_forwarding
    for row in tx.all(
        select(table).where(
            table.c.floatingip_id == floating_id, table.c.protocol == columns["protocol"], table.c.id != own
        )
    ):
        first, last = columns["external_port_start"], columns["external_port_end"]
        same_target = all(
            getattr(row, name) == columns[name]
            for name in ("internal_port_id", "internal_ip_address", "internal_port_start")
        )
        if same_target or (row.external_port_start <= last and first <= row.external_port_end):
            raise faults.BadRequest(
                resource="port_forwarding",
                reason="A duplicate port forwarding entry with same attributes already exists, conflicting values "
                f"are {{'floatingip_id': '{floating_id}', 'external_port': {first}}}",
            )


def _route(tx: Tx, context: Context, floating: Row[Any], columns: Values) -> str:
    """The router that carries the forwarding; the internal address must be the port's."""
    visible_port(tx, context, columns["internal_port_id"])
    own = select(floating_ip.c.id).where(
        floating_ip.c.port_id == columns["internal_port_id"],
        floating_ip.c.fixed_ip_address == columns["internal_ip_address"],
    )
    if tx.first(own) is not None:
        raise PortHasBindingFloatingIP(
            address=floating.floating_ip_address,
            id=floating.id,
            port_id=columns["internal_port_id"],
            fixed_ip=columns["internal_ip_address"],
        )
    for row in ports.addresses_of(tx, columns["internal_port_id"]):
        if row.ip_address == columns["internal_ip_address"]:
            return router_path.router_for(
                tx, row, columns["internal_port_id"], floating.floating_network_id, floating.router_id
            )
    raise faults.BadRequest(
        resource="port_forwarding",
        reason=f"Requested internal IP address {columns['internal_ip_address']} does not correspond to any of the "
        f"internal port's fixed IPs {columns['internal_port_id']}",
    )


def _floating(floating_id: str, tx: Tx) -> Row[Any]:
    row = tx.first(select(floating_ip).where(floating_ip.c.id == floating_id))
    if row is None:
        raise faults.FloatingIPNotFound(id=floating_id)
    return row


def create(floating_id: str, tx: Tx, context: Context, values: Values) -> str:
    outside = _floating(floating_id, tx)
    if outside.port_id is not None:
        raise FipInUseByPort(
            reason=f"Floating IP {floating_id} is associated with port {outside.port_id} and cannot be used for "
            "port forwarding",
        )
    columns = _columns(values)
    _refuse_overlap(tx, floating_id, columns)
    router_id = _route(tx, context, outside, columns)
    forwarding_id = new_uuid()
    tx.execute(
        insert(port_forwarding).values(id=forwarding_id, floatingip_id=floating_id, **columns, **fresh(tx))
    )
    if outside.router_id is None:
        change(tx, floating_ip, floating_id, {"router_id": router_id})
        tx.touch("floating_ip", floating_id)
    tx.touch("port_forwarding", forwarding_id)
    return forwarding_id


def update(floating_id: str, tx: Tx, context: Context, current: Values, changes: Values) -> None:
    merged = {**current, **changes}
    for side in ("external", "internal"):
        # What came replaces what was, in whichever of the two ways it is said.
        if f"{side}_port" in changes:
            merged[f"{side}_port_range"] = None
        else:
            merged[f"{side}_port"] = None
    columns = _columns(merged)
    _refuse_overlap(tx, floating_id, columns, current["id"])
    _route(tx, context, _floating(floating_id, tx), columns)
    change(tx, port_forwarding, current["id"], columns)
    tx.touch("port_forwarding", current["id"])


def remove(floating_id: str, tx: Tx, context: Context, current: Values) -> None:
    tx.execute(delete(port_forwarding).where(port_forwarding.c.id == current["id"]))
    tx.touch("port_forwarding", current["id"])
    table = port_forwarding
    _forget_failure(tx, floating_id, current["id"])
    if tx.first(select(table.c.id).where(table.c.floatingip_id == floating_id).limit(1)) is None:
        tx.execute(
            sql_update(floating_ip)
            .where(floating_ip.c.id == floating_id)
            .values(router_id=None, status="DOWN", status_reason="")
        )
        tx.touch("floating_ip", floating_id)


def _forget_failure(tx: Tx, floating_id: str, forwarding_id: str) -> None:
    """What failed because of a forwarding that is gone has failed no more."""
    failed = floating_ip.c.status_reason.startswith(f"{FORWARDING_FAILED}{forwarding_id}: ")
    tx.execute(
        sql_update(floating_ip)
        .where(floating_ip.c.id == floating_id, failed)
        .values(status="ACTIVE", status_reason="")
    )


def target(floating_id: str, tx: Tx, context: Context, item: Values) -> Values:
    return {"ext_parent:tenant_id": _floating(floating_id, tx).project_id}


def for_floating(floating_id: str) -> Resource:
    """The forwardings of one floating IP."""
    return Resource(
        name="floatingip_port_forwarding",
        wire_name="port_forwarding",
        collection="port_forwardings",
        table=port_forwarding,
        attributes=PORT_FORWARDING,
        not_found=lambda forwarding_id: faults.PortForwardingNotFound(id=forwarding_id),
        render=render,
        create=partial(create, floating_id),
        update=partial(update, floating_id),
        delete=partial(remove, floating_id),
        # Who may see the floating IP is asked by policy, of its owner.
        scope=lambda _: None,
        within=port_forwarding.c.floatingip_id == floating_id,
        target=partial(target, floating_id),
    )
