"""Quota sets of projects and users, their details and defaults, the default class; and limits."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.services.compute import limit_table
from virga.services.compute.faults import Invalid
from virga.services.compute.identity import verify_project
from virga.services.compute.models import compute_quota as table
from virga.services.compute.schema import (
    BOOLEAN,
    TEXT,
    V21,
    Schema,
    Versioned,
    check_body,
    check_query,
    obj,
    several,
    truth,
    wrapped,
)
from virga.settings import Settings

POLICY = "os_compute_api:os-quota-sets:"
_NUMBER: Schema = {
    "type": ["integer", "string"],
    "pattern": "^-?[0-9]+$",
    "minimum": -1,
    "maximum": 0x7FFFFFFF,
}
NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules", "networks")
FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
BASE = ("instances", "cores", "ram", "metadata_items", "key_pairs", "server_groups", "server_group_members")


def shown(version: tuple[int, int], class_set: bool = False) -> list[str]:
    """The resources that a microversion knows."""
    names = [*BASE]
    if class_set and version < (2, 50):
        names = [n for n in names if n not in ("server_groups", "server_group_members")]
    if version < (2, 57):
        names += FILES
    if version < (2, 36) or (class_set and version < (2, 50)):
        names += [n for n in NETWORK if n != "networks"]
    return names


def _update_schema(version: tuple[int, int], class_set: bool = False) -> Schema:
    names = [*BASE, *FILES, *NETWORK]
    if version >= (2, 36 if not class_set else 50):
        names = [n for n in names if n not in NETWORK]
    if version >= (2, 57):
        names = [n for n in names if n not in FILES]
    properties = dict.fromkeys(names, _NUMBER)
    if not class_set:
        properties = properties | {"force": BOOLEAN}
    return wrapped("quota_class_set" if class_set else "quota_set", obj(properties))


UPDATE = Versioned(*((v, _update_schema(v)) for v in (V21, (2, 36), (2, 57))))
UPDATE_CLASS = Versioned(*((v, _update_schema(v, True)) for v in (V21, (2, 50), (2, 57))))
_USER = {"user_id": several(TEXT)}
QUERY = Versioned((V21, obj(_USER, extra=True)), ((2, 75), obj(_USER)))


def _subject(tx: Tx, req: Request, rule: str) -> tuple[str, str]:
    """Project of the URL and user of the query."""
    asked = check_query(req, QUERY)
    project_id = req["project_id"]
    req.enforce(POLICY + rule, {"project_id": project_id})
    verify_project(tx, project_id)
    return project_id, asked.get("user_id", [""])[0]


def _set(req: Request, limits: dict[str, Any], ident: str | None) -> dict[str, Any]:
    body = {name: limits[name] for name in shown(req.microversion)}
    return {"quota_set": ({"id": ident} if ident else {}) | body}


def show(tx: Tx, req: Request) -> Any:
    project_id, user_id = _subject(tx, req, "show")
    return _set(req, limit_table.limits_of(tx, project_id, user_id), project_id)


def detail(tx: Tx, req: Request) -> Any:
    project_id, user_id = _subject(tx, req, "detail")
    limits = limit_table.limits_of(tx, project_id, user_id)
    used = limit_table.usage_of(tx, project_id, user_id)
    if user_id:
        used["key_pairs"] = limit_table.keypairs_of(tx, user_id)
    whole = {name: {"in_use": used.get(name, 0), "limit": limits[name], "reserved": 0} for name in limits}
    return _set(req, whole, project_id)


def defaults(tx: Tx, req: Request) -> Any:
    req.enforce(POLICY + "defaults", {"project_id": req["project_id"]})
    verify_project(tx, req["project_id"])
    return _set(req, limit_table.defaults(tx), req["project_id"])


def update(tx: Tx, req: Request) -> Any:
    asked = dict(check_body(req, UPDATE)["quota_set"])
    project_id, user_id = _subject(tx, req, "update")
    force = truth(asked.pop("force", False))
    limits = limit_table.limits_of(tx, project_id)
    used = limit_table.usage_of(tx, project_id, user_id)
    for name, value in asked.items():
        limit = int(value)
        if user_id and 0 <= limits[name] < limit:
            raise Invalid(f"Quota limit {limit} for {name} must be less than or equal to {limits[name]}.")
        if not force and 0 <= limit < used.get(name, 0):
            raise Invalid(
                f"Quota limit {limit} for {name} must be greater than or equal to already used and reserved "
                f"{used[name]}."
            )
    for name, value in asked.items():
        _write(tx, "user" if user_id else "project", project_id, user_id, name, int(value))
    return _set(req, limit_table.limits_of(tx, project_id, user_id), None)


def _write(tx: Tx, scope: str, owner: str, user_id: str, name: str, limit: int) -> None:
    tx.execute(
        sql_delete(table).where(
            table.c.scope == scope,
            table.c.project_id == owner,
            table.c.user_id == user_id,
            table.c.resource == name,
        )
    )
    tx.execute(
        insert(table).values(scope=scope, project_id=owner, user_id=user_id, resource=name, hard_limit=limit)
    )


def remove(tx: Tx, req: Request) -> Any:
    project_id, user_id = _subject(tx, req, "delete")
    statement = sql_delete(table).where(table.c.project_id == project_id, table.c.scope != "class")
    tx.execute(statement.where(table.c.user_id == user_id) if user_id else statement)
    return Response(202)


def _class_set(req: Request, tx: Tx, name: str, ident: bool) -> Any:
    limits = limit_table.class_limits(tx, name)
    body = {n: limits[n] for n in shown(req.microversion, True)}
    return {"quota_class_set": ({"id": name} if ident else {}) | body}


def show_class(tx: Tx, req: Request) -> Any:
    return _class_set(req, tx, req["name"], True)


def update_class(tx: Tx, req: Request) -> Any:
    asked = check_body(req, UPDATE_CLASS)["quota_class_set"]
    for name, value in asked.items():
        _write(tx, "class", req["name"], "", name, int(value))
    return _class_set(req, tx, req["name"], False)


# --- limits --------------------------------------------------------------------------------------------

_LIMITS = {
    "maxServerMeta": "metadata_items",
    "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes",
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxTotalKeypairs": "key_pairs",
    "maxTotalFloatingIps": "floating_ips",
    "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
}
_TENANT = {"tenant_id": several(TEXT), "reserved": several(TEXT)}
LIMITS = Versioned(
    (V21, obj(_TENANT, extra=True)), ((2, 57), obj(_TENANT, extra=True)), ((2, 75), obj(_TENANT))
)


def limits(tx: Tx, req: Request) -> Any:
    asked = check_query(req, LIMITS)
    project_id = asked.get("tenant_id", [req.caller.project_id])[-1] or ""
    if project_id != req.caller.project_id:
        req.enforce("os_compute_api:limits:other_project", {"project_id": project_id})
    version = req.microversion
    found, used = limit_table.limits_of(tx, project_id), limit_table.usage_of(tx, project_id)
    names = dict(_LIMITS)
    absolute: dict[str, int] = {}
    if version >= (2, 36):
        names = {k: v for k, v in names.items() if v not in NETWORK}
    else:
        names["maxImageMeta"] = "metadata_items"
    if version >= (2, 57):
        names = {k: v for k, v in names.items() if v not in FILES}
    if (2, 36) <= version < (2, 39):
        names["maxImageMeta"] = "metadata_items"
    absolute |= {name: found[resource] for name, resource in names.items()}
    absolute |= {
        "totalRAMUsed": used["ram"],
        "totalCoresUsed": used["cores"],
        "totalInstancesUsed": used["instances"],
        "totalServerGroupsUsed": used["server_groups"],
    }
    if version < (2, 36):
        absolute |= {"totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0}
    return {"limits": {"rate": [], "absolute": absolute}}


def routes(settings: Settings) -> list[Route]:
    at = "/v2.1/os-quota-sets/{project_id}"
    klass = "os_compute_api:os-quota-class-sets:"
    return [
        Route("GET", at, show, AUTHENTICATED),
        Route("PUT", at, update, AUTHENTICATED),
        Route("DELETE", at, remove, AUTHENTICATED),
        Route("GET", at + "/detail", detail, AUTHENTICATED),
        Route("GET", at + "/defaults", defaults, AUTHENTICATED),
        Route("GET", "/v2.1/os-quota-class-sets/{name}", show_class, klass + "show"),
        Route("PUT", "/v2.1/os-quota-class-sets/{name}", update_class, klass + "update"),
        Route("GET", "/v2.1/limits", limits, "os_compute_api:limits"),
    ]
