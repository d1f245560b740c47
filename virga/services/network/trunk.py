"""Trunks: one port that carries several networks, each by its own VLAN tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy import update as sql_update
from sqlalchemy.engine import Row

from virga.api.collection import MakeContext, render_ids
from virga.api.request import Request
from virga.api.resource import Context, Resource, Values, authorize, bump, change, target_of
from virga.api.routing import AUTHENTICATED, Route
from virga.api.validators import Invalid, list_of
from virga.db.tx import Tx
from virga.db.within import within
from virga.lib.ids import new_uuid
from virga.services.network import binding, faults, port_resource
from virga.services.network.attributes_l3 import SUB_PORT, TRUNK
from virga.services.network.models import network_segment, port, tag
from virga.services.network.models_l3 import sub_port, trunk
from virga.services.network.port_users import PortInUseAsSubPort, PortInUseAsTrunkParent
from virga.services.network.standard import add_tags, by_ids, fresh, tags_of, time

OWNER = "trunk:subport"

DuplicateSubPort = faults.refusal(
    "DuplicateSubPort",
    409,
    "segmentation_type {kind} and segmentation_id {number} already in use on trunk {trunk_id}.",
)
TrunkInUse = faults.refusal("TrunkInUse", 409, "Trunk {id} is currently in use.")
ParentPortInUse = faults.refusal(
    "ParentPortInUse", 409, "Port {port_id} is currently in use and is not eligible for use as a parent port."
)
TrunkDisabled = faults.refusal("TrunkDisabled", 409, "Trunk {id} is currently disabled.")

_SUBS = select(sub_port).where(within(sub_port.c.trunk_id)).order_by(sub_port.c.segmentation_id)


def _sub(row: Row[Any]) -> Values:
    return {
        "port_id": row.port_id,
        "segmentation_type": row.segmentation_type,
        "segmentation_id": row.segmentation_id,
    }


def render(tx: Tx, context: Context, rows: Sequence[Row[Any]]) -> list[Values]:
    ids = [row.id for row in rows]
    subs: dict[str, list[Values]] = {}
    for row in by_ids(tx, _SUBS, ids):
        subs.setdefault(row.trunk_id, []).append(_sub(row))
    tags = tags_of(tx, ids)
    return [
        {
            "id": row.id,
            "name": row.name,
            "description": row.description,
            "tenant_id": row.project_id,
            "project_id": row.project_id,
            "port_id": row.port_id,
            "admin_state_up": row.admin_state_up,
            "status": _status(tx, row),
            "sub_ports": subs.get(row.id, []),
            "revision_number": row.revision_number,
            "created_at": time(row.created_at),
            "updated_at": time(row.updated_at),
            "tags": tags.get(row.id, []),
        }
        for row in rows
    ]


def _status(tx: Tx, row: Row[Any]) -> str:
    """A trunk is up when its parent port is."""
    if not row.admin_state_up:
        return "DOWN"
    status = tx.scalar(select(port.c.status).where(port.c.id == row.port_id))
    return "ACTIVE" if status == "ACTIVE" else "DOWN"


def create(tx: Tx, context: Context, values: Values) -> str:
    _check_tags(values["sub_ports"])
    parent = port_resource.RESOURCE.find(tx, context, values["port_id"])
    _refuse_used(tx, parent["id"])
    if parent["device_owner"] and not parent["device_owner"].startswith("compute:"):
        raise ParentPortInUse(port_id=parent["id"])
    trunk_id = new_uuid()
    tx.execute(
        insert(trunk).values(
            id=trunk_id,
            project_id=values["project_id"],
            name=values["name"],
            description=values["description"],
            port_id=parent["id"],
            admin_state_up=values["admin_state_up"],
            status="DOWN",
            **fresh(tx, 1),
        )
    )
    _add(tx, context, trunk_id, parent, values["sub_ports"])
    add_tags(tx, trunk_id, values["tags"])
    tx.touch("trunk", parent["id"])
    return trunk_id


def _refuse_used(tx: Tx, port_id: str) -> None:
    """A port is parent of one trunk, or in one trunk, or neither."""
    row = tx.first(select(trunk.c.id).where(trunk.c.port_id == port_id))
    if row is not None:
        raise PortInUseAsTrunkParent(port_id=port_id, trunk_id=row.id)
    row = tx.first(select(sub_port.c.trunk_id).where(sub_port.c.port_id == port_id))
    if row is not None:
        raise PortInUseAsSubPort(port_id=port_id, trunk_id=row.trunk_id)


def _add(tx: Tx, context: Context, trunk_id: str, parent: Values, asked: Sequence[Values]) -> None:
    taken = {
        (row.segmentation_type, row.segmentation_id)
        for row in tx.all(select(sub_port).where(sub_port.c.trunk_id == trunk_id))
    }
    host = tx.scalar(select(port.c.host_id).where(port.c.id == parent["id"]))
    _check_tags(asked)
    for item in asked:
        member = port_resource.RESOURCE.find(tx, context, item["port_id"])
        if member["id"] == parent["id"]:
            raise ParentPortInUse(port_id=member["id"])
        _refuse_used(tx, member["id"])
        if member["device_id"] and member["device_owner"] != OWNER:
            raise faults.PortInUse(
                port_id=member["id"], net_id=member["network_id"], device_id=member["device_id"]
            )
        kind, number = _tag_of(tx, item, member)
        if (kind, number) in taken:
            raise DuplicateSubPort(kind=kind, number=number, trunk_id=trunk_id)
        taken.add((kind, number))
        tx.execute(
            insert(sub_port).values(
                port_id=member["id"], trunk_id=trunk_id, segmentation_type=kind, segmentation_id=number
            )
        )
        _bind_member(tx, context, member["id"], member["network_id"], host, trunk_id)


def _check_tags(asked: Sequence[Values]) -> None:
    """What is wrong with the request itself is said before its ports are looked for."""
    seen: set[tuple[Any, str]] = set()
    for item in asked:
        kind, number = item.get("segmentation_type"), item.get("segmentation_id")
        if kind == "inherit":
            continue
        if kind is None or number is None:
            raise faults.InvalidInput(
                reason="Invalid subport details: missing segmentation information. Must specify both "
                "segmentation_id and segmentation_type"
            )
        if (kind, str(number)) in seen:
            raise faults.InvalidInput(
                reason=f"segmentation_id {number} is used twice in the request for segmentation_type {kind}"
            )
        seen.add((kind, str(number)))


def _tag_of(tx: Tx, item: Values, member: Values) -> tuple[str, int]:
    """The VLAN of a sub-port: as asked, or that of its own network."""
    kind = item.get("segmentation_type")
    if kind == "inherit":
        row = tx.first(select(network_segment).where(network_segment.c.network_id == member["network_id"]))
        if row is None or row.network_type != "vlan":
            raise faults.InvalidInput(
                reason=f"Cannot inherit the segmentation of port {member['id']}: its network is not of type vlan"
            )
        return "vlan", int(row.segmentation_id)
    if kind != "vlan":
        raise faults.InvalidInput(reason=f"Unknown segmentation type '{kind}'")
    try:
        number = int(item["segmentation_id"])
        if not 1 <= number <= 4094:
            raise ValueError
    except (TypeError, ValueError):
        raise faults.InvalidInput(
            reason=f"Invalid segmentation id '{item['segmentation_id']}' for segmentation type 'vlan'"
        ) from None
    return kind, number


def _bind_member(tx: Tx, context: Context, port_id: str, network_id: str, host: str, trunk_id: str) -> None:
    columns = binding.bind(tx, context.elevated(), network_id, host)
    owner = (
        {"device_owner": OWNER, "device_id": trunk_id} if trunk_id else {"device_owner": "", "device_id": ""}
    )
    change(tx, port, port_id, {**columns, **owner, "status": "DOWN"})
    tx.touch("port", port_id)


def follow_parent(tx: Tx, context: Context, parent_id: str, host: str) -> None:
    """Sub-ports live where their parent lives."""
    row = tx.first(select(trunk.c.id).where(trunk.c.port_id == parent_id))
    if row is None:
        return
    members = select(port.c.id, port.c.network_id).join(sub_port, sub_port.c.port_id == port.c.id)
    for member in tx.all(members.where(sub_port.c.trunk_id == row.id)):
        _bind_member(tx, context, member.id, member.network_id, host, row.id)


def update(tx: Tx, context: Context, current: Values, changes: Values) -> None:
    change(tx, trunk, current["id"], changes)
    tx.touch("trunk", current["port_id"])


def delete_trunk(tx: Tx, context: Context, current: Values) -> None:
    _refuse_disabled(current)
    host = tx.scalar(select(port.c.host_id).where(port.c.id == current["port_id"]))
    if host:
        raise TrunkInUse(id=current["id"])
    for item in current["sub_ports"]:
        _remove_member(tx, context, item["port_id"])
    tx.execute(delete(sub_port).where(sub_port.c.trunk_id == current["id"]))
    tx.execute(delete(trunk).where(trunk.c.id == current["id"]))
    tx.touch("trunk", current["port_id"])


def _remove_member(tx: Tx, context: Context, port_id: str) -> None:
    tx.execute(delete(sub_port).where(sub_port.c.port_id == port_id))
    tx.execute(
        sql_update(port)
        .where(port.c.id == port_id)
        .values(
            device_owner="", device_id="", host_id="", vif_type=binding.UNBOUND, vif_details={}, status="DOWN"
        )
    )
    bump(tx, port, port_id)
    tx.touch("port", port_id)


# --- sub-ports


def _asked(req: Request) -> list[Values]:
    if not isinstance(req.body, dict) or not isinstance(req.body.get("sub_ports"), list):
        raise faults.InvalidInput(reason="Invalid request body: 'sub_ports' is required")
    try:
        return list(list_of(SUB_PORT)(req.body["sub_ports"]))
    except Invalid as problem:
        raise faults.InvalidInput(reason=str(problem)) from None


def _refuse_disabled(current: Values) -> None:
    if not current["admin_state_up"]:
        raise TrunkDisabled(id=current["id"])


def add_subports(tx: Tx, context: Context, current: Values, req: Request) -> Any:
    asked = _asked(req)
    _refuse_disabled(current)
    parent = port_resource.RESOURCE.find(tx, context, current["port_id"])
    _add(tx, context, current["id"], parent, asked)
    return _changed(tx, context, current)


def remove_subports(tx: Tx, context: Context, current: Values, req: Request) -> Any:
    asked = _asked(req)
    _refuse_disabled(current)
    held = {item["port_id"] for item in current["sub_ports"]}
    for item in asked:
        if item["port_id"] not in held:
            raise faults.SubPortNotFound(trunk_id=current["id"], port_id=item["port_id"])
        _remove_member(tx, context, item["port_id"])
    return _changed(tx, context, current)


def _changed(tx: Tx, context: Context, current: Values) -> Any:
    bump(tx, trunk, current["id"])
    tx.touch("trunk", current["port_id"])
    return render_ids(tx, context, RESOURCE, [current["id"]])[0]


def get_subports(tx: Tx, context: Context, current: Values, req: Request) -> Any:
    return {"sub_ports": current["sub_ports"]}


def actions(make_context: MakeContext) -> list[Route]:
    def serve(rule: str, act: Callable[[Tx, Context, Values, Request], Any]) -> Callable[[Tx, Request], Any]:
        def handler(tx: Tx, req: Request) -> Any:
            context = make_context(req)
            current = RESOURCE.find(tx, context, req["id"])
            authorize(context, [rule], target_of(RESOURCE, tx, context, current))
            return act(tx, context, current, req)

        return handler

    url = "/v2.0/trunks/{id}/"
    return [
        Route("PUT", url + "add_subports", serve("add_subports", add_subports), AUTHENTICATED),
        Route("PUT", url + "remove_subports", serve("remove_subports", remove_subports), AUTHENTICATED),
        Route("GET", url + "get_subports", serve("get_subports", get_subports), AUTHENTICATED),
    ]


RESOURCE = Resource(
    name="trunk",
    collection="trunks",
    table=trunk,
    attributes=TRUNK,
    not_found=lambda trunk_id: faults.TrunkNotFound(id=trunk_id),
    render=render,
    create=create,
    update=update,
    delete=delete_trunk,
    quota="trunk",
    has_tags=True,
    tag_table=tag,
    changed=lambda tx, trunk_id: bump(tx, trunk, trunk_id),
)
