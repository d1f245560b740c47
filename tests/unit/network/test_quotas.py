"""Limits of a project: an operator's defaults, and what the quotas API says of them."""

from __future__ import annotations

import pytest

from tests.lib.network import NetworkCloud
from virga.settings import SettingsError, quota_limit


def test_an_operator_says_what_a_project_gets_by_default() -> None:
    cloud = NetworkCloud(network_quotas=("router=1", "network=-1"))
    try:
        assert cloud.get("alice", "/quotas/p-alice/default")["router"] == 1
        assert cloud.get("admin", "/quotas/p-alice")["network"] == -1
        cloud.post("alice", "/routers", {"router": {}})
        refused = cloud.request("alice", "POST", "/routers", {"router": {}})
        assert refused.status == 409
        assert refused.body["NeutronError"]["message"] == "Quota exceeded for resources: ['router']."
        cloud.put("admin", "/quotas/p-alice", {"quota": {"router": 2}})
        cloud.post("alice", "/routers", {"router": {}})
    finally:
        cloud.close()


@pytest.mark.parametrize("text", ["router", "=5", "router=many", "router=-2"])
def test_what_is_no_limit_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        quota_limit(text)


@pytest.mark.parametrize(("kind", "status"), [("test:one", 201), ("network:dhcp", 201), ("baremetal:x", 400)])
def test_service_types_of_a_subnet(kind: str, status: int) -> None:
    cloud = NetworkCloud()
    try:
        network = cloud.post("alice", "/networks", {"network": {}})
        body = {"network_id": network["id"], "ip_version": 4, "cidr": "10.0.0.0/24", "service_types": [kind]}
        assert cloud.request("alice", "POST", "/subnets", {"subnet": body}).status == status
    finally:
        cloud.close()
