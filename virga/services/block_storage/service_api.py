"""What operators see: services, hosts, pools, capabilities."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update

from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.block_storage import host
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid, Missing
from virga.services.block_storage.models import volume, volume_snapshot
from virga.services.block_storage.models import volume_service as table
from virga.services.block_storage.schema import Body, obj, query_truth
from virga.settings import Settings

CHANGE = Body(
    obj(
        {
            "host": {"type": "string", "minLength": 1, "maxLength": 255},
            "service": {"type": "string", "minLength": 1, "maxLength": 255},
            "binary": {"type": "string", "minLength": 1, "maxLength": 255},
            "disabled_reason": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
        },
        ["host"],
        extra=True,
    )
)


def _name(row: Any) -> str:
    return host.backend(row.host) if row.binary == "cinder-volume" else str(row.host)


def _view(req: Request, tx: Tx, row: Any) -> dict[str, Any]:
    body = {
        "binary": row.binary,
        "host": _name(row),
        "zone": host.ZONE,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if host.is_up(row, tx.now) else "down",
        "updated_at": iso_micro(row.seen_at, ""),
        "disabled_reason": row.disabled_reason,
    }
    if row.binary == "cinder-volume":
        body |= {"replication_status": "disabled", "active_backend_id": None, "frozen": False}
        if req.microversion >= (3, 49):
            body["backend_state"] = body["state"]
    if req.microversion >= (3, 7):
        body["cluster"] = None
    return body


def index(tx: Tx, req: Request) -> Any:
    rows = host.services(tx, req.param("binary") or req.param("service"))
    if wanted := req.param("host"):
        rows = [row for row in rows if wanted in (row.host, _name(row))]
    return {"services": [_view(req, tx, row) for row in rows]}


def _change(tx: Tx, req: Request, disabled: bool, reason: bool) -> dict[str, Any]:
    asked = CHANGE.check(req)
    binary = asked.get("binary") or asked.get("service") or ""
    name = asked["host"]
    row = host.service_of(tx, name.partition("@")[0], binary)
    if row is None:
        raise Missing(f"Service {binary} could not be found on host {name}.", type="ServiceNotFound")
    if reason and not asked.get("disabled_reason"):
        raise Invalid(
            "Invalid input for field/attribute disabled_reason. Value: None. None is not of type 'string'"
        )
    why = asked.get("disabled_reason") if reason else None
    tx.execute(
        update(table).where(table.c.number == row.number).values(disabled=disabled, disabled_reason=why)
    )
    body = {
        "host": name,
        "service": binary,
        "binary": binary,
        "disabled": disabled,
        "status": "disabled" if disabled else "enabled",
    }
    if reason or not disabled:
        body["disabled_reason"] = why
    return body


def enable(tx: Tx, req: Request) -> Any:
    return _change(tx, req, False, False)


def disable(tx: Tx, req: Request) -> Any:
    return _change(tx, req, True, False)


def disable_with_reason(tx: Tx, req: Request) -> Any:
    return _change(tx, req, True, True)


def _switch(tx: Tx, req: Request) -> Any:
    name = CHANGE.check(req)["host"]
    if host.service_of(tx, name.partition("@")[0]) is None:
        raise Invalid(f"Service cinder-volume could not be found on host {name}.", type="ServiceNotFound")
    raise Invalid("Replication is not enabled on this host.")


def hosts(tx: Tx, req: Request) -> Any:
    return {
        "hosts": [
            {
                "host_name": _name(row),
                "service": row.binary,
                "zone": host.ZONE,
                "service-status": "available" if host.is_up(row, tx.now) else "unavailable",
                "service-state": "disabled" if row.disabled else "enabled",
                "last-update": iso_micro(row.seen_at, ""),
            }
            for row in host.services(tx)
            if req.param("service") in (None, row.binary) and req.param("zone") in (None, host.ZONE)
        ]
    }


def show_host(tx: Tx, req: Request) -> Any:
    name = req["host"]
    row = host.service_of(tx, name.partition("@")[0])
    if row is None:
        raise Missing(f"Host {name} could not be found.", type="HostNotFound")
    found = []
    projects = tx.all(select(volume.c.project_id).where(volume.c.host == row.host).distinct())
    for project in [None, *(one.project_id for one in projects)]:
        found.append({"resource": _resource(tx, name, row.host, project)})
    return {"host": found}


def _resource(tx: Tx, name: str, host_name: str, project: str | None) -> dict[str, str]:
    here = [volume.c.host == host_name] + ([volume.c.project_id == project] if project else [])
    counted = select(func.count(), func.coalesce(func.sum(volume.c.size), 0)).where(*here)
    taken = (
        select(func.count(), func.coalesce(func.sum(volume_snapshot.c.size), 0))
        .join(volume, volume.c.id == volume_snapshot.c.volume_id)
        .where(*here)
    )
    volumes, snapshots = tx.first(counted), tx.first(taken)
    assert volumes is not None and snapshots is not None
    return {
        "host": name,
        "project": project or "(total)",
        "volume_count": str(volumes[0]),
        "total_volume_gb": str(volumes[1]),
        "snapshot_count": str(snapshots[0]),
        "total_snapshot_gb": str(snapshots[1]),
    }


def _pools(tx: Tx, req: Request, overcommit: float) -> Any:
    found = []
    detailed = query_truth("detail", req.param("detail") or "false")
    for row in host.services(tx, "cinder-volume"):
        body: dict[str, Any] = {"name": host.pool(row.host)}
        if detailed:
            body["capabilities"] = {
                "timestamp": iso_micro(row.seen_at, ""),
                **host.capabilities(row),
                "provisioned_capacity_gb": host.provisioned(tx, row.host),
                "max_over_subscription_ratio": str(overcommit),
                "backend_state": "up" if host.is_up(row, tx.now) else "down",
            }
        found.append(body)
    return {"pools": found}


def capabilities(tx: Tx, req: Request) -> Any:
    name = req["host"]
    if host.service_of(tx, name.partition("@")[0]) is None:
        raise Missing(f"Service cinder-volume could not be found on host {name}.", type="ServiceNotFound")
    return {
        "namespace": f"OS::Storage::Capabilities::{name}",
        "vendor_name": "Open Source",
        "volume_backend_name": host.BACKEND,
        "pool_name": None,
        "driver_version": "1.0",
        "storage_protocol": "iSCSI",
        "display_name": None,
        "description": None,
        "visibility": None,
        "replication_targets": [],
        "properties": {},
    }


def routes(settings: Settings) -> list[Both]:
    def pools(tx: Tx, req: Request) -> Any:
        return _pools(tx, req, settings.volume_overcommit)

    services, change = "volume_extension:services:index", "volume_extension:services:update"
    return [
        Both("GET", "/os-services", index, services),
        Both("PUT", "/os-services/enable", enable, change),
        Both("PUT", "/os-services/disable", disable, change),
        Both("PUT", "/os-services/disable-log-reason", disable_with_reason, change),
        Both("PUT", "/os-services/freeze", _switch, change),
        Both("PUT", "/os-services/thaw", _switch, change),
        Both("PUT", "/os-services/failover_host", _switch, change),
        Both("GET", "/os-hosts", hosts, "volume_extension:hosts"),
        Both("GET", "/os-hosts/{host}", show_host, "volume_extension:hosts"),
        Both("GET", "/scheduler-stats/get_pools", pools, "scheduler_extension:scheduler_stats:get_pools"),
        Both("GET", "/capabilities/{host}", capabilities, "volume_extension:capabilities"),
    ]
