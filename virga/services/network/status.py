"""What hosts say of ports, routers and floating IPs, written where the API shows it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace
from sqlalchemy import Table, select, update

from virga.contract.messages import Report
from virga.db.tx import Tx
from virga.services.network import models, models_l3

DHCP_FAILED = "DHCP: "
FORWARDING_FAILED = "port forwarding "


def port(tx: Tx, host: str, report: Report) -> None:
    """Only the host that a port is bound to has a say."""
    table = models.port
    row = tx.first(select(table).where(table.c.id == report.key))
    if row is None or row.host_id != host:
        return
    if report.status == "ACTIVE" and row.status == "ERROR" and row.status_reason.startswith(DHCP_FAILED):
        # The device is there, but what it is for is not.
        return
    _write(tx, table, row, report)


def dhcp_network(tx: Tx, host: str, report: Report) -> None:
    """DHCP of a network that could not be realised shows at its port on that host."""
    table = models.port
    row = tx.first(
        select(table).where(
            table.c.network_id == report.key,
            table.c.host_id == host,
            table.c.device_owner == "network:dhcp",
        )
    )
    if row is None:
        return
    failed = row.status == "ERROR" and row.status_reason.startswith(DHCP_FAILED)
    if report.status == "ERROR":
        _write(tx, table, row, replace(report, reason=DHCP_FAILED + report.reason))
    elif report.status == "ACTIVE" and failed:
        _write(tx, table, row, report)


def router(tx: Tx, host: str, report: Report) -> None:
    """A router that could not be realised says why; DOWN by admin state shows as ACTIVE, as Neutron's does."""
    table = models_l3.router
    row = tx.first(select(table).where(table.c.id == report.key))
    if row is not None and row.host == host:
        _write(tx, table, row, report, "ERROR" if report.status == "ERROR" else "ACTIVE")


def floating_ip(tx: Tx, host: str, report: Report) -> None:
    """ACTIVE only while it is associated: a late report does not wake one that was taken away."""
    table, routers = models_l3.floating_ip, models_l3.router
    row = tx.first(select(table).where(table.c.id == report.key))
    if row is None or row.port_id is None:
        return
    if tx.scalar(select(routers.c.host).where(routers.c.id == row.router_id)) == host:
        _write(tx, table, row, report)


def port_forwarding(tx: Tx, host: str, report: Report) -> None:
    """A floating IP that only forwards is as active as what it forwards."""
    table, forwardings, routers = models_l3.floating_ip, models_l3.port_forwarding, models_l3.router
    row = tx.first(
        select(table)
        .join(forwardings, forwardings.c.floatingip_id == table.c.id)
        .where(forwardings.c.id == report.key, table.c.port_id.is_(None))
    )
    if row is None or row.router_id is None:
        return
    if tx.scalar(select(routers.c.host).where(routers.c.id == row.router_id)) != host:
        return
    own = f"{FORWARDING_FAILED}{report.key}: "
    if report.status == "ERROR":
        report = replace(report, reason=own + report.reason)
    elif row.status_reason.startswith(FORWARDING_FAILED) and not row.status_reason.startswith(own):
        # That this one works does not mend another one.
        return
    _write(tx, table, row, report)


def _write(tx: Tx, table: Table, row: Any, report: Report, status: str | None = None) -> None:
    status = status or report.status
    if (row.status, row.status_reason) == (status, report.reason):
        return
    tx.execute(
        update(table)
        .where(table.c.id == row.id)
        .values(
            status=status,
            status_reason=report.reason,
            updated_at=tx.now,
            revision_number=table.c.revision_number + 1,
        )
    )
