"""All URLs of Block Storage. Each file of a resource lists its own, with who may."""

from __future__ import annotations

from virga.api.routing import Route, ServiceApi
from virga.services.block_storage import (
    attachment_api,
    backup,
    backup_record,
    group,
    group_type,
    manage,
    message,
    qos_specs,
    quota_api,
    service_api,
    snapshot_api,
    transfer,
    version,
    volume_action,
    volume_api,
    volume_create,
    volume_type_api,
    volume_type_encryption,
)
from virga.services.block_storage.faults import Invalid, envelope, page_not_found
from virga.services.block_storage.policies import POLICIES
from virga.settings import Settings

RESOURCES = (
    version,
    volume_create,
    volume_api,
    manage,
    volume_action,
    snapshot_api,
    attachment_api,
    volume_type_api,
    qos_specs,
    volume_type_encryption,
    transfer,
    backup,
    backup_record,
    group_type,
    group,
    quota_api,
    service_api,
    message,
)


def routes(settings: Settings) -> list[Route]:
    found = [route for resource in RESOURCES for line in resource.routes(settings) for route in line.routes()]
    return [*version.plain_routes(), *found]


def service(settings: Settings) -> ServiceApi:
    """Block Storage as the edge serves it."""
    return ServiceApi(
        name="block-storage",
        prefix="/volume",
        routes=routes(settings),
        envelope=envelope,
        policies=POLICIES,
        microversions=version.MICROVERSIONS,
        request_id_headers=("x-openstack-request-id", "x-compute-request-id"),
        not_found=page_not_found,
        malformed=lambda reason: Invalid("Malformed request body"),
    )
