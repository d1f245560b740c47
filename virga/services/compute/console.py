"""Consoles: the log of a server, and short-lived tokens that open its screen or serial line through the proxy."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import msgspec
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select
from sqlalchemy.engine import Row

from virga.api.context import AsyncContext, CallError
from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.contract.calls import ConsoleOutput, Diagnostics, SetPassword
from virga.db.tx import Tx
from virga.services.compute import server, states
from virga.services.compute.action import action_route
from virga.services.compute.action_power import ready
from virga.services.compute.faults import Busy, Invalid, NotFoundHere
from virga.services.compute.models import console_token
from virga.services.compute.schema import TEXT, V21, Schema, Versioned, always, check_body, obj, wrapped
from virga.services.compute.server import Server, check_lock, check_state
from virga.settings import Settings

TOKEN_S = 600
OUTPUT = always(
    wrapped(
        "os-getConsoleOutput",
        obj({"length": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$", "minimum": -1}}),
    )
)
PASSWORD = always(wrapped("changePassword", obj({"adminPass": TEXT}, ["adminPass"])))
_KINDS = {
    "os-getVNCConsole": ["novnc", "xvpvnc"],
    "os-getSPICEConsole": ["spice-html5"],
    "os-getSerialConsole": ["serial"],
}


def _remote(protocols: list[str], types: list[str]) -> Schema:
    inner = obj(
        {"protocol": {"type": "string", "enum": protocols}, "type": {"type": "string", "enum": types}},
        ["protocol", "type"],
    )
    return wrapped("remote_console", inner)


_PROTOCOLS, _TYPES = (
    ["vnc", "spice", "serial", "rdp"],
    ["novnc", "xvpvnc", "spice-html5", "serial", "rdp-html5"],
)
REMOTE = Versioned(
    (V21, _remote(_PROTOCOLS, _TYPES)),
    ((2, 8), _remote([*_PROTOCOLS, "mks"], [*_TYPES, "webmks"])),
    ((2, 99), _remote([*_PROTOCOLS, "mks"], [*_TYPES, "webmks", "spice-direct"])),
)


async def output(ctx: AsyncContext, req: Request) -> Any:
    """The end of what the guest wrote to its console."""

    def look(tx: Tx) -> tuple[Server, Any]:
        row = server.for_request(tx, req, "os_compute_api:os-console-output")
        asked = check_body(req, OUTPUT)["os-getConsoleOutput"]
        if row.host is None or not row.on_host:
            raise Busy(f"Instance {row.id} is not ready", type="InstanceNotReady")
        return row, asked

    row, asked = await ctx.read(look)
    length = asked.get("length")
    length = None if length is None or int(length) < 0 else int(length)
    try:
        raw = await ctx.call(
            row.host, "instance.console_output", ConsoleOutput(instance_id=row.id, length=length)
        )
    except CallError as problem:
        if problem.kind in ("unreachable", "timeout"):
            raise Busy(f"Instance {row.id} is not ready", type="InstanceNotReady") from None
        raise NotFoundHere("Unable to get console") from None
    text = str(msgspec.json.decode(raw))
    # Control characters have no place in JSON that people read; line breaks and escapes of terminals may stay.
    return {"output": "".join(c for c in text if c >= " " or c in "\r\n\t\x1b")}


# --- tokens --------------------------------------------------------------------------------------------


def issue(tx: Tx, row: Server, kind: str) -> str:
    """A token for one console of one server; only its hash is kept."""
    check_state(row, "get_console", None, None)
    if row.vm_state == states.BUILDING or row.host is None or not row.on_host:
        raise Busy(f"Instance {row.id} is not ready", type="InstanceNotReady")
    tx.execute(sql_delete(console_token).where(console_token.c.expires_at < tx.now))
    token = secrets.token_urlsafe(24)
    tx.execute(
        insert(console_token).values(
            token_hash=_hash(token),
            server_id=row.id,
            console_type=kind,
            host=row.host,
            expires_at=tx.now + TOKEN_S * 1_000_000,
        )
    )
    return token


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def redeem(tx: Tx, token: str) -> Row[Any] | None:
    """What a token opens, while it lives."""
    return tx.first(
        select(console_token).where(
            console_token.c.token_hash == _hash(token), console_token.c.expires_at > tx.now
        )
    )


def _url(req: Request, kind: str, token: str) -> str:
    base = req.base_url
    if kind == "serial":
        return f"{base.replace('http', 'ws', 1)}/console/websocket?token={token}"
    return f"{base}/console/vnc.html?path=compute/console/websocket%3Ftoken%3D{token}"


def _unavailable(kind: str) -> Exception:
    if kind in ("rdp-html5", "xvpvnc"):
        return Invalid(f"Invalid console type {kind}")
    return Invalid(f"Unavailable console type {kind}.")


def remote(tx: Tx, req: Request) -> Any:
    row = server.for_request(tx, req, "os_compute_api:os-remote-consoles")
    asked = check_body(req, REMOTE)["remote_console"]
    protocol, kind = asked["protocol"], asked["type"]
    if kind not in ("novnc", "serial"):
        raise _unavailable(kind)
    if (protocol, kind) not in (("vnc", "novnc"), ("serial", "serial")):
        raise Invalid(f"Unavailable console type {kind}.")
    token = issue(tx, row, kind)
    return {"remote_console": {"protocol": protocol, "type": kind, "url": _url(req, kind, token)}}


def _old(key: str) -> Any:
    schema = always(wrapped(key, obj({"type": {"type": "string", "enum": _KINDS[key]}}, ["type"])))

    def handler(tx: Tx, req: Request) -> Any:
        row = server.for_request(tx, req, "os_compute_api:os-remote-consoles")
        kind = check_body(req, schema)[key]["type"]
        if kind not in ("novnc", "serial"):
            raise _unavailable(kind)
        token = issue(tx, row, kind)
        return {"console": {"type": kind, "url": _url(req, kind, token)}}

    return handler


def token_info(tx: Tx, req: Request) -> Any:
    """For the proxies of others: what a token opens."""
    found = redeem(tx, req["token"])
    if found is None:
        raise NotFoundHere("Token not found")
    return {
        "console": {
            "instance_uuid": found.server_id,
            "host": found.host,
            "port": 5900,
            "internal_access_path": None,
        }
    }


# --- other calls on a running guest --------------------------------------------------------------------


async def diagnostics(ctx: AsyncContext, req: Request) -> Any:
    """Counters of the machine: flat up to 2.47, in one shape for all hypervisors from 2.48 on."""

    def look(tx: Tx) -> Server:
        row = server.for_request(tx, req, "os_compute_api:os-server-diagnostics")
        check_state(
            row, "get_diagnostics", (states.ACTIVE, states.RESCUED, states.PAUSED, states.SUSPENDED), None
        )
        ready(tx, row)
        return row

    row = await ctx.read(look)
    try:
        raw = await ctx.call(row.host, "instance.diagnostics", Diagnostics(instance_id=row.id))
    except CallError as problem:
        raise Busy(f"Instance {row.id} is not ready: {problem}") from None
    flat = dict(msgspec.json.decode(raw))
    if req.microversion < (2, 48):
        return flat
    return _standard(row, flat)


def _standard(row: Server, flat: dict[str, Any]) -> dict[str, Any]:
    names = {states.RUNNING: "running", states.POWER_PAUSED: "paused", states.SHUTDOWN: "shutdown"}
    taps = sorted({k.removesuffix("_rx") for k in flat if k.endswith("_rx")})
    disks = sorted({k.removesuffix("_read_req") for k in flat if k.endswith("_read_req")})
    cpus = [k for k in flat if k.startswith("cpu") and k.endswith("_time")]
    return {
        "state": names.get(row.power_state, "pending"),
        "driver": "libvirt",
        "hypervisor": "qemu",
        "hypervisor_os": "linux",
        "uptime": max(0, int(flat.get("uptime", 0))),
        "config_drive": bool(row.config_drive),
        "num_cpus": row.flavor["vcpus"],
        "num_nics": len(taps),
        "num_disks": len(disks),
        "cpu_details": [
            {"id": i, "time": int(flat[k]), "utilisation": None} for i, k in enumerate(sorted(cpus))
        ],
        "memory_details": {"maximum": row.flavor["memory_mb"], "used": row.flavor["memory_mb"]},
        "nic_details": [
            {
                "mac_address": str(flat.get(f"{tap}_mac", "00:00:00:00:00:00")),
                **{
                    f"{way}_{word}": int(flat.get(f"{tap}_{way}{suffix}", 0))
                    for way in ("rx", "tx")
                    for word, suffix in (
                        ("octets", ""),
                        ("errors", "_errors"),
                        ("drop", "_drop"),
                        ("packets", "_packets"),
                    )
                },
                "rx_rate": None,
                "tx_rate": None,
            }
            for tap in taps
        ],
        "disk_details": [
            {
                "read_bytes": int(flat.get(f"{disk}_read", 0)),
                "read_requests": int(flat.get(f"{disk}_read_req", 0)),
                "write_bytes": int(flat.get(f"{disk}_write", 0)),
                "write_requests": int(flat.get(f"{disk}_write_req", 0)),
                "errors_count": int(flat.get(f"{disk}_errors", 0)),
            }
            for disk in disks
        ],
    }


async def change_password(ctx: AsyncContext, req: Request) -> Any:
    """Needs a guest agent, which our guests may lack; then nothing is changed and the answer says so."""

    def look(tx: Tx) -> tuple[Server, str]:
        row = server.for_request(tx, req, "os_compute_api:os-admin-password")
        asked = check_body(req, PASSWORD)["changePassword"]
        check_lock(row, req.caller)
        check_state(row, "changePassword", (states.ACTIVE,))
        ready(tx, row)
        return row, asked["adminPass"]

    row, password = await ctx.read(look)
    try:
        await ctx.call(row.host, "instance.set_password", SetPassword(instance_id=row.id, password=password))
    except CallError as problem:
        if problem.kind in ("unreachable", "timeout"):
            raise Busy(f"Unable to set password on instance: {problem}") from None
        raise Busy(
            f"Failed to set admin password on {row.id} because {problem}", type="InstancePasswordSetFailed"
        ) from None
    return Response(202)


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/servers/{server_id}"
    most = (2, 5)
    return [
        action_route("os-getConsoleOutput", output, status=200),
        action_route("changePassword", change_password),
        action_route("os-getVNCConsole", _old("os-getVNCConsole"), status=200, most=most),
        action_route("os-getSPICEConsole", _old("os-getSPICEConsole"), status=200, most=most),
        action_route("os-getSerialConsole", _old("os-getSerialConsole"), status=200, most=most),
        Route("POST", at + "/remote-consoles", remote, AUTHENTICATED, min_version=(2, 6)),
        Route("GET", at + "/diagnostics", diagnostics, AUTHENTICATED),
        Route(
            "GET",
            "/v2.1/os-console-auth-tokens/{token}",
            token_info,
            "os_compute_api:os-console-auth-tokens",
            min_version=(2, 31),
        ),
    ]
