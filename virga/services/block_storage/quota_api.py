"""Quota sets, their usage and defaults, quota classes, and limits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED
from virga.db.tx import Tx
from virga.services.block_storage import quota, schema
from virga.services.block_storage.both import Both
from virga.services.block_storage.faults import Invalid
from virga.services.block_storage.models import volume_quota as table
from virga.services.block_storage.schema import Body, query_truth, wrapped
from virga.settings import Settings

_VALUES = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,300}$": schema.QUOTA},
    "additionalProperties": False,
}
SET = Body(
    wrapped("quota_set", {**_VALUES, "properties": {"tenant_id": schema.TEXT, "force": schema.BOOLEAN}})
)
CLASS = Body(wrapped("quota_class_set", {**_VALUES, "properties": {"class_name": schema.TEXT}}))
POLICY = "volume_extension:quotas:"


def show(tx: Tx, req: Request) -> Any:
    project = req["target_id"]
    req.enforce(POLICY + "show", {"project_id": project})
    limits = quota.limits(tx, project)
    if query_truth("usage", req.param("usage") or "false"):
        used = quota.usage(tx, project)
        whole = {
            name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0}
            for name, limit in limits.items()
        }
        return {"quota_set": {"id": project, **whole}}
    return {"quota_set": {"id": project, **limits}}


def defaults(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "show", {"project_id": req["target_id"]})
    return {"quota_set": {"id": req["target_id"], **quota.class_limits(tx)}}


def update(tx: Tx, req: Request) -> Any:
    asked = dict(SET.check(req)["quota_set"])
    project = req["target_id"]
    asked.pop("tenant_id", None)
    asked.pop("force", None)
    if not asked:
        raise Invalid(
            "Invalid input for field/attribute quota_set. Value: {}. {} does not have enough properties"
        )
    _check_names(tx, asked)
    used = quota.usage(tx, project)
    low = [n for n, v in asked.items() if 0 <= int(v) < used.get(n, 0)]
    if low and query_truth("skip_validation", req.param("skip_validation") or "true") is False:
        raise Invalid(f"Invalid input: quota values of {', '.join(low)} are below what is used.")
    for name, value in asked.items():
        _write(tx, "project", project, name, int(value))
    return {"quota_set": quota.limits(tx, project)}


def _check_names(tx: Tx, asked: dict[str, Any]) -> None:
    known = quota.resources(tx)
    bad = [name for name in asked if name not in known]
    if bad:
        raise Invalid(f"Bad key(s) in quota set: {', '.join(bad)}")


def _write(tx: Tx, scope: str, owner: str, name: str, limit: int) -> None:
    mine = (table.c.scope == scope, table.c.owner == owner, table.c.resource == name)
    tx.execute(sql_delete(table).where(*mine))
    tx.execute(insert(table).values(scope=scope, owner=owner, resource=name, hard_limit=limit))


def remove(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "delete", {"project_id": req["target_id"]})
    tx.execute(sql_delete(table).where(table.c.scope == "project", table.c.owner == req["target_id"]))
    return Response(200)


def show_class(tx: Tx, req: Request) -> Any:
    return {"quota_class_set": {"id": req["name"], **quota.class_limits(tx, req["name"])}}


def update_class(tx: Tx, req: Request) -> Any:
    asked = dict(CLASS.check(req)["quota_class_set"])
    asked.pop("class_name", None)
    _check_names(tx, asked)
    for name, value in asked.items():
        _write(tx, "class", req["name"], name, int(value))
    return {"quota_class_set": quota.class_limits(tx, req["name"])}


LIMITS = {
    "maxTotalVolumes": "volumes",
    "maxTotalSnapshots": "snapshots",
    "maxTotalVolumeGigabytes": "gigabytes",
    "maxTotalBackups": "backups",
    "maxTotalBackupGigabytes": "backup_gigabytes",
}
USED = {
    "totalVolumesUsed": "volumes",
    "totalSnapshotsUsed": "snapshots",
    "totalGigabytesUsed": "gigabytes",
    "totalBackupsUsed": "backups",
    "totalBackupGigabytesUsed": "backup_gigabytes",
}


def limits(tx: Tx, req: Request) -> Any:
    project = req.caller.project_id or ""
    if (
        req.microversion >= (3, 39)
        and req.caller.is_admin
        and (asked := req.param("project_id") or req.param("tenant_id"))
    ):
        project = asked
    held, used = quota.limits(tx, project), quota.usage(tx, project)
    absolute = {name: held[kind] for name, kind in LIMITS.items()}
    absolute |= {name: used[kind] for name, kind in USED.items()}
    return {"limits": {"rate": [], "absolute": absolute}}


def routes(settings: Settings) -> list[Both]:
    at, klass = "/os-quota-sets/{target_id}", "volume_extension:quota_classes:"
    return [
        Both("GET", at, show, AUTHENTICATED),
        Both("PUT", at, update, POLICY + "update"),
        Both("DELETE", at, remove, POLICY + "delete"),
        Both("GET", at + "/defaults", defaults, AUTHENTICATED),
        Both("GET", "/os-quota-class-sets/{name}", show_class, klass + "get"),
        Both("PUT", "/os-quota-class-sets/{name}", update_class, klass + "update"),
        Both("GET", "/limits", limits, "volume:get_limits"),
    ]
