"""Auto-allocated topology: a network, subnets and a router to the outside, made at the first asking."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.collection import MakeContext
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values, authorize, fill
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.network import faults, network, router, router_gateway, router_interface, subnet
from virga.services.network.models import auto_allocated_topology as table
from virga.services.network.models import network as network_table
from virga.services.network.models import port, subnetpool
from virga.services.network.models import subnet as subnet_table

AutoAllocationFailure = faults.refusal("AutoAllocationFailure", 409, "Deployment error: {reason}.")
NotFound = faults.refusal("NotFound", 404, "No auto-allocated topology for project {project}")


def _make(tx: Tx, context: Context, resource: Resource, values: Values) -> str:
    assert resource.create is not None
    return resource.create(tx, context, fill(resource, context, values))


def _requirements(tx: Tx) -> tuple[str, list[tuple[str, int]]]:
    """The default external network and the default pools."""
    external = tx.scalar(
        select(network_table.c.id).where(
            network_table.c.is_default.is_(True), network_table.c.external.is_(True)
        )
    )
    if external is None:
        raise AutoAllocationFailure(reason="No default router:external network")
    pools = tx.all(select(subnetpool.c.id, subnetpool.c.ip_version).where(subnetpool.c.is_default.is_(True)))
    if not pools:
        raise AutoAllocationFailure(reason="No default subnetpools defined")
    return str(external), [(row.id, row.ip_version) for row in pools]


def show(tx: Tx, context: Context, req: Request) -> Any:
    project_id = _project(context, req)
    if "dry-run" in req.params("fields"):
        _requirements(tx)
        return {
            "auto_allocated_topology": {
                "id": "dry-run=pass",
                "tenant_id": project_id,
                "project_id": project_id,
            }
        }
    network_id = ensure(tx, context, project_id)
    return {"auto_allocated_topology": {"id": network_id, "tenant_id": project_id, "project_id": project_id}}


def _project(context: Context, req: Request) -> str:
    wanted = req["project"]
    if wanted in ("None", "null") or wanted == context.project_id:
        return context.project_id
    authorize(context, ["get_auto_allocated_topology"], {"project_id": wanted, "tenant_id": wanted})
    return wanted


def ensure(tx: Tx, context: Context, project_id: str) -> str:
    """The project's network of its own, made when it is asked for the first time. Raises AutoAllocationFailure."""
    found = tx.scalar(select(table.c.network_id).where(table.c.project_id == project_id))
    return str(found) if found else _build(tx, context, project_id)


def _build(tx: Tx, context: Context, project_id: str) -> str:
    external, pools = _requirements(tx)
    own = {"project_id": project_id}
    context = context.elevated()
    network_id = _make(tx, context, network.RESOURCE, {"name": "auto_allocated_network", **own})
    router_id = _make(tx, context, router.RESOURCE, {"name": "auto_allocated_router", **own})
    router_gateway.set_gateway(tx, context, router_id, {"network_id": external})
    current = router.RESOURCE.find(tx, context, router_id)
    for pool_id, version in pools:
        values = {
            "name": f"auto_allocated_subnet_v{version}",
            "network_id": network_id,
            "ip_version": version,
            "subnetpool_id": pool_id,
            **own,
        }
        subnet_id = _make(tx, context, subnet.RESOURCE, values)
        router_interface.add(tx, context, current, {"subnet_id": subnet_id})
    tx.execute(insert(table).values(project_id=project_id, network_id=network_id, router_id=router_id))
    return network_id


def remove(tx: Tx, context: Context, req: Request) -> None:
    project_id = _project(context, req)
    row = tx.first(select(table).where(table.c.project_id == project_id))
    if row is None:
        raise NotFound(project=project_id)
    context = context.elevated()
    used = select(port.c.id).where(
        port.c.network_id == row.network_id, ~port.c.device_owner.like("network:%")
    )
    if (busy := tx.first(used.limit(1))) is not None:
        raise faults.NetworkInUse(id=row.network_id, ports=busy.id)
    current = router.RESOURCE.find(tx, context, row.router_id)
    for item in tx.all(select(subnet_table.c.id).where(subnet_table.c.network_id == row.network_id)):
        router_interface.remove(tx, context, current, {"subnet_id": item.id})
    router.delete_router(tx, context, current)
    tx.execute(delete(table).where(table.c.project_id == project_id))
    network.delete_network(tx, context, network.RESOURCE.find(tx, context, row.network_id))


def routes(make_context: MakeContext) -> list[Route]:
    url = "/v2.0/auto-allocated-topology/{project}"
    return [
        Route("GET", url, lambda tx, req: show(tx, make_context(req), req), AUTHENTICATED, write=True),
        Route("DELETE", url, lambda tx, req: remove(tx, make_context(req), req), AUTHENTICATED, status=204),
    ]
