"""All URLs of Placement, who may, and its version document."""

from __future__ import annotations

from typing import Any

from virga.api.faults import Fault, placement_envelope
from virga.api.microversion import Microversions, show
from virga.api.request import Request
from virga.api.routing import PUBLIC, Route, ServiceApi
from virga.db.tx import Tx
from virga.services.placement import (
    allocation_api,
    candidate_api,
    inventory_api,
    provider_api,
    vocabulary_api,
)
from virga.settings import Settings

MICROVERSIONS = Microversions("placement", (1, 0), (1, 39))
ADMIN_OR_SERVICE = "role:admin or role:service"


def version(tx: Tx, req: Request) -> Any:
    return {
        "versions": [
            {
                "id": "v1.0",
                "max_version": show(MICROVERSIONS.maximum),
                "min_version": show(MICROVERSIONS.minimum),
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }


def _routes() -> list[Route]:
    resources = (provider_api, inventory_api, allocation_api, vocabulary_api, candidate_api)
    return [
        Route("GET", "/", version, PUBLIC),
        *(route for resource in resources for route in resource.routes()),
    ]


def _policies(routes: list[Route]) -> dict[str, str]:
    """Placement is for admins and services; usages also for readers of the project."""
    rules = {route.access: ADMIN_OR_SERVICE for route in routes if route.access != PUBLIC}
    return rules | {"placement:usages": "role:reader or role:admin or role:service"}


def _envelope(fault: Fault, request_id: str) -> Any:
    body = placement_envelope(fault, request_id)
    body["errors"][0]["code"] = (
        fault.type if fault.type.startswith("placement.") else "placement.undefined_code"
    )
    return body


def service(settings: Settings) -> ServiceApi:
    """Placement as the edge serves it."""
    routes = _routes()
    return ServiceApi(
        name="placement",
        prefix="/placement",
        routes=routes,
        envelope=_envelope,
        project_scope=True,
        policies=_policies(routes),
        microversions=MICROVERSIONS,
        request_id_headers=("x-openstack-request-id",),
    )
