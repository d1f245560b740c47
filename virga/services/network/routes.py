"""All URLs of the Network service and who may use them."""

from __future__ import annotations

from typing import Any

from virga.api.collection import Collection, MakeContext, nested
from virga.api.faults import Fault, identity_envelope, network_envelope
from virga.api.request import Request
from virga.api.resource import Context, Resource
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.db.tx import Tx
from virga.services.network import (
    address_group,
    address_scope,
    agent,
    agent_schedule,
    auto_topology,
    availability,
    default_rule,
    extension,
    flavor,
    floating_ip,
    metering,
    network,
    port_forwarding,
    port_resource,
    qos_policy,
    qos_rule,
    quota,
    quota_api,
    rbac_policy,
    router,
    router_actions,
    security_group,
    security_group_rule,
    segment,
    subnet,
    subnetpool,
    trunk,
)
from virga.services.network.policies import POLICIES
from virga.settings import Settings

PREFIX = "/v2.0"
RESOURCES: tuple[Resource, ...] = (
    network.RESOURCE,
    subnet.RESOURCE,
    port_resource.RESOURCE,
    security_group_rule.RESOURCE,
    router.RESOURCE,
    floating_ip.RESOURCE,
    agent.RESOURCE,
    subnetpool.RESOURCE,
    address_group.RESOURCE,
    rbac_policy.RESOURCE,
    default_rule.RESOURCE,
    trunk.RESOURCE,
    segment.SEGMENT,
)


def versions(tx: Tx, req: Request) -> Any:
    link = {"rel": "self", "href": req.url("/v2.0/")}
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


def index(tx: Tx, req: Request) -> Any:
    """The collections that every Network API has."""
    return {
        "resources": [
            {
                "name": name,
                "collection": name + "s",
                "links": [{"rel": "self", "href": req.url(f"/v2.0/{name}s")}],
            }
            for name in ("network", "subnet", "subnetpool", "port")
        ]
    }


def envelope(fault: Fault, request_id: str) -> Any:
    # Who is not known is turned away by the token check in front of the service, in its own words.
    return (
        identity_envelope(fault, request_id) if fault.status == 401 else network_envelope(fault, request_id)
    )


def _all_routes(make_context: MakeContext) -> list[Route]:
    routes = [
        Route("GET", "/", versions, PUBLIC),
        Route("GET", "/v2.0", index, PUBLIC),
        Route("GET", "/v2.0/", index, PUBLIC),
        Route("GET", "/v2.0/extensions", extension.index, AUTHENTICATED),
        Route("GET", "/v2.0/extensions/{alias}", extension.show, AUTHENTICATED),
    ]
    for resource in RESOURCES:
        routes += Collection(resource, make_context, PREFIX, quota.check).routes()
    routes += security_group.SecurityGroups(
        security_group.RESOURCE, make_context, PREFIX, quota.check
    ).routes()
    for resource, path in (
        (address_scope.RESOURCE, "address-scopes"),
        (segment.RANGE, "network_segment_ranges"),
        (flavor.FLAVOR, "flavors"),
        (flavor.PROFILE, "service_profiles"),
    ):
        routes += Collection(resource, make_context, PREFIX, quota.check, path).routes()
    for resource in (metering.LABEL, metering.RULE):
        routes += Collection(resource, make_context, f"{PREFIX}/metering", quota.check).routes()
    policies = Collection(qos_policy.RESOURCE, make_context, f"{PREFIX}/qos", quota.check)
    # Neutron has the tags of policies beside ``qos``, not below it.
    routes += policies.routes() + policies.tag_routes(f"{PREFIX}/policies")
    for more in (
        router_actions.routes,
        subnetpool.actions,
        address_group.actions,
        trunk.actions,
        quota_api.routes,
        agent_schedule.routes,
        availability.routes,
        auto_topology.routes,
        qos_rule.routes,
        flavor.routes,
    ):
        routes += more(make_context)
    routes += nested(
        "/v2.0/floatingips/{floatingip_id}/port_forwardings",
        "floatingip_id",
        port_forwarding.for_floating,
        make_context,
    )
    return routes


def service(settings: Settings) -> ServiceApi:
    """The Network service of one cloud."""

    def make_context(req: Request) -> Context:
        caller = req.caller
        admin = req.policy.allows(caller, "context_is_admin", {})
        return Context(caller, req.policy, settings, admin)

    return ServiceApi(
        name="network",
        prefix="/network",
        routes=_all_routes(make_context),
        envelope=envelope,
        project_scope=True,
        policies=POLICIES,
        not_found=lambda method, path: Fault(
            "The resource could not be found.", status=404, type="HTTPNotFound"
        ),
        malformed=lambda reason: Fault(
            "Malformed request body: the body is not JSON.", status=400, type="HTTPBadRequest"
        ),
    )
