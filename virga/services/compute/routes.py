"""All URLs of Compute. Each file of a resource lists its own, with who may."""

from __future__ import annotations

from virga.api.faults import Fault
from virga.api.routing import Route, ServiceApi
from virga.services.compute import (
    action,
    action_delete,
    action_lock,
    action_power,
    action_rebuild,
    action_rescue,
    action_shelve,
    aggregate,
    console,
    flavor,
    flavor_access,
    gone,
    host_api,
    instance_action,
    interface,
    keypair,
    legacy_url,
    live_migration,
    migration,
    migration_of_server,
    proxy_image,
    proxy_network,
    proxy_security_group,
    proxy_volume,
    quota_set,
    resize,
    server_create,
    server_delete,
    server_group,
    server_list,
    server_metadata,
    server_update,
    snapshot,
    usage,
    version,
    volume_attachment,
)
from virga.services.compute.faults import envelope, page_not_found
from virga.services.compute.policies import POLICIES
from virga.settings import Settings

RESOURCES = (
    version,
    flavor,
    flavor_access,
    keypair,
    server_list,
    server_create,
    server_update,
    server_delete,
    server_group,
    instance_action,
    action_power,
    action_lock,
    action_rescue,
    action_rebuild,
    action_shelve,
    resize,
    snapshot,
    server_metadata,
    interface,
    volume_attachment,
    quota_set,
    host_api,
    aggregate,
    migration,
    migration_of_server,
    live_migration,
    usage,
    console,
    action_delete,
    proxy_security_group,
    proxy_volume,
    proxy_image,
    proxy_network,
    gone,
)


def routes(settings: Settings) -> list[Route]:
    found = [route for resource in RESOURCES for route in resource.routes(settings)]
    return [*found, action.fallback()]


def _forbidden(fault: Fault) -> Fault:
    return Fault(fault.message, status=403, type=fault.type)


def service(settings: Settings) -> ServiceApi:
    """Compute as the edge serves it."""
    return ServiceApi(
        name="compute",
        prefix="/compute",
        routes=routes(settings),
        envelope=envelope,
        empty_types=dict.fromkeys(("GET", "DELETE", "PUT", "POST"), "application/json"),
        fault_type="application/json; charset=UTF-8",
        project_scope=True,
        policies=POLICIES,
        microversions=version.MICROVERSIONS,
        request_id_headers=("x-openstack-request-id", "x-compute-request-id"),
        not_found=page_not_found,
        modernise=legacy_url.modernise,
    )
