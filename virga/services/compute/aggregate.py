"""Host aggregates: named sets of hosts with metadata; ``availability_zone`` in it makes a zone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import new_uuid
from virga.services.compute import host as hosts
from virga.services.compute.faults import Busy, Invalid, NotFoundHere
from virga.services.compute.models import aggregate as table
from virga.services.compute.models import aggregate_host as members
from virga.services.compute.models import server
from virga.services.compute.schema import (
    AZ_NAME,
    FQDN,
    METADATA_OR_NULL,
    NAME,
    UUID,
    Schema,
    always,
    check_body,
    obj,
    wrapped,
)
from virga.settings import Settings

_ZONE: Schema = {"oneOf": [AZ_NAME, {"type": "null"}]}
CREATE = always(wrapped("aggregate", obj({"name": NAME, "availability_zone": _ZONE}, ["name"])))
UPDATE = always(
    wrapped(
        "aggregate",
        obj(
            {"name": NAME, "availability_zone": AZ_NAME},
            anyOf=[{"required": ["name"]}, {"required": ["availability_zone"]}],
        ),
    )
)
ADD_HOST = always(wrapped("add_host", obj({"host": FQDN}, ["host"])))
REMOVE_HOST = always(wrapped("remove_host", obj({"host": FQDN}, ["host"])))
SET = always(wrapped("set_metadata", obj({"metadata": METADATA_OR_NULL}, ["metadata"])))
IMAGES = always(
    obj(
        {
            "cache": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": obj({"id": UUID}, ["id"]),
            }
        },
        ["cache"],
    )
)


def _hosts(tx: Tx, number: int) -> list[str]:
    rows = tx.all(select(members.c.host).where(members.c.aggregate_number == number).order_by(members.c.host))
    return [row.host for row in rows]


def _view(tx: Tx, req: Request, row: Row[Any], brief: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": row.number,
        "name": row.name,
        "availability_zone": row.metadata.get("availability_zone"),
        "created_at": iso_micro(row.created_at, ""),
        "updated_at": iso_micro(row.updated_at, ""),
        "deleted": False,
        "deleted_at": None,
    }
    if not brief:
        body |= {"hosts": _hosts(tx, row.number), "metadata": row.metadata}
    if req.microversion >= (2, 41):
        body["uuid"] = row.id
    return body


def _get(tx: Tx, req: Request) -> Row[Any]:
    text = req["aggregate_id"]
    row = (
        tx.first(select(table).where(table.c.number == int(text)))
        if text.isdecimal() and len(text) < 10
        else None
    )
    if not text.lstrip("-").isdecimal():
        raise Invalid(f"Invalid input for query parameters id. Value: {text}. '{text}' is not an integer")
    if row is None:
        raise NotFoundHere(f"Aggregate {text} could not be found.", type="AggregateNotFound")
    return row


def index(tx: Tx, req: Request) -> Any:
    return {"aggregates": [_view(tx, req, row) for row in tx.all(select(table).order_by(table.c.number))]}


def create(tx: Tx, req: Request) -> Any:
    asked = check_body(req, CREATE)["aggregate"]
    name = asked["name"].strip()
    if tx.first(select(table.c.id).where(table.c.name == name)):
        raise Busy(f"Aggregate {name} already exists.", type="AggregateNameExists")
    zone = asked.get("availability_zone")
    tx.execute(
        insert(table).values(
            id=new_uuid(),
            name=name,
            metadata={"availability_zone": zone} if zone else {},
            created_at=tx.now,
        )
    )
    row = tx.first(select(table).where(table.c.name == name))
    assert row is not None
    return {"aggregate": _view(tx, req, row, brief=True)}


def show(tx: Tx, req: Request) -> Any:
    return {"aggregate": _view(tx, req, _get(tx, req))}


def change(tx: Tx, req: Request) -> Any:
    asked = check_body(req, UPDATE)["aggregate"]
    row = _get(tx, req)
    values: dict[str, Any] = {}
    if "name" in asked:
        values["name"] = asked["name"].strip()
        if values["name"] != row.name and tx.first(select(table.c.id).where(table.c.name == values["name"])):
            raise Busy(f"Aggregate {values['name']} already exists.", type="AggregateNameExists")
    if asked.get("availability_zone"):
        zone = asked["availability_zone"]
        _check_zone(tx, row, zone)
        values["metadata"] = row.metadata | {"availability_zone": zone}
    return {"aggregate": _save(tx, req, row, **values)}


def _check_zone(tx: Tx, row: Row[Any], zone: str | None) -> None:
    """A host is in one zone, and servers do not move by an edit."""
    if zone == row.metadata.get("availability_zone"):
        return
    there = _hosts(tx, row.number)
    others = tx.all(
        select(table.c.metadata, members.c.host)
        .join(members, members.c.aggregate_number == table.c.number)
        .where(members.c.host.in_(there), table.c.number != row.number)
    )
    for other in others:
        if zone and other.metadata.get("availability_zone") not in (None, zone):
            raise Busy(
                f"Cannot perform action 'update aggregate' on aggregate {row.number}. Reason: One or more hosts "
                "already in availability zone(s)."
            )
    used = tx.first(select(server.c.id).where(server.c.host.in_(there), server.c.deleted.is_(False)))
    if used is not None:
        raise Busy(
            f"Cannot perform action 'update aggregate' on aggregate {row.number}. Reason: One or more hosts contain "
            "instances in this zone."
        )


def _save(tx: Tx, req: Request, row: Row[Any], **values: Any) -> dict[str, Any]:
    tx.execute(update(table).where(table.c.number == row.number).values(updated_at=tx.now, **values))
    row = tx.first(select(table).where(table.c.number == row.number)) or row
    return _view(tx, req, row)


def remove(tx: Tx, req: Request) -> Any:
    row = _get(tx, req)
    if _hosts(tx, row.number):
        raise Invalid(
            f"Cannot perform action 'delete' on aggregate {row.number}. Reason: Host aggregate is not empty."
        )
    tx.execute(sql_delete(table).where(table.c.number == row.number))
    return Response(200)


def add_host(tx: Tx, req: Request) -> Any:
    name = check_body(req, ADD_HOST)["add_host"]["host"]
    row = _get(tx, req)
    if hosts.service_of(tx, name) is None:
        raise NotFoundHere(f"Compute host {name} could not be found.", type="ComputeHostNotFound")
    if name in _hosts(tx, row.number):
        raise Busy(f"Aggregate {row.number} already has host {name}.", type="AggregateHostExists")
    zone = row.metadata.get("availability_zone")
    current = hosts.zones_by_host(tx).get(name)
    if zone and current and current != zone:
        raise Busy(
            f"Cannot perform action 'add host to aggregate' on aggregate {row.number}. Reason: One or more hosts "
            "already in availability zone(s) ['" + current + "']."
        )
    tx.execute(insert(members).values(aggregate_number=row.number, host=name))
    return {"aggregate": _save(tx, req, row)}


def remove_host(tx: Tx, req: Request) -> Any:
    name = check_body(req, REMOVE_HOST)["remove_host"]["host"]
    row = _get(tx, req)
    gone = tx.execute(
        sql_delete(members).where(members.c.aggregate_number == row.number, members.c.host == name)
    )
    if gone.rowcount == 0:
        raise NotFoundHere(f"Aggregate {row.number} has no host {name}.", type="AggregateHostNotFound")
    return {"aggregate": _save(tx, req, row)}


def set_metadata(tx: Tx, req: Request) -> Any:
    asked = check_body(req, SET)["set_metadata"]["metadata"]
    row = _get(tx, req)
    if "availability_zone" in asked:
        _check_zone(tx, row, asked["availability_zone"])
    found = {k: v for k, v in (row.metadata | asked).items() if v is not None}
    return {"aggregate": _save(tx, req, row, metadata=found)}


def images(tx: Tx, req: Request) -> Any:
    """Hosts fetch an image when the first server wants it; there is nothing to prepare."""
    check_body(req, IMAGES)
    _get(tx, req)
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    rule, at = "os_compute_api:os-aggregates:", "/v2.1/os-aggregates/{aggregate_id}"
    act = at + "/action"
    return [
        Route("GET", "/v2.1/os-aggregates", index, rule + "index"),
        Route("POST", "/v2.1/os-aggregates", create, rule + "create"),
        Route("GET", at, show, rule + "show"),
        Route("PUT", at, change, rule + "update"),
        Route("DELETE", at, remove, rule + "delete"),
        Route("POST", act, add_host, rule + "add_host", action="add_host"),
        Route("POST", act, remove_host, rule + "remove_host", action="remove_host"),
        Route("POST", act, set_metadata, rule + "set_metadata", action="set_metadata"),
        Route("POST", at + "/images", images, "compute:aggregates:images", min_version=(2, 81)),
    ]
