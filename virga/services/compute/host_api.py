"""os-services, os-hypervisors, os-hosts, os-availability-zone: hosts as operators see them."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update

from virga.api.request import Request, Response
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.lib.ids import is_uuid_like
from virga.services.compute import host as hosts
from virga.services.compute.faults import Busy, Invalid, NotFoundHere, NotImplementedHere
from virga.services.compute.models import aggregate_host, server
from virga.services.compute.models import compute_service as table
from virga.services.compute.page import after_marker, limit_of, next_link
from virga.services.compute.schema import (
    BOOLEAN,
    FQDN,
    TEXT,
    V21,
    Versioned,
    always,
    check_body,
    check_query,
    obj,
    several,
    truth,
)
from virga.services.compute.server import instance_name
from virga.services.placement import provider_removal
from virga.settings import Settings

_LIST = {"host": several(TEXT), "binary": several(TEXT)}
LIST = Versioned((V21, obj(_LIST, extra=True)), ((2, 75), obj(_LIST)))
_TARGET = {"host": FQDN, "binary": {"type": "string", "minLength": 1, "maxLength": 255}}
_REASON = {"disabled_reason": {"type": "string", "minLength": 1, "maxLength": 255}}
UPDATE = Versioned(
    (V21, obj(_TARGET | _REASON, ["host", "binary"])),
    ((2, 11), obj(_TARGET | _REASON | {"forced_down": BOOLEAN}, ["host", "binary"])),
)
UPDATE_253 = Versioned(
    (
        V21,
        obj(
            {"status": {"type": "string", "enum": ["enabled", "disabled"]}, "forced_down": BOOLEAN} | _REASON
        ),
    )
)


def _words(*names: str) -> list[str]:
    """Each word in the three spellings that clients use."""
    return [spelling for name in names for spelling in (name, name.capitalize(), name.upper())]


def _zone(row: Any, zones: dict[str, str]) -> str:
    return zones.get(row.host, hosts.DEFAULT_ZONE) if row.binary == "nova-compute" else hosts.INTERNAL_ZONE


def _view(req: Request, row: Any, zones: dict[str, str], now: int) -> dict[str, Any]:
    version = req.microversion
    body = {
        "id": row.id if version >= (2, 53) else row.number,
        "binary": row.binary,
        "host": row.host,
        "zone": _zone(row, zones),
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if hosts.is_up(row, now) else "down",
        "updated_at": iso_micro(now if row.binary != "nova-compute" else row.updated_at, ""),
        "disabled_reason": row.disabled_reason,
    }
    if version >= (2, 11):
        body["forced_down"] = row.forced_down
    return body


def index(tx: Tx, req: Request) -> Any:
    asked = check_query(req, LIST)
    statement = select(table).order_by(table.c.number)
    for name in ("host", "binary"):
        if name in asked:
            statement = statement.where(table.c[name] == asked[name][-1])
    zones = hosts.zones_by_host(tx)
    return {"services": [_view(req, row, zones, tx.now) for row in tx.all(statement)]}


def _named(tx: Tx, host: str, binary: str) -> Any:
    row = tx.first(select(table).where(table.c.host == host, table.c.binary == binary))
    if row is None:
        raise NotFoundHere(f"Could not find binary {binary} on host {host}.", type="HostBinaryNotFound")
    return row


def _save(tx: Tx, row: Any, **values: Any) -> Any:
    tx.execute(update(table).where(table.c.number == row.number).values(**values))
    return tx.first(select(table).where(table.c.number == row.number))


def old_update(tx: Tx, req: Request) -> Any:
    """Up to 2.52 the verb is in the URL."""
    asked = check_body(req, UPDATE)
    action = req["service_id"]
    if action not in ("enable", "disable", "disable-log-reason", "force-down"):
        raise NotFoundHere("The resource could not be found.")
    if action == "force-down" and req.microversion < (2, 11):
        raise NotFoundHere("The resource could not be found.")
    row = _named(tx, asked["host"], asked["binary"])
    body: dict[str, Any] = {"host": row.host, "binary": row.binary}
    if action == "enable":
        _save(tx, row, disabled=False, disabled_reason=None)
        body["status"] = "enabled"
    elif action == "disable":
        _save(tx, row, disabled=True)
        body["status"] = "disabled"
    elif action == "disable-log-reason":
        if not asked.get("disabled_reason"):
            raise Invalid("Missing disabled reason field")
        _save(tx, row, disabled=True, disabled_reason=asked["disabled_reason"])
        body |= {"status": "disabled", "disabled_reason": asked["disabled_reason"]}
    else:
        if "forced_down" not in asked:
            raise Invalid("Missing forced_down field")
        _save(tx, row, forced_down=truth(asked["forced_down"]))
        body["forced_down"] = truth(asked["forced_down"])
    return {"service": body}


def new_update(tx: Tx, req: Request) -> Any:
    """From 2.53 on services are known by UUID."""
    asked = check_body(req, UPDATE_253)
    row = _by_id(tx, req)
    if row.binary != "nova-compute":
        raise Invalid(
            "Updating a nova-{} service is not supported. Only nova-compute services can be updated.".format(
                row.binary.removeprefix("nova-")
            )
        )
    values: dict[str, Any] = {}
    if "status" in asked:
        values["disabled"] = asked["status"] == "disabled"
        if asked["status"] == "enabled":
            values["disabled_reason"] = None
    if "disabled_reason" in asked:
        if asked.get("status") != "disabled":
            raise Invalid("Specifying disabled_reason requires that status is 'disabled'.")
        values["disabled_reason"] = asked["disabled_reason"]
    if "forced_down" in asked:
        values["forced_down"] = truth(asked["forced_down"])
    if not values:
        raise Invalid("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    row = _save(tx, row, **values)
    return {"service": _view(req, row, hosts.zones_by_host(tx), tx.now)}


def _by_id(tx: Tx, req: Request) -> Any:
    ident = req["service_id"]
    if req.microversion >= (2, 53):
        if not is_uuid_like(ident):
            raise Invalid(f"Invalid uuid {ident}")
        row = tx.first(select(table).where(table.c.id == ident))
    else:
        if not ident.isdecimal():
            raise Invalid(f"invalid literal for int() with base 10: '{ident}'")
        row = tx.first(select(table).where(table.c.number == int(ident)))
    if row is None:
        raise NotFoundHere(f"Service {ident} not found.", type="ServiceNotFound")
    return row


def remove(tx: Tx, req: Request) -> Any:
    row = _by_id(tx, req)
    if row.binary == "nova-compute":
        used = tx.scalar(
            select(func.count())
            .select_from(server)
            .where(server.c.host == row.host, server.c.deleted.is_(False))
        )
        if used:
            raise Busy(
                "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
            )
        tx.execute(sql_delete(aggregate_host).where(aggregate_host.c.host == row.host))
        provider_removal.remove(tx, row.node_id)
    tx.execute(sql_delete(table).where(table.c.number == row.number))
    return Response(204)


# --- hypervisors ---------------------------------------------------------------------------------------

_HYPERVISORS = {
    "limit": several({"type": ["integer", "string"], "pattern": "^[0-9]*$", "minimum": 0, "minLength": 1}),
    "marker": several(TEXT),
    "hypervisor_hostname_pattern": several({"type": "string", "minLength": 1}),
    "with_servers": several(BOOLEAN),
}


def _hypervisor(req: Request, tx: Tx, row: Any, whole: bool) -> dict[str, Any]:
    version = req.microversion
    body: dict[str, Any] = {
        "id": row.node_id if version >= (2, 53) else row.number,
        "hypervisor_hostname": row.host,
        "state": "up" if hosts.is_up(row, tx.now) else "down",
        "status": "disabled" if row.disabled else "enabled",
    }
    if not whole:
        return body
    found = row.resources or {}
    body |= {
        "service": {
            "id": row.id if version >= (2, 53) else row.number,
            "host": row.host,
            "disabled_reason": row.disabled_reason,
        },
        "hypervisor_type": found.get("hypervisor_type", "QEMU"),
        "hypervisor_version": found.get("hypervisor_version", 0),
        "host_ip": found.get("host_ip", "127.0.0.1"),
    }
    if version >= (2, 88):
        body["uptime"] = None
        return body
    used = _used(tx, row.host)
    cpu = found.get("cpu_info", "{}")
    body |= {
        "vcpus": found.get("vcpus", 0),
        "memory_mb": found.get("memory_mb", 0),
        "local_gb": found.get("disk_gb", 0),
        "vcpus_used": used["vcpus"],
        "memory_mb_used": used["memory_mb"],
        "local_gb_used": used["disk_gb"],
        "free_ram_mb": found.get("memory_mb", 0) - used["memory_mb"],
        "free_disk_gb": found.get("disk_gb", 0) - used["disk_gb"],
        "current_workload": 0,
        "running_vms": used["count"],
        "disk_available_least": found.get("disk_gb", 0) - used["disk_gb"],
        "cpu_info": _cpu(cpu) if version >= (2, 28) else cpu,
    }
    return body


def _cpu(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}


def _used(tx: Tx, host: str) -> dict[str, int]:
    rows = tx.all(select(server.c.flavor).where(server.c.host == host, server.c.deleted.is_(False)))
    return {
        "vcpus": sum(r.flavor["vcpus"] for r in rows),
        "memory_mb": sum(r.flavor["memory_mb"] for r in rows),
        "disk_gb": sum(r.flavor["root_gb"] + r.flavor["ephemeral_gb"] for r in rows),
        "count": len(rows),
    }


def hypervisors(tx: Tx, req: Request, *, page_limit: int, whole: bool) -> Any:
    properties = {} if req.microversion < (2, 33) else {k: _HYPERVISORS[k] for k in ("limit", "marker")}
    if req.microversion >= (2, 53):
        properties = dict(_HYPERVISORS)
    schema = obj(properties, extra=req.microversion < (2, 75))
    asked = check_query(req, Versioned((V21, schema)))
    pattern = asked.get("hypervisor_hostname_pattern", [None])[-1]
    paged = req.microversion >= (2, 33)
    if pattern and (asked.get("limit") or asked.get("marker")):
        raise Invalid(
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported."
        )
    rows = [row for row in hosts.compute_services(tx) if not pattern or pattern in row.host]
    if pattern and not rows:
        raise NotFoundHere(f"No hypervisor matching '{pattern}' could be found.")
    key = "node_id" if req.microversion >= (2, 53) else "number"
    if paged:
        if (marker := req.param("marker")) and req.microversion >= (2, 53) and not is_uuid_like(marker):
            raise Invalid(f"Invalid uuid {marker}")
        rows = after_marker(rows, req.param("marker"), limit_of(req, page_limit), key)
    with_servers = truth(asked.get("with_servers", ["false"])[-1])
    items = []
    for row in rows:
        item = _hypervisor(req, tx, row, whole)
        if with_servers and (found := _servers(tx, row.host)):
            item["servers"] = found
        items.append(item)
    body: dict[str, Any] = {"hypervisors": items}
    path = "/v2.1/os-hypervisors" + ("/detail" if whole else "")
    if paged and (more := next_link(req, path, [str(getattr(r, key)) for r in rows], page_limit)):
        body["hypervisors_links"] = more
    return body


def _servers(tx: Tx, host: str) -> list[dict[str, str]]:
    rows = tx.all(
        select(server).where(server.c.host == host, server.c.deleted.is_(False)).order_by(server.c.number)
    )
    return [{"uuid": row.id, "name": instance_name(row)} for row in rows]


def _one(tx: Tx, req: Request) -> Any:
    ident = req["hypervisor_id"]
    if req.microversion >= (2, 53) and not is_uuid_like(ident):
        raise Invalid(f"Invalid uuid {ident}")
    for row in hosts.compute_services(tx):
        if ident == (row.node_id if req.microversion >= (2, 53) else str(row.number)):
            return row
    raise NotFoundHere(f"Hypervisor with ID '{ident}' could not be found.")


def hypervisor(tx: Tx, req: Request) -> Any:
    row = _one(tx, req)
    body = _hypervisor(req, tx, row, True)
    properties = {"with_servers": several(BOOLEAN)} if req.microversion >= (2, 53) else {}
    asked = check_query(req, Versioned((V21, obj(properties, extra=req.microversion < (2, 53)))))
    if truth(asked.get("with_servers", ["false"])[-1]) and (found := _servers(tx, row.host)):
        body["servers"] = found
    return {"hypervisor": body}


def statistics(tx: Tx, req: Request) -> Any:
    rows = [row for row in hosts.compute_services(tx) if not row.disabled]
    total: dict[str, int] = dict.fromkeys(
        [
            "count",
            "vcpus",
            "memory_mb",
            "local_gb",
            "vcpus_used",
            "memory_mb_used",
            "local_gb_used",
            "free_ram_mb",
            "free_disk_gb",
            "current_workload",
            "running_vms",
            "disk_available_least",
        ],
        0,
    )
    total["count"] = len(rows)
    for row in rows:
        found, used = row.resources or {}, _used(tx, row.host)
        for name, value in {
            "vcpus": found.get("vcpus", 0),
            "memory_mb": found.get("memory_mb", 0),
            "local_gb": found.get("disk_gb", 0),
            "vcpus_used": used["vcpus"],
            "memory_mb_used": used["memory_mb"],
            "local_gb_used": used["disk_gb"],
            "free_ram_mb": found.get("memory_mb", 0) - used["memory_mb"],
            "free_disk_gb": found.get("disk_gb", 0) - used["disk_gb"],
            "running_vms": used["count"],
            "disk_available_least": found.get("disk_gb", 0) - used["disk_gb"],
        }.items():
            total[name] += value
    return {"hypervisor_statistics": total}


def uptime(tx: Tx, req: Request) -> Any:
    row = _one(tx, req)
    if not hosts.is_up(row, tx.now):
        raise Invalid(f"Service is unavailable at this time. {row.host}")
    minutes = max(0, tx.now - row.created_at) // 60_000_000
    text = f" up {minutes // 60}:{minutes % 60:02d},  1 user,  load average: 0.00, 0.00, 0.00"
    return {"hypervisor": _hypervisor(req, tx, row, False) | {"uptime": text}}


def _matching(tx: Tx, req: Request) -> list[Any]:
    rows = [row for row in hosts.compute_services(tx) if req["hypervisor_id"] in row.host]
    if not rows:
        raise NotFoundHere(f"No hypervisor matching '{req['hypervisor_id']}' could be found.")
    return rows


def search(tx: Tx, req: Request) -> Any:
    return {"hypervisors": [_hypervisor(req, tx, row, False) for row in _matching(tx, req)]}


def servers(tx: Tx, req: Request) -> Any:
    items = []
    for row in _matching(tx, req):
        found = _servers(tx, row.host)
        items.append(_hypervisor(req, tx, row, False) | ({"servers": found} if found else {}))
    return {"hypervisors": items}


# --- zones and hosts -----------------------------------------------------------------------------------


def zones(tx: Tx, req: Request, *, whole: bool) -> Any:
    by_host = hosts.zones_by_host(tx)
    found: dict[str, dict[str, Any]] = {}
    for row in tx.all(select(table).order_by(table.c.host)):
        zone = _zone(row, by_host)
        if row.disabled and not whole:
            continue
        if zone == hosts.INTERNAL_ZONE and not whole:
            continue
        found.setdefault(zone, {}).setdefault(row.host, {})[row.binary] = {
            "available": hosts.is_up(row, tx.now),
            "active": not row.disabled,
            "updated_at": iso_micro(row.updated_at, ""),
        }
    return {
        "availabilityZoneInfo": [
            {"zoneName": name, "zoneState": {"available": True}, "hosts": there if whole else None}
            for name, there in sorted(found.items())
        ]
    }


def host_list(tx: Tx, req: Request) -> Any:
    by_host = hosts.zones_by_host(tx)
    zone = req.param("zone")
    rows = [
        {"host_name": row.host, "service": row.binary.removeprefix("nova-"), "zone": _zone(row, by_host)}
        for row in tx.all(select(table).order_by(table.c.number))
    ]
    return {"hosts": [row for row in rows if not zone or zone == row["zone"]]}


_HOST_UPDATE = always(
    obj(
        {
            "status": {"type": "string", "enum": _words("enable", "disable")},
            "maintenance_mode": {"type": "string", "enum": _words("enable", "disable")},
        },
        minProperties=1,
    )
)


def host_update(tx: Tx, req: Request) -> Any:
    asked = check_body(req, _HOST_UPDATE)
    row = _host(tx, req)
    if "maintenance_mode" in asked:
        raise NotImplementedHere("Virt driver does not implement host maintenance mode.")
    disabled = asked["status"].strip().lower() == "disable"
    _save(tx, row, disabled=disabled)
    return {"host": row.host, "status": "disabled" if disabled else "enabled"}


def host_power(tx: Tx, req: Request) -> Any:
    """Our hosts are not ours to switch off."""
    _host(tx, req)
    raise NotImplementedHere("Virt driver does not implement host power management.")


def _host(tx: Tx, req: Request) -> Any:
    row = hosts.service_of(tx, req["host"])
    if row is None:
        raise NotFoundHere(f"Compute host {req['host']} could not be found.", type="ComputeHostNotFound")
    return row


def host_show(tx: Tx, req: Request) -> Any:
    row = hosts.service_of(tx, req["host"])
    if row is None:
        raise NotFoundHere(f"Compute host {req['host']} could not be found.", type="ComputeHostNotFound")
    found, used = row.resources or {}, _used(tx, row.host)

    def part(project: str, cpu: int, memory: int, disk: int) -> dict[str, Any]:
        return {
            "resource": {
                "host": row.host,
                "project": project,
                "cpu": cpu,
                "memory_mb": memory,
                "disk_gb": disk,
            }
        }

    total = part("(total)", found.get("vcpus", 0), found.get("memory_mb", 0), found.get("disk_gb", 0))
    now = part("(used_now)", used["vcpus"], used["memory_mb"], used["disk_gb"])
    most = part("(used_max)", used["vcpus"], used["memory_mb"], used["disk_gb"])
    return {"host": [total, now, most]}


def routes(settings: Settings) -> list[Route]:
    s, h = "os_compute_api:os-services:", "os_compute_api:os-hypervisors:"
    at, by_id = "/v2.1/os-hypervisors", "/v2.1/os-hypervisors/{hypervisor_id}"
    limit = settings.page_limit
    old, new = (2, 52), (2, 53)
    hosts_rule = "os_compute_api:os-hosts:"
    return [
        Route("GET", "/v2.1/os-services", index, s + "list"),
        Route("PUT", "/v2.1/os-services/{service_id}", old_update, s + "update", max_version=old),
        Route("PUT", "/v2.1/os-services/{service_id}", new_update, s + "update", min_version=new),
        Route("DELETE", "/v2.1/os-services/{service_id}", remove, s + "delete"),
        Route("GET", at, partial(hypervisors, page_limit=limit, whole=False), h + "list"),
        Route("GET", at + "/detail", partial(hypervisors, page_limit=limit, whole=True), h + "list-detail"),
        Route("GET", at + "/statistics", statistics, h + "statistics", max_version=(2, 87)),
        Route("GET", by_id, hypervisor, h + "show"),
        Route("GET", by_id + "/uptime", uptime, h + "uptime", max_version=(2, 87)),
        Route("GET", by_id + "/search", search, h + "search", max_version=old),
        Route("GET", by_id + "/servers", servers, h + "servers", max_version=old),
        Route(
            "GET",
            "/v2.1/os-availability-zone",
            partial(zones, whole=False),
            "os_compute_api:os-availability-zone:list",
        ),
        Route(
            "GET",
            "/v2.1/os-availability-zone/detail",
            partial(zones, whole=True),
            "os_compute_api:os-availability-zone:detail",
        ),
        Route("GET", "/v2.1/os-hosts", host_list, hosts_rule + "list", max_version=(2, 42)),
        Route("GET", "/v2.1/os-hosts/{host}", host_show, hosts_rule + "show", max_version=(2, 42)),
        Route("PUT", "/v2.1/os-hosts/{host}", host_update, hosts_rule + "update", max_version=(2, 42)),
        Route("GET", "/v2.1/os-hosts/{host}/reboot", host_power, hosts_rule + "reboot", max_version=(2, 42)),
        Route(
            "GET", "/v2.1/os-hosts/{host}/shutdown", host_power, hosts_rule + "shutdown", max_version=(2, 42)
        ),
        Route("GET", "/v2.1/os-hosts/{host}/startup", host_power, hosts_rule + "start", max_version=(2, 42)),
    ]
