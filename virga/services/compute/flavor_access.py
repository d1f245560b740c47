"""Which projects may use a flavor that is not public, and the extra specs of flavors."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update

from virga.api.request import Request
from virga.api.routing import Route
from virga.db.tx import Tx
from virga.services.compute import flavor
from virga.services.compute.faults import Busy, Invalid, NotFoundHere
from virga.services.compute.identity import verify_project
from virga.services.compute.models import flavor as table
from virga.services.compute.models import flavor_access
from virga.services.compute.schema import PROJECT_ID, always, check_body, obj, wrapped
from virga.settings import Settings

_TENANT = obj({"tenant": PROJECT_ID}, ["tenant"])
ADD = always(obj({"addTenantAccess": _TENANT}, ["addTenantAccess"]))
REMOVE = always(obj({"removeTenantAccess": _TENANT}, ["removeTenantAccess"]))
_SPECS = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. ]{1,255}$": {"type": ["string", "number"], "maxLength": 255}},
    "additionalProperties": False,
}
CREATE_SPECS = always(wrapped("extra_specs", _SPECS))
UPDATE_SPEC = always(_SPECS | {"minProperties": 1, "maxProperties": 1})


def _access(tx: Tx, flavor_id: str) -> Any:
    rows = tx.all(select(flavor_access).where(flavor_access.c.flavor_id == flavor_id))
    return {"flavor_access": [{"flavor_id": r.flavor_id, "tenant_id": r.project_id} for r in rows]}


def index(tx: Tx, req: Request) -> Any:
    row = flavor.get(tx, req.caller, req["flavor_id"])
    if row.is_public:
        raise NotFoundHere("Access list not available for public flavors.")
    return _access(tx, row.id)


def add(tx: Tx, req: Request) -> Any:
    project_id = check_body(req, ADD)["addTenantAccess"]["tenant"]
    verify_project(tx, project_id)
    row = flavor.get(tx, req.caller, req["flavor_id"])
    if req.microversion >= (2, 7) and row.is_public:
        raise Busy("Can not add access to a public flavor.")
    if any(a["tenant_id"] == project_id for a in _access(tx, row.id)["flavor_access"]):
        raise Busy(
            f"Flavor access already exists for flavor {row.id} and project {project_id} combination.",
            type="FlavorAccessExists",
        )
    tx.execute(insert(flavor_access).values(flavor_id=row.id, project_id=project_id))
    return _access(tx, row.id)


def remove(tx: Tx, req: Request) -> Any:
    project_id = check_body(req, REMOVE)["removeTenantAccess"]["tenant"]
    row = flavor.get(tx, req.caller, req["flavor_id"])
    gone = tx.execute(
        sql_delete(flavor_access).where(
            flavor_access.c.flavor_id == row.id, flavor_access.c.project_id == project_id
        )
    )
    if gone.rowcount == 0:
        raise NotFoundHere(
            f"Flavor access not found for {row.id} / {project_id} combination.", type="FlavorAccessNotFound"
        )
    return _access(tx, row.id)


def specs(tx: Tx, req: Request) -> Any:
    return {"extra_specs": flavor.get(tx, req.caller, req["flavor_id"]).extra_specs}


def _save(tx: Tx, flavor_id: str, found: dict[str, Any]) -> None:
    tx.execute(update(table).where(table.c.id == flavor_id).values(extra_specs=found, updated_at=tx.now))


def _texts(req: Request, asked: dict[str, Any]) -> dict[str, str]:
    for name, value in asked.items():
        if len(str(value)) > 255:
            raise Invalid("extra_specs value has more than 255 characters.")
        _check_known(req, name, value)
    return {name: str(value) for name, value in asked.items()}


def _check_known(req: Request, name: str, value: Any) -> None:
    """From 2.86 the specs that have a meaning must have a possible value."""
    if req.microversion < (2, 86):
        return
    numeric = {"hw:cpu_sockets", "hw:cpu_cores", "hw:cpu_threads", "hw:numa_nodes", "hw:serial_port_count"}
    choices = {
        "hw:cpu_policy": ("dedicated", "shared", "mixed"),
        "hw:cpu_thread_policy": ("prefer", "isolate", "require"),
    }
    if name in numeric and not str(value).isdecimal():
        raise Invalid(
            f"Validation failed; extra spec '{name}' has invalid value '{value}': an integer is expected"
        )
    if name in choices and str(value) not in choices[name]:
        raise Invalid(
            f"Validation failed; extra spec '{name}' has invalid value '{value}'. Allowed values are: {choices[name]}"
        )
    space, colon, _rest = name.partition(":")
    if colon and space == "hw" and name not in numeric and name not in choices and "numa" not in name:
        known = (
            "hw:mem_page_size",
            "hw:watchdog_action",
            "hw:boot_menu",
            "hw:mem_encryption",
            "hw:cpu_realtime",
            "hw:cpu_realtime_mask",
            "hw:emulator_threads_policy",
            "hw:pci_numa_affinity_policy",
            "hw:pmem",
            "hw:max_vcpus",
            "hw:tpm_model",
            "hw:tpm_version",
            "hw:vif_multiqueue_enabled",
            "hw:cpu_max_sockets",
            "hw:cpu_max_cores",
            "hw:cpu_max_threads",
            "hw:cpu_dedicated_mask",
            "hw:locked_memory",
            "hw:hide_hypervisor_id",
            "hw:virtio_packed_ring",
            "hw:live_migration_timeout",
            "hw:maxphysaddr_mode",
            "hw:maxphysaddr_bits",
            "hw:viommu_model",
            "hw:ephemeral_encryption",
            "hw:sound_model",
            "hw:usb_model",
            "hw:redirected_usb_ports",
            "hw:tpm_secret_security",
        )
        if not name.startswith(known):
            raise Invalid(f"Validation failed; extra spec '{name}' does not appear to be a valid extra spec.")


def create_specs(tx: Tx, req: Request) -> Any:
    asked = _texts(req, check_body(req, CREATE_SPECS)["extra_specs"])
    row = flavor.get(tx, req.caller, req["flavor_id"])
    _save(tx, row.id, row.extra_specs | asked)
    return req.body


def update_spec(tx: Tx, req: Request) -> Any:
    asked = _texts(req, check_body(req, UPDATE_SPEC))
    if req["key"] not in asked:
        raise Invalid("Request body and URI mismatch")
    row = flavor.get(tx, req.caller, req["flavor_id"])
    _save(tx, row.id, row.extra_specs | asked)
    return req.body


def _spec(row: Any, key: str) -> str:
    if key not in row.extra_specs:
        raise NotFoundHere(f"Flavor {row.id} has no extra specs with key {key}.")
    return str(row.extra_specs[key])


def show_spec(tx: Tx, req: Request) -> Any:
    row = flavor.get(tx, req.caller, req["flavor_id"])
    return {req["key"]: _spec(row, req["key"])}


def delete_spec(tx: Tx, req: Request) -> Any:
    row = flavor.get(tx, req.caller, req["flavor_id"])
    _spec(row, req["key"])
    _save(tx, row.id, {k: v for k, v in row.extra_specs.items() if k != req["key"]})


def routes(settings: Settings) -> list[Route]:
    access, spec = "os_compute_api:os-flavor-access", "os_compute_api:os-flavor-extra-specs:"
    at = "/v2.1/flavors/{flavor_id}"
    return [
        Route("GET", at + "/os-flavor-access", index, access),
        Route("POST", at + "/action", add, access + ":add_tenant_access", action="addTenantAccess"),
        Route("POST", at + "/action", remove, access + ":remove_tenant_access", action="removeTenantAccess"),
        Route("GET", at + "/os-extra_specs", specs, spec + "index"),
        Route("POST", at + "/os-extra_specs", create_specs, spec + "create"),
        Route("GET", at + "/os-extra_specs/{key}", show_spec, spec + "show"),
        Route("PUT", at + "/os-extra_specs/{key}", update_spec, spec + "update"),
        Route("DELETE", at + "/os-extra_specs/{key}", delete_spec, spec + "delete"),
    ]
