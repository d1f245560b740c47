"""Metadata of servers, their tags, addresses and topology: small sub-resources."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute import limit_table, networking, server, server_view, states
from virga.services.compute.faults import Invalid, NotFoundHere, Refused
from virga.services.compute.models import server_tag
from virga.services.compute.schema import METADATA, TAG, always, check_body, wrapped
from virga.services.compute.server import Server, check_lock, check_state, on_server
from virga.settings import Settings

METADATA_BODY = always(wrapped("metadata", METADATA))
META_BODY = always(wrapped("meta", METADATA | {"minProperties": 1, "maxProperties": 1}))
TAGS_BODY = always(wrapped("tags", {"type": "array", "items": TAG, "maxItems": 50}))
MAX_TAGS = 50
ALIVE = tuple(s for s in states.STATUSES if s not in (states.DELETED, states.SOFT_DELETED))


# --- metadata ------------------------------------------------------------------------------------------


def index(tx: Tx, req: Request, row: Server) -> Any:
    return {"metadata": row.metadata}


def _change(tx: Tx, req: Request, row: Server, wanted: dict[str, str]) -> dict[str, str]:
    check_lock(row, req.caller)
    check_state(
        row,
        "update_server_metadata",
        (states.ACTIVE, states.PAUSED, states.SUSPENDED, states.STOPPED, states.ERROR),
        tasks=None,
        launched=False,
    )
    limit = limit_table.limits_of(tx, row.project_id)["metadata_items"]
    if 0 <= limit < len(wanted):
        raise Refused(f"Maximum number of metadata items exceeds {limit}")
    server.save(tx, row.id, touch=bool(row.config_drive), metadata=wanted)
    return wanted


def create(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, METADATA_BODY)["metadata"]
    return {"metadata": _change(tx, req, row, row.metadata | asked)}


def replace(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, METADATA_BODY)["metadata"]
    return {"metadata": _change(tx, req, row, asked)}


def _item(row: Server, key: str) -> str:
    if key not in row.metadata:
        raise NotFoundHere("Metadata item was not found")
    return str(row.metadata[key])


def show(tx: Tx, req: Request, row: Server) -> Any:
    return {"meta": {req["key"]: _item(row, req["key"])}}


def update(tx: Tx, req: Request, row: Server) -> Any:
    asked = check_body(req, META_BODY)["meta"]
    if req["key"] not in asked:
        raise Invalid("Request body and URI mismatch")
    _change(tx, req, row, row.metadata | asked)
    return {"meta": asked}


def remove(tx: Tx, req: Request, row: Server) -> Any:
    _item(row, req["key"])
    _change(tx, req, row, {k: v for k, v in row.metadata.items() if k != req["key"]})
    return Response(204)


# --- tags ----------------------------------------------------------------------------------------------


def _tags(tx: Tx, row: Server) -> list[str]:
    return [
        r.tag
        for r in tx.all(select(server_tag).where(server_tag.c.server_id == row.id).order_by(server_tag.c.tag))
    ]


def tags(tx: Tx, req: Request, row: Server) -> Any:
    return {"tags": _tags(tx, row)}


def _may_tag(row: Server, req: Request) -> None:
    check_lock(row, req.caller)
    check_state(
        row, "update tags", (states.ACTIVE, states.PAUSED, states.SUSPENDED, states.STOPPED), None, False
    )


def replace_tags(tx: Tx, req: Request, row: Server) -> Any:
    asked = list(dict.fromkeys(check_body(req, TAGS_BODY)["tags"]))
    _may_tag(row, req)
    tx.execute(sql_delete(server_tag).where(server_tag.c.server_id == row.id))
    for tag in asked:
        tx.execute(insert(server_tag).values(server_id=row.id, tag=tag))
    server.save(tx, row.id)
    return {"tags": asked}


def clear_tags(tx: Tx, req: Request, row: Server) -> Any:
    _may_tag(row, req)
    tx.execute(sql_delete(server_tag).where(server_tag.c.server_id == row.id))
    server.save(tx, row.id)
    return Response(204)


def show_tag(tx: Tx, req: Request, row: Server) -> Any:
    if req["tag"] not in _tags(tx, row):
        raise NotFoundHere(f"Server {row.id} has no tag '{req['tag']}'")
    return Response(204)


def add_tag(tx: Tx, req: Request, row: Server) -> Any:
    tag = req["tag"]
    has = _tags(tx, row)
    _may_tag(row, req)
    if len(tag) > 60:
        raise Invalid(f"Tag '{tag}' is too long. Maximum length of a tag is 60")
    if not tag or "," in tag or "/" in tag:
        raise Invalid(f"Tag '{tag}' must not contain characters ',' or '/'")
    if tag in has:
        return Response(204)
    if len(has) >= MAX_TAGS:
        raise Invalid(f"The number of tags exceeded the per-server limit {MAX_TAGS}")
    tx.execute(insert(server_tag).values(server_id=row.id, tag=tag))
    server.save(tx, row.id)
    return Response(201, None, {"location": req.url(f"/v2.1/servers/{row.id}/tags/{tag}")})


def delete_tag(tx: Tx, req: Request, row: Server) -> Any:
    _may_tag(row, req)
    gone = tx.execute(
        sql_delete(server_tag).where(server_tag.c.server_id == row.id, server_tag.c.tag == req["tag"])
    )
    if gone.rowcount == 0:
        raise NotFoundHere(f"Server {row.id} has no tag '{req['tag']}'")
    server.save(tx, row.id)
    return Response(204)


# --- addresses, topology, password ---------------------------------------------------------------------


def ips(tx: Tx, req: Request, row: Server) -> Any:
    vifs = networking.vifs_of(tx, [row.id]).get(row.id, [])
    return {"addresses": server_view.addresses(vifs, False)}


def ips_of(tx: Tx, req: Request, row: Server) -> Any:
    found = ips(tx, req, row)["addresses"]
    if req["label"] not in found:
        raise NotFoundHere("Instance is not a member of specified network")
    return {req["label"]: found[req["label"]]}


def topology(tx: Tx, req: Request, row: Server) -> Any:
    """One node without pinning: what hosts of ours have."""
    node: dict[str, Any] = {
        "memory_mb": row.flavor["memory_mb"],
        "vcpu_set": list(range(row.flavor["vcpus"])),
        "siblings": [],
    }
    body: dict[str, Any] = {"nodes": [node], "pagesize_kb": None}
    if not req.allows("compute:server:topology:host:index", {"project_id": row.project_id}):
        return {
            "nodes": [{k: v for k, v in node.items() if k in ("memory_mb", "vcpu_set", "siblings")}],
            "pagesize_kb": None,
        }
    node |= {"host_node": 0, "cpu_pinning": {}}
    return body


def password(tx: Tx, req: Request, row: Server) -> Any:
    return {"password": row.password or ""}


def clear_password(tx: Tx, req: Request, row: Server) -> Any:
    server.save(tx, row.id, password=None)
    return Response(204)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}"

    def route(method: str, path: str, rule: str, verb: Any, least: tuple[int, int] | None = None) -> Route:
        handler = on_server(None, verb) if rule.startswith("compute:") else on_server(rule, verb)
        access = rule if rule.startswith("compute:") else AUTHENTICATED
        return Route(method, at + path, handler, access, min_version=least)

    tag = (2, 26)
    return [
        route("GET", "/metadata", "server-metadata:index", index),
        route("POST", "/metadata", "server-metadata:create", create),
        route("PUT", "/metadata", "server-metadata:update_all", replace),
        route("GET", "/metadata/{key}", "server-metadata:show", show),
        route("PUT", "/metadata/{key}", "server-metadata:update", update),
        route("DELETE", "/metadata/{key}", "server-metadata:delete", remove),
        route("GET", "/tags", "os-server-tags:index", tags, tag),
        route("PUT", "/tags", "os-server-tags:update_all", replace_tags, tag),
        route("DELETE", "/tags", "os-server-tags:delete_all", clear_tags, tag),
        route("GET", "/tags/{tag}", "os-server-tags:show", show_tag, tag),
        route("PUT", "/tags/{tag}", "os-server-tags:update", add_tag, tag),
        route("DELETE", "/tags/{tag}", "os-server-tags:delete", delete_tag, tag),
        route("GET", "/ips", "ips:index", ips),
        route("GET", "/ips/{label}", "ips:show", ips_of),
        route("GET", "/topology", "compute:server:topology:index", topology, (2, 78)),
        route("GET", "/os-server-password", "os-server-password:show", password),
        route("DELETE", "/os-server-password", "os-server-password:clear", clear_password),
    ]
