"""``/v1/changes`` and ``/v1/observations``: who changed what, also when the work went on after the request."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lib.cloud import RunningCloud
from virga.db.outbox import change
from virga.desired import feed
from virga.desired.feed import KEPT_CHANGES, prune
from virga.desired.record import Observed, changes, observations, observe

pytestmark = pytest.mark.only_here


def made(cloud: RunningCloud, name: str) -> tuple[Any, Any]:
    """A member's network, and the client who made it."""
    member = cloud.member()
    return member, member.post("/network/v2.0/networks", json={"network": {"name": name}}).json()["network"]


def changes_of(client: Any, *ids: str, **query: str) -> list[Any]:
    answer = client.get("/v1/changes", params=[*(("object", one) for one in ids), *query.items()])
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["changes"]
    return found


def test_each_change_names_who_asked_for_what(cloud: RunningCloud) -> None:
    member, network = made(cloud, "recorded")
    path = f"/network/v2.0/networks/{network['id']}"
    admin = cloud.admin()
    renamed = admin.put(path, json={"network": {"name": "renamed"}})
    first, second = changes_of(admin, network["id"])
    assert (first["by"], first["action"], first["project_id"]) == (
        "demo",
        "POST /v2.0/networks",
        network["project_id"],
    )
    assert (second["by"], second["action"]) == ("admin", f"PUT {path.removeprefix('/network')}")
    assert second["request_id"] == renamed.headers["x-openstack-request-id"]
    assert changes_of(admin, network["id"], since=second["at"]) == [second]
    assert changes_of(admin, network["id"], limit="1") == [second]
    member.delete(path)


def test_members_see_what_their_project_asked_for(cloud: RunningCloud) -> None:
    member, network = made(cloud, "watched")
    path = f"/network/v2.0/networks/{network['id']}"
    cloud.admin().put(path, json={"network": {"name": "renamed"}})
    assert [one["by"] for one in changes_of(member, network["id"])] == ["demo"]
    assert cloud.client().get("/v1/changes").status_code == 401
    member.delete(path)


@pytest.mark.parametrize(
    "query", ["since=yesterday", "limit=0", "limit=x", "limit=99999", "since=9999-99-99"]
)
def test_strange_questions_are_refused(cloud: RunningCloud, query: str) -> None:
    for path in ("changes", "observations"):
        assert cloud.admin().get(f"/v1/{path}?{query}").status_code == 400
    assert cloud.admin().get("/v1/observations?kind=dream").status_code == 400


def test_work_that_goes_on_is_that_of_whoever_asked(cloud: RunningCloud) -> None:
    member, network = made(cloud, "followed")
    database = cloud.cloud.database
    request_id = changes_of(cloud.admin(), network["id"])[0]["request_id"]
    database.write(lambda tx: tx.touch("port", "later"), request_id)
    (later,) = database.read(lambda tx: changes(tx, ["later"], 0))
    assert (later.by, later.action) == ("demo", "POST /v2.0/networks")
    member.delete(f"/network/v2.0/networks/{network['id']}")


def test_a_drift_is_written_down_once_and_shown_to_administrators(cloud: RunningCloud) -> None:
    seen = [Observed("drift", {"sentence": "odd"}, "host9", "flows br-int")]
    for _ in range(2):
        cloud.cloud.database.write(lambda tx: observe(tx, seen))
    found = cloud.admin().get("/v1/observations", params={"kind": "drift"}).json()["observations"]
    assert [one["drift"] for one in found if one["host"] == "host9"] == [{"sentence": "odd"}]
    assert cloud.member().get("/v1/observations", params={"kind": "drift"}).json()["observations"] == []


def test_only_so_much_is_remembered_of_what_was_seen(
    cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_OBSERVATIONS", 2)
    database = cloud.cloud.database
    seen = [Observed("drift", {"sentence": "odd"}, "host8", f"flows {number}") for number in range(4)]
    database.write(lambda tx: observe(tx, seen))
    database.write(lambda tx: prune(tx, 1))
    kept = database.read(lambda tx: observations(tx, 0))
    assert [row.subject for row in kept] == ["flows 2", "flows 3"]


def test_the_record_is_forgotten_when_it_is_old_and_read(cloud: RunningCloud) -> None:
    database = cloud.cloud.database

    def fill(tx: Any) -> None:
        for number in range(KEPT_CHANGES + 1):
            tx.touch("nothing", f"n{number}")

    def oldest(tx: Any) -> int:
        return len(tx.all(change.select().where(change.c.object_id == "n0", change.c.kind == "nothing")))

    database.write(fill)
    database.write(lambda tx: prune(tx, 1))
    assert database.read(oldest) == 1
    database.write(lambda tx: prune(tx, -1))
    assert database.read(oldest) == 0
