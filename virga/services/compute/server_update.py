"""GET, PUT of one server."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute import host, server, server_view
from virga.services.compute.faults import Busy, Invalid
from virga.services.compute.schema import check_body, check_query
from virga.services.compute.server import Server, on_server
from virga.services.compute.server_create import plain_address
from virga.services.compute.server_schema import SHOW, UPDATE
from virga.services.compute.server_view import Look, belongings
from virga.settings import Settings


def show(tx: Tx, req: Request, row: Server) -> Any:
    check_query(req, SHOW)
    return {"server": server_view.one(tx, req, row)}


def changed_view(tx: Tx, req: Request, row: Server) -> dict[str, Any]:
    """What update and rebuild answer: the core, and from 2.75 on everything."""
    if req.microversion >= (2, 75):
        return server_view.one(tx, req, row)
    look = Look.of(req, server.target_of(row))
    found = belongings(tx, [row], req.microversion, groups=req.microversion >= (2, 71))
    body = server_view.core(req, row, found, look)
    if req.microversion >= (2, 71):
        body["server_groups"] = found.groups.get(row.id, [])
    return body


def update(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, UPDATE)["server"]
    values: dict[str, Any] = {}
    if "name" in asked:
        values["name"] = asked["name"].strip()
    if "description" in asked:
        values["description"] = asked["description"]
    if "hostname" in asked:
        values["hostname"] = asked["hostname"]
    for field, column in (("accessIPv4", "access_ip_v4"), ("accessIPv6", "access_ip_v6")):
        if field in asked:
            values[column] = plain_address(asked[field])
    if "OS-DCF:diskConfig" in asked:
        values["auto_disk_config"] = asked["OS-DCF:diskConfig"] == "AUTO"
    if "pinned_availability_zone" in asked:
        values["pinned_availability_zone"] = _zone(tx, row, asked["pinned_availability_zone"])
    row = server.save(tx, row.id, touch="hostname" in values, **values)
    return {"server": changed_view(tx, req, row)}


def _zone(tx: Tx, row: Server, zone: str | None) -> str | None:
    """A server may only be pinned to the zone that it is in."""
    if zone is None:
        return None
    if zone not in {host.DEFAULT_ZONE, *host.zones_by_host(tx).values()}:
        raise Invalid("The requested availability zone is not available")
    if row.host and host.zone_of(tx, row.host) != zone:
        raise Busy(f"Server {row.id} is not in availability zone {zone}.")
    return zone


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}"
    return [
        Route("GET", at, on_server("servers:show", show), AUTHENTICATED),
        Route("PUT", at, on_server("servers:update", update), AUTHENTICATED),
    ]
