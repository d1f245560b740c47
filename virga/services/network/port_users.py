"""Who uses a port besides its device: routers, floating IPs, trunks; and what its deletion does to them."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from virga.api.resource import Context, Values
from virga.db.tx import Tx
from virga.services.network import faults, ipam
from virga.services.network.models import port
from virga.services.network.models_l3 import floating_ip, port_forwarding, router, sub_port, trunk
from virga.services.network.router_gateways import next_after

PortInUseAsTrunkParent = faults.refusal(
    "PortInUseAsTrunkParent", 409, "Port {port_id} is currently a parent port for trunk {trunk_id}."
)
PortInUseAsSubPort = faults.refusal(
    "PortInUseAsSubPort", 409, "Port {port_id} is currently a subport for trunk {trunk_id}."
)


def refuse_delete(tx: Tx, current: Values) -> None:
    owner, device = current["device_owner"], current["device_id"]
    guarded = (*ipam.ROUTER_OWNERS, "network:router_gateway", "network:floatingip")
    if owner in guarded and current["fixed_ips"]:
        table = floating_ip if owner == "network:floatingip" else router
        if tx.first(select(table.c.id).where(table.c.id == device)) is not None:
            raise faults.ServicePortInUse(id=current["id"], reason=f"has device owner {owner}")
    refuse_trunk(tx, current["id"])


def in_trunk(tx: Tx, port_id: str) -> bool:
    """Parent or sub-port of a trunk."""
    found = tx.first(select(trunk.c.id).where(trunk.c.port_id == port_id))
    return found is not None or (
        tx.first(select(sub_port.c.trunk_id).where(sub_port.c.port_id == port_id)) is not None
    )


def refuse_trunk(tx: Tx, port_id: str) -> None:
    """A port of a trunk stays until the trunk lets go of it."""
    parent = tx.first(select(trunk.c.id).where(trunk.c.port_id == port_id))
    if parent is not None:
        raise PortInUseAsTrunkParent(port_id=port_id, trunk_id=parent.id)
    sub = tx.first(select(sub_port.c.trunk_id).where(sub_port.c.port_id == port_id))
    if sub is not None:
        raise PortInUseAsSubPort(port_id=port_id, trunk_id=sub.trunk_id)


def release(tx: Tx, context: Context, port_id: str) -> None:
    """Floating IPs let go of the port, its forwardings end."""
    rows = tx.all(select(floating_ip.c.id).where(floating_ip.c.port_id == port_id))
    for row in rows:
        tx.execute(
            update(floating_ip)
            .where(floating_ip.c.id == row.id)
            .values(
                port_id=None,
                fixed_ip_address=None,
                router_id=None,
                status="DOWN",
                updated_at=tx.now,
                revision_number=floating_ip.c.revision_number + 1,
            )
        )
        tx.touch("floating_ip", row.id)
    for row in tx.all(
        select(port_forwarding.c.id, port_forwarding.c.floatingip_id).where(
            port_forwarding.c.internal_port_id == port_id
        )
    ):
        tx.execute(delete(port_forwarding).where(port_forwarding.c.id == row.id))
        tx.touch("port_forwarding", row.id)
    gone = tx.first(select(router.c.id).where(router.c.gw_port_id == port_id))
    if gone is not None:
        following = next_after(tx, gone.id, port_id)
        tx.execute(update(router).where(router.c.id == gone.id).values(gw_port_id=following))
        tx.touch("router", gone.id)


def status_of(tx: Tx, port_id: str) -> str | None:
    status: str | None = tx.scalar(select(port.c.status).where(port.c.id == port_id))
    return status
