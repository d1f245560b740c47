"""APIs that newer releases took away: they say so with 410; and the list of extensions, which stands still."""

from __future__ import annotations

from typing import Any

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import parse_iso
from virga.services.compute import server
from virga.services.compute.faults import Invalid, NotFoundHere, removed
from virga.services.compute.schema import UUID, V21, Versioned, check_body, obj
from virga.settings import Settings

GONE: dict[str, str] = {
    "os-agents": "GET POST",
    "os-agents/{id}": "PUT DELETE",
    "os-cells": "GET POST",
    "os-cells/capacities": "GET",
    "os-cells/detail": "GET",
    "os-cells/info": "GET",
    "os-cells/sync_instances": "POST",
    "os-cells/{id}": "GET PUT DELETE",
    "os-cells/{id}/capacities": "GET",
    "os-certificates": "POST",
    "os-certificates/{id}": "GET",
    "os-cloudpipe": "GET POST",
    "os-cloudpipe/{id}": "PUT",
    "os-fixed-ips/{id}": "GET",
    "os-fixed-ips/{id}/action": "POST",
    "os-floating-ip-dns": "GET",
    "os-floating-ip-dns/{id}": "PUT DELETE",
    "os-floating-ip-dns/{domain_id}/entries/{id}": "GET PUT DELETE",
    "os-floating-ips-bulk": "GET POST",
    "os-floating-ips-bulk/{id}": "GET PUT",
    "os-fping": "GET",
    "os-fping/{id}": "GET",
    "os-networks": "POST",
    "os-networks/add": "POST",
    "os-networks/{id}": "DELETE",
    "os-networks/{id}/action": "POST",
    "os-tenant-networks": "POST",
    "os-tenant-networks/{id}": "DELETE",
    "os-security-group-default-rules": "GET POST",
    "os-security-group-default-rules/{id}": "GET DELETE",
    "servers/{server_id}/consoles": "GET POST",
    "servers/{server_id}/consoles/{id}": "GET DELETE",
    "servers/{server_id}/os-virtual-interfaces": "GET",
}
_EVENTS = [
    *("network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"),
    *("volume-extended", "power-update", "accelerator-request-bound", "volume-reimaged"),
]
_EVENT = obj(
    {
        "server_uuid": UUID,
        "name": {"type": "string", "enum": _EVENTS},
        "status": {"type": "string", "enum": ["failed", "completed", "in-progress"]},
        "tag": {"type": "string", "maxLength": 255},
    },
    ["server_uuid", "name"],
)
EVENTS = Versioned((V21, obj({"events": {"type": "array", "minItems": 1, "items": _EVENT}}, ["events"])))
UPDATED = "2014-12-03T00:00:00Z"
EXTENSIONS = [
    "os-admin-actions",
    "os-admin-password",
    "os-agents",
    "os-aggregates",
    "os-assisted-volume-snapshots",
    "os-attach-interfaces",
    "os-availability-zone",
    "os-baremetal-nodes",
    "os-block-device-mapping",
    "os-cells",
    "os-config-drive",
    "os-console-output",
    "os-consoles",
    "os-create-backup",
    "os-deferred-delete",
    "os-evacuate",
    "os-extended-availability-zone",
    "os-extended-server-attributes",
    "os-extended-status",
    "os-extended-volumes",
    "os-flavor-access",
    "os-flavor-extra-specs",
    "os-flavor-manage",
    "os-floating-ips",
    "os-hosts",
    "os-hypervisors",
    "os-instance-actions",
    "os-keypairs",
    "os-lock-server",
    "os-migrate-server",
    "os-migrations",
    "os-multinic",
    "os-multiple-create",
    "os-networks",
    "os-pause-server",
    "os-quota-class-sets",
    "os-quota-sets",
    "os-remote-consoles",
    "os-rescue",
    "os-scheduler-hints",
    "os-security-groups",
    "os-server-diagnostics",
    "os-server-external-events",
    "os-server-groups",
    "os-server-password",
    "os-server-usage",
    "os-services",
    "os-shelve",
    "os-simple-tenant-usage",
    "os-suspend-server",
    "os-tenant-networks",
    "os-user-data",
    "os-volumes",
    "flavors",
    "image-size",
    "images",
    "ips",
    "limits",
    "server-metadata",
    "servers",
    "versions",
]


def gone(tx: Tx, req: Request) -> Any:
    raise removed()


def _extension(alias: str) -> dict[str, Any]:
    words = alias.removeprefix("os-").split("-")
    return {
        "name": "".join(word.capitalize() for word in words),
        "alias": alias,
        "description": " ".join(words).capitalize() + ".",
        "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml",
        "updated": UPDATED,
    }


def extensions(tx: Tx, req: Request) -> Any:
    return {"extensions": [_extension(alias) for alias in EXTENSIONS]}


def extension(tx: Tx, req: Request) -> Any:
    if req["alias"] not in EXTENSIONS:
        raise NotFoundHere("The resource could not be found.")
    return {"extension": _extension(req["alias"])}


def external_events(tx: Tx, req: Request) -> Any:
    """News of other services. Ours share the database, so there is only to say which servers exist."""
    answers, missing = [], False
    for event in check_body(req, EVENTS)["events"]:
        row = server.find(tx, event["server_uuid"])
        if row is None:
            missing = True
            answers.append({**event, "status": "failed", "code": 404})
        elif not row.host:
            missing = True
            answers.append({**event, "status": "failed", "code": 422})
        else:
            tx.touch("server", row.id)
            answers.append({"status": "completed", **event, "code": 200})
    if all(answer["code"] == 404 for answer in answers):
        raise NotFoundHere("No instances found for any event")
    return Response(207 if missing else 200, {"events": answers})


def audit_log(tx: Tx, req: Request) -> Any:
    before = req.path_params.get("before")
    if before is not None:
        try:
            parse_iso(before.replace(" ", "T"))
        except ValueError:
            raise Invalid(f"Invalid timestamp for date {before}") from None
    found = {
        "hosts_not_run": [],
        "log": {},
        "num_hosts": 0,
        "num_hosts_done": 0,
        "num_hosts_not_run": 0,
        "num_hosts_running": 0,
        "overall_status": "0 of 0 hosts done. 0 errors.",
        "period_beginning": "2014-12-03 00:00:00",
        "period_ending": "2014-12-03 00:00:00",
        "total_errors": 0,
        "total_instances": 0,
    }
    return {
        "instance_usage_audit_logs" if "before" not in req.path_params else "instance_usage_audit_log": found
    }


def routes(settings: Settings) -> list[Route]:
    found = [
        Route(method, f"/v2.1/{path}", gone, AUTHENTICATED)
        for path, methods in GONE.items()
        for method in methods.split()
    ]
    audit = "os_compute_api:os-instance-usage-audit-log:"
    return [
        *found,
        Route("GET", "/v2.1/extensions", extensions, "os_compute_api:extensions"),
        Route("GET", "/v2.1/extensions/{alias}", extension, "os_compute_api:extensions"),
        Route(
            "POST",
            "/v2.1/os-server-external-events",
            external_events,
            "os_compute_api:os-server-external-events:create",
        ),
        Route("GET", "/v2.1/os-instance_usage_audit_log", audit_log, audit + "list"),
        Route("GET", "/v2.1/os-instance_usage_audit_log/{before}", audit_log, audit + "show"),
    ]
