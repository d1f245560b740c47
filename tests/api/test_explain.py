"""`/v1/explain` against a cloud in memory: what the API's objects allow and forbid, and who may ask. No packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from tests.lib.cloud import RunningCloud, running_cloud
from virga.db.outbox import observation


@dataclass
class Cast:
    """Two networks, a router between them, a machine on each; all of one new project."""

    client: httpx.Client
    stranger: httpx.Client
    net: dict[str, Any]
    subnet: dict[str, Any]
    router: str
    group: str
    one: dict[str, Any]
    two: dict[str, Any]

    def explain(self, source: str, destination: str, traffic: str = "icmp", **more: Any) -> dict[str, Any]:
        answer = self.client.post(
            "/v1/explain", json={"source": source, "destination": destination, "traffic": traffic, **more}
        )
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["explanation"]
        return found

    def code(self, source: str, destination: str, traffic: str = "icmp", **more: Any) -> str:
        return str(self.explain(source, destination, traffic, **more)["verdict"]["code"])


def _made(client: httpx.Client, kind: str, **values: Any) -> dict[str, Any]:
    answer = client.post(
        f"/network/v2.0/{kind.replace('-', '_')}s".replace("_", "-"), json={kind.replace("-", "_"): values}
    )
    assert answer.status_code == 201, answer.text
    return dict(answer.json()[kind.replace("-", "_")])


def _port(client: httpx.Client, admin: httpx.Client, network: str, group: str, name: str) -> dict[str, Any]:
    """Bound to a host, as a running instance's would be."""
    port = _made(
        client, "port", network_id=network, name=name, security_groups=[group], device_owner="compute:nova"
    )
    bound = admin.put(f"/network/v2.0/ports/{port['id']}", json={"port": {"binding:host_id": "host1"}})
    assert bound.status_code == 200, bound.text
    return port


@pytest.fixture(scope="module")
def cast(cloud: RunningCloud) -> Iterator[Cast]:
    account = cloud.new_project()
    client, stranger, admin = cloud.client(account), cloud.client(cloud.new_project()), cloud.admin()
    router = _made(client, "router", name="middle")["id"]
    nets, subnets = {}, {}
    for name, cidr in (("left", "10.1.0.0/24"), ("right", "10.2.0.0/24")):
        nets[name] = _made(client, "network", name=name)["id"]
        subnets[name] = _made(client, "subnet", network_id=nets[name], ip_version=4, cidr=cidr)["id"]
        added = client.put(
            f"/network/v2.0/routers/{router}/add_router_interface", json={"subnet_id": subnets[name]}
        )
        assert added.status_code == 200, added.text
    group = _made(client, "security-group", name="special")["id"]
    _made(client, "security-group-rule", security_group_id=group, direction="ingress", ethertype="IPv4",
          protocol="icmp")  # fmt: skip
    one = _port(client, admin, nets["left"], group, "one")
    two = _port(client, admin, nets["right"], group, "two")
    yield Cast(client, stranger, nets, subnets, router, group, one, two)


def test_what_the_rules_allow_is_reachable_through_the_router(cast: Cast) -> None:
    answer = cast.explain(cast.one["id"], "two")
    assert (answer["verdict"]["code"], answer["verdict"]["reachable"]) == ("REACHABLE", True)
    kinds = [hop["kind"] for hop in answer["hops"] if hop["direction"] == "there"]
    assert kinds == ["tap", "br-int", "qr", "qrouter", "qr", "br-int", "tap"]
    assert {hop["expected"]["state"] for hop in answer["hops"]} == {"ok"}


def test_a_missing_rule_is_named_with_the_command_that_adds_it(cast: Cast) -> None:
    verdict = cast.explain("one", "two", "tcp/5432")["verdict"]
    assert (verdict["code"], verdict["reachable"]) == ("SG_NO_MATCH", False)
    assert verdict["culprit"] == {"kind": "security_group", "id": cast.group, "name": "special"}
    assert "--dst-port 5432" in verdict["mend"]
    assert cast.group in verdict["mend"]
    assert verdict["changed_at"]


def test_a_source_that_is_not_the_ports_own_meets_the_guard(cast: Cast) -> None:
    assert cast.code("one", "two", source_address="10.1.0.99") == "SPOOF_GUARD"


def test_an_address_that_nobody_has(cast: Cast) -> None:
    assert cast.code("one", "10.2.0.77") == "ARP_UNANSWERED"


def test_outside_needs_a_gateway_and_a_floating_ip(cast: Cast) -> None:
    assert cast.code("one", "198.51.100.9") in ("NO_GATEWAY", "NO_ROUTE")


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("ports/{two}", {"port": {"admin_state_up": False}}, "PORT_DOWN"),
        ("routers/{router}", {"router": {"admin_state_up": False}}, "ROUTER_DOWN"),
        ("networks/{net}", {"network": {"admin_state_up": False}}, "NETWORK_DOWN"),
        ("subnets/{subnet}", {"subnet": {"gateway_ip": None}}, ""),
    ],
)
def test_what_is_shut_is_named(cast: Cast, path: str, body: dict[str, Any], code: str) -> None:
    where = path.format(
        two=cast.two["id"], router=cast.router, net=cast.net["right"], subnet=cast.subnet["left"]
    )
    before = cast.client.get(f"/network/v2.0/{where}").json()
    changed = cast.client.put(f"/network/v2.0/{where}", json=body)
    if not code:
        assert changed.status_code == 409, "a gateway that a router has cannot be taken away"
        return
    assert changed.status_code == 200, changed.text
    try:
        verdict = cast.explain("one", "two")["verdict"]
        assert (verdict["code"], verdict["reachable"]) == (code, False)
        assert verdict["mend"].startswith("openstack ")
    finally:
        (kind, values), *_ = body.items()
        old = {key: before[kind][key] for key in values}
        assert cast.client.put(f"/network/v2.0/{where}", json={kind: old}).status_code == 200
    assert cast.code("one", "two") == "REACHABLE"


def test_without_an_interface_there_is_no_route(cast: Cast) -> None:
    path = f"/network/v2.0/routers/{cast.router}"
    body = {"subnet_id": cast.subnet["right"]}
    assert cast.client.put(f"{path}/remove_router_interface", json=body).status_code == 200
    try:
        assert cast.code("one", "two") == "NO_ROUTE"
        assert cast.code("two", "one") == "NO_ROUTE"
    finally:
        assert cast.client.put(f"{path}/add_router_interface", json=body).status_code == 200
    assert cast.code("two", "one") == "REACHABLE"


def test_members_see_no_hosts_and_nothing_of_others(cast: Cast, cloud: RunningCloud) -> None:
    answer = cast.explain("one", "two")
    assert {hop["host"] for hop in answer["hops"]} == {""}
    assert not [hop for hop in answer["hops"] if hop["expected"].get("details")]
    body = {"source": cast.one["id"], "destination": cast.two["id"]}
    assert cast.stranger.post("/v1/explain", json=body).status_code == 404
    whole = cloud.admin().post("/v1/explain", json=body).json()["explanation"]
    assert "host1" in {hop["host"] for hop in whole["hops"]}


def test_explanations_are_kept_for_those_who_asked(cast: Cast) -> None:
    asked = cast.explain("one", "two")["id"]
    assert asked in [each["id"] for each in cast.client.get("/v1/explain").json()["explanations"]]
    assert asked not in [each["id"] for each in cast.stranger.get("/v1/explain").json()["explanations"]]


def test_what_an_operator_asked_in_a_project_tells_its_members_no_hosts(
    cast: Cast, cloud: RunningCloud
) -> None:
    body = {"source": cast.one["id"], "destination": cast.two["id"]}
    asked = cloud.admin().post("/v1/explain", json=body)
    whole = asked.json()["explanation"]
    assert "host1" in {hop["host"] for hop in whole["hops"]}
    request_id = asked.headers["x-openstack-request-id"]
    kept = update(observation).where(observation.c.request_id == request_id)
    cloud.cloud.database.write(lambda tx: tx.execute(kept.values(project_id=cast.one["project_id"])))
    for path, key in (("/v1/explain", "explanations"), ("/v1/observations", "observations")):
        found = cast.client.get(path).json()[key]
        (mine,) = [
            one for one in (each.get("explanation", each) for each in found) if one["id"] == whole["id"]
        ]
        assert {hop["host"] for hop in mine["hops"]} == {""}
        assert "host1" not in str(mine)


def test_explanations_outlive_the_server(tmp_path: Path) -> None:
    with running_cloud(tmp_path) as first:
        member = first.member()
        network = _made(member, "network", name="kept")["id"]
        _made(member, "subnet", network_id=network, ip_version=4, cidr="10.3.0.0/24")
        ends = [_made(member, "port", network_id=network)["id"] for _ in "ab"]
        body = {"source": ends[0], "destination": ends[1]}
        asked = member.post("/v1/explain", json=body)
        assert asked.status_code == 200, asked.text
    with running_cloud(tmp_path) as second:
        (kept,) = second.member().get("/v1/explain").json()["explanations"]
        assert kept.items() >= asked.json()["explanation"].items()
        assert kept["request_id"] == asked.headers["x-openstack-request-id"]
        assert kept["user_id"] and kept["project_id"] and kept["asked_at"]
        assert second.member().get("/v1/explain?limit=0").status_code == 400


def test_what_changed_since_then_is_told(cast: Cast) -> None:
    changes = cast.explain("one", "two", since="2020-01-01T00:00:00Z")["changes"]
    assert {"port", "network", "router", "security_group"} <= {each["object"]["kind"] for each in changes}
    assert "changes" not in cast.explain("one", "two", since="2100-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"source": "one"},
        {"source": "one", "destination": "two", "traffic": "tcp"},
        {"source": "one", "destination": "two", "traffic": "tcp/70000"},
        {"source": "one", "destination": "two", "ip_version": 5},
        {"source": "one", "destination": "two", "source_address": "x"},
        {"source": "one", "destination": "two", "source_port": -1},
        {"source": "one", "destination": "two", "since": "yesterday"},
        {"source": "one", "destination": "one"},
        {"source": "left", "destination": "two"},
        {"source": "one", "destination": "two", "surprise": 1},
    ],
)
def test_a_question_that_means_nothing_is_refused(cast: Cast, body: dict[str, Any]) -> None:
    answer = cast.client.post("/v1/explain", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


def test_nobody_asks_without_a_token_or_about_nothing(cast: Cast, cloud: RunningCloud) -> None:
    assert cloud.client().post("/v1/explain", json={"source": "a", "destination": "b"}).status_code == 401
    assert cast.client.post("/v1/explain", json={"source": "nobody", "destination": "two"}).status_code == 404
