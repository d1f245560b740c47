"""What an explanation asks the database: which objects a name means, who may see them, how they stand, who changed them when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, or_, select

from virga.db.tx import Tx
from virga.desired import record
from virga.services.compute.models import instance_action, server
from virga.services.identity.models import user
from virga.services.network.models import agent, ip_allocation, network, port, rbac_policy, subnet
from virga.services.network.models_l3 import (
    floating_ip,
    port_forwarding,
    port_security_group,
    router,
    security_group,
    security_group_rule,
)

TABLES: dict[str, Table] = {
    "server": server,
    "port": port,
    "network": network,
    "subnet": subnet,
    "router": router,
    "floating_ip": floating_ip,
    "port_forwarding": port_forwarding,
    "security_group": security_group,
    "security_group_rule": security_group_rule,
}
NAMED = ("server", "port", "network", "router")


@dataclass(frozen=True, slots=True)
class Found:
    """An object of the API as a name or id was found to mean it."""

    kind: str
    id: str
    name: str
    project_id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How an object stands: name, status as the API shows it, why, and when it changed."""

    kind: str
    id: str
    name: str = ""
    project_id: str = ""
    status: str = ""
    reason: str = ""
    host: str = ""
    changed_at: int = 0
    request_id: str = ""
    changed_by: str = ""
    what: str = ""


@dataclass(frozen=True, slots=True)
class AgentStanding:
    host: str
    heartbeat_at: int


def find(tx: Tx, word: str, project_id: str | None) -> list[Found]:
    """Objects with this id or name; only those of a project unless it is None. Ids come first."""
    for by_id in (True, False):
        found = [each for kind in NAMED for each in _find(tx, kind, word, by_id, project_id)]
        if found:
            return found
    return []


def _find(tx: Tx, kind: str, word: str, by_id: bool, project_id: str | None) -> Iterable[Found]:
    table = TABLES[kind]
    query = select(table).where((table.c.id if by_id else table.c.name) == word)
    if kind == "server":
        query = query.where(~table.c.deleted)
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    return [Found(kind, row.id, row.name, row.project_id) for row in tx.all(query.limit(5))]


def ports_with_address(tx: Tx, address: str, project_id: str | None) -> list[str]:
    """Ids of ports that have the fixed address, the caller's own first."""
    query = (
        select(port.c.id, port.c.project_id)
        .join(ip_allocation, ip_allocation.c.port_id == port.c.id)
        .where(ip_allocation.c.ip_address == address)
    )
    if project_id is not None:
        query = query.where(or_(port.c.project_id == project_id, port.c.network_id.in_(_shared(project_id))))
    rows = sorted(tx.all(query), key=lambda row: (row.project_id != project_id, row.id))
    return [row.id for row in rows]


def _shared(project_id: str) -> Any:
    return select(rbac_policy.c.object_id).where(
        rbac_policy.c.object_type == "network", rbac_policy.c.target_project.in_(["*", project_id])
    )


def ports_of_server(tx: Tx, server_id: str) -> list[str]:
    rows = tx.all(select(port.c.id).where(port.c.device_id == server_id).order_by(port.c.created_at))
    return [row.id for row in rows]


def floating_ip_with_address(tx: Tx, address: str) -> tuple[str, str] | None:
    """Id and project of a floating IP."""
    row = tx.first(select(floating_ip).where(floating_ip.c.floating_ip_address == address))
    return None if row is None else (row.id, row.project_id)


def external_networks(tx: Tx) -> list[str]:
    return [row.id for row in tx.all(select(network.c.id).where(network.c.external))]


def network_is_up(tx: Tx, network_id: str) -> bool:
    """Not administratively shut."""
    return tx.scalar(select(network.c.admin_state_up).where(network.c.id == network_id)) is not False


def agents(tx: Tx) -> list[AgentStanding]:
    """Of each host the newest heartbeat of any of its agents."""
    newest: dict[str, int] = {}
    for row in tx.all(select(agent.c.host, agent.c.heartbeat_timestamp)):
        newest[row.host] = max(newest.get(row.host, 0), row.heartbeat_timestamp)
    return [AgentStanding(host, at) for host, at in sorted(newest.items())]


def standings(tx: Tx, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Standing]:
    """Kind and id -> how it stands. What is gone is left out."""
    found = {}
    for kind, object_id in dict.fromkeys(wanted):
        table = TABLES.get(kind)
        row = tx.first(select(table).where(table.c.id == object_id)) if table is not None else None
        if row is not None:
            found[kind, object_id] = _standing(tx, kind, row._mapping)
    return found


def _standing(tx: Tx, kind: str, row: Any) -> Standing:
    last = _last_change(tx, kind, row["id"])
    at, request_id, what, by = last.at, last.request_id, last.action, last.by
    if kind == "server":
        what, by, request_id = _last_action(tx, row["id"], request_id)
    return Standing(
        kind=kind,
        id=row["id"],
        name=row.get("name") or row.get("floating_ip_address") or row.get("cidr") or "",
        project_id=row.get("project_id") or "",
        status=row.get("status") or row.get("vm_state") or "",
        reason=row.get("status_reason") or "",
        host=row.get("host_id") or row.get("host") or "",
        changed_at=max(at, row.get("updated_at") or row.get("created_at") or 0),
        request_id=request_id,
        changed_by=by,
        what=what,
    )


def _last_change(tx: Tx, kind: str, object_id: str) -> record.Changed:
    """From the outbox: what the hosts were told of last, and who asked for it."""
    name = {"server": "instance", "security_group_rule": "security_group"}.get(kind, kind)
    return record.last_change(tx, name, object_id) or record.Changed(kind, object_id, 0)


def _last_action(tx: Tx, server_id: str, request_id: str) -> tuple[str, str, str]:
    """What was last asked of a server, and by whom."""
    row = tx.first(
        select(instance_action)
        .where(instance_action.c.server_id == server_id)
        .order_by(instance_action.c.number.desc())
    )
    if row is None:
        return "", "", request_id
    who = tx.first(select(user.c.name).where(user.c.id == row.user_id))
    return row.action, who.name if who else row.user_id, row.request_id


def groups_of_ports(tx: Tx, port_ids: Sequence[str]) -> list[str]:
    """Ids of the security groups of these ports."""
    query = select(port_security_group.c.security_group_id).where(
        port_security_group.c.port_id.in_(sorted(port_ids))
    )
    return sorted({row.security_group_id for row in tx.all(query)})
