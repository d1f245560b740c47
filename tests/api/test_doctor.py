"""``/v1/doctor``: for administrators; nothing to say of a healthy cloud, and rows that were tampered with are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, insert, update

from tests.lib.cloud import RunningCloud
from tests.lib.waiting import eventually
from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.network.models import ip_allocation
from virga.services.placement.models import allocation, consumer, resource_provider

pytestmark = pytest.mark.only_here


def diagnosis(cloud: RunningCloud, **body: Any) -> Any:
    answer = cloud.admin().post("/v1/doctor", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def about(cloud: RunningCloud, subject: str) -> list[Any]:
    return [each for each in diagnosis(cloud)["findings"] if each["subject"] == subject]


def write(cloud: RunningCloud, change: Callable[[Tx], Any]) -> None:
    cloud.cloud.database.write(change)


def test_only_administrators(cloud: RunningCloud) -> None:
    assert cloud.member().post("/v1/doctor", json={}).status_code == 403
    assert cloud.client().post("/v1/doctor", json={}).status_code == 401


@pytest.mark.parametrize("body", [{"hosts": "host1"}, {"fix": 1}, {"fixx": True}, [], "x"])
def test_a_wrong_body_is_refused(cloud: RunningCloud, body: Any) -> None:
    answer = cloud.admin().post("/v1/doctor", json=body)
    assert answer.status_code == 400, answer.text


def test_an_unknown_host_is_not_found(cloud: RunningCloud) -> None:
    answer = cloud.admin().post("/v1/doctor", json={"hosts": ["nowhere"]})
    assert answer.status_code == 404
    assert "nowhere" in answer.json()["error"]["message"]


def test_the_hosts_are_looked_at(cloud: RunningCloud) -> None:
    def drifts() -> list[Any]:
        return [each for each in diagnosis(cloud, hosts=["host1"])["findings"] if each.get("kind")]

    eventually(lambda: not drifts(), "host1 is as it must be")
    assert diagnosis(cloud, hosts=["host1"])["hosts"] == ["host1"]


def test_an_address_outside_its_subnet_is_named(cloud: RunningCloud) -> None:
    client = cloud.member()
    network = client.post("/network/v2.0/networks", json={"network": {"name": "sick"}}).json()["network"]
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.77.0.0/24"}
    assert client.post("/network/v2.0/subnets", json={"subnet": subnet}).status_code == 201
    port = client.post("/network/v2.0/ports", json={"port": {"network_id": network["id"]}}).json()["port"]
    mine = ip_allocation.c.port_id == port["id"]
    right = port["fixed_ips"][0]["ip_address"]
    assert about(cloud, "10.99.9.9") == []
    write(cloud, lambda tx: tx.execute(update(ip_allocation).where(mine).values(ip_address="10.99.9.9")))
    found = about(cloud, "10.99.9.9")
    write(cloud, lambda tx: tx.execute(update(ip_allocation).where(mine).values(ip_address=right)))
    assert "not in its subnet 10.77.0.0/24" in found[0]["sentence"]
    assert port["id"] in found[0]["mend"]


def test_what_is_claimed_for_no_server_is_named(cloud: RunningCloud) -> None:
    ghost, provider = new_uuid(), new_uuid()

    def haunt(tx: Tx) -> None:
        tx.execute(
            insert(resource_provider).values(id=provider, name=provider, root_id=provider, updated_at=0)
        )
        row = {"id": ghost, "project_id": "p", "user_id": "u", "consumer_type": "INSTANCE", "updated_at": 0}
        tx.execute(insert(consumer).values(**row))
        row = {"consumer_id": ghost, "provider_id": provider, "resource_class": "VCPU", "used": 2}
        tx.execute(insert(allocation).values(**row))

    def exorcise(tx: Tx) -> None:
        tx.execute(delete(allocation).where(allocation.c.consumer_id == ghost))
        tx.execute(delete(consumer).where(consumer.c.id == ghost))
        tx.execute(delete(resource_provider).where(resource_provider.c.id == provider))

    write(cloud, haunt)
    found = about(cloud, ghost)
    write(cloud, exorcise)
    assert [each["check"] for each in found] == ["database"]
    assert "2 VCPU" in found[0]["sentence"]
    assert about(cloud, ghost) == []
