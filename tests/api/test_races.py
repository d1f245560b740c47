"""Many at once for one thing: limits hold to the last one, nothing is given twice, one of two wins and the other is told.

Each race runs over its own connections against a real server on loopback, and prints what the racers were told.
"""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import pytest

from tests.lib import compute
from tests.lib.cloud import Account, RunningCloud
from tests.lib.waiting import eventually

RACERS = 12
N = "/network/v2.0/"
Act = Callable[[httpx.Client, int], httpx.Response]


class Race:
    """One project, several connections that start together."""

    def __init__(self, cloud: RunningCloud, account: Account) -> None:
        self.cloud, self.account = cloud, account
        self.clients = [cloud.client(account) for _ in range(RACERS)]
        self.one = self.clients[0]
        self.admin = cloud.admin()

    def run(self, act: Act, times: int = RACERS) -> list[httpx.Response]:
        """``act`` so many times, as many at a time as there are connections."""
        barrier, answers = threading.Barrier(min(RACERS, times)), []
        lock = threading.Lock()

        def work(client: httpx.Client, mine: Sequence[int]) -> None:
            barrier.wait(30)
            for number in mine:
                answer = act(client, number)
                with lock:
                    answers.append(answer)

        threads = [
            threading.Thread(target=work, args=(client, range(index, times, RACERS)))
            for index, client in enumerate(self.clients[:times])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert len(answers) == times
        assert not [a.text for a in answers if a.status_code >= 500]
        return answers

    def made(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.one.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return next(iter(answer.json().values()))

    def network(self, cidr: str = "10.60.0.0/24") -> tuple[str, str]:
        net = self.made(N + "networks", {"network": {"name": "race"}})["id"]
        subnet = {"network_id": net, "ip_version": 4, "cidr": cidr}
        return net, self.made(N + "subnets", {"subnet": subnet})["id"]


@pytest.fixture
def race(cloud: RunningCloud) -> Race:
    return Race(cloud, cloud.new_project())


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Iterator[list[Any]]:
    """Prints the counts of a race."""
    found: list[Any] = []
    yield found
    with capsys.disabled():
        for answers in found:
            counts = dict(sorted(Counter(a.status_code for a in answers).items()))
            print(f"\n  {request.node.name}: {len(answers)} at once, answers {counts}", end="")


def won(answers: Sequence[httpx.Response], told: list[Any]) -> list[Any]:
    told.append(answers)
    return [next(iter(a.json().values())) if a.content else None for a in answers if a.status_code < 300]


def statuses(answers: Sequence[httpx.Response]) -> set[int]:
    return {a.status_code for a in answers if a.status_code >= 300}


@pytest.mark.parametrize(
    ("name", "path", "key"),
    [("network", "networks", "network"), ("router", "routers", "router"),
     ("security_group", "security-groups", "security_group"), ("port", "ports", "port")],
)  # fmt: skip
def test_a_quota_of_the_network_holds(race: Race, told: list[Any], name: str, path: str, key: str) -> None:
    body: dict[str, Any] = {key: {"name": "race"}}
    spare = 0
    if name == "port":
        body[key]["network_id"] = race.network()[0]
    # Those of others may be shared with this project.
    mine = {"project_id": race.account.project_id}
    spare = len(next(iter(race.one.get(N + path, params=mine).json().values())))
    race.admin.put(N + f"quotas/{race.account.project_id}", json={"quota": {name: spare + 5}})
    answers = race.run(lambda c, n: c.post(N + path, json=body), 24)
    assert len(won(answers, told)) == 5
    assert statuses(answers) == {409}
    assert len(next(iter(race.one.get(N + path, params=mine).json().values()))) == spare + 5


def test_a_quota_of_instances_holds(race: Race, told: list[Any]) -> None:
    image, flavor = compute.image(race.cloud), compute.flavor(race.cloud)
    path = f"/compute/v2.1/os-quota-sets/{race.account.project_id}"
    race.admin.put(path, json={"quota_set": {"instances": 4}})
    server = {"name": "race", "flavorRef": flavor, "imageRef": image, "networks": "none"}
    newest = {"openstack-api-version": "compute 2.95"}
    answers = race.run(lambda c, n: c.post("/compute/v2.1/servers", json={"server": server}, headers=newest))
    made = won(answers, told)
    assert (len(made), statuses(answers)) == (4, {403})
    deleted = race.run(lambda c, n: c.delete(f"/compute/v2.1/servers/{made[n % 4]['id']}"), 24)
    told.append(deleted)
    assert {a.status_code for a in deleted} <= {204, 404}
    eventually(lambda: not race.one.get("/compute/v2.1/servers").json()["servers"], "all servers are gone")
    limits = race.one.get("/compute/v2.1/limits").json()["limits"]["absolute"]
    assert limits["totalInstancesUsed"] == 0


def test_no_address_is_given_twice(race: Race, told: list[Any]) -> None:
    net, _ = race.network("10.61.0.0/27")
    answers = race.run(lambda c, n: c.post(N + "ports", json={"port": {"network_id": net}}), 48)
    ports = won(answers, told)
    addresses = [p["fixed_ips"][0]["ip_address"] for p in ports]
    assert len(set(addresses)) == len(addresses)
    # 30 addresses, less the gateway's and the one of DHCP.
    assert len(addresses) == 28
    assert statuses(answers) == {409}
    macs = [p["mac_address"] for p in ports]
    assert len(set(macs)) == len(macs)


@pytest.mark.parametrize("what", ["mac_address", "fixed_ips"])
def test_one_address_asked_for_by_all_is_given_once(race: Race, told: list[Any], what: str) -> None:
    net, subnet = race.network("10.62.0.0/24")
    wanted = {
        "mac_address": "fa:16:3e:11:22:33",
        "fixed_ips": [{"subnet_id": subnet, "ip_address": "10.62.0.77"}],
    }
    body = {"port": {"network_id": net, what: wanted[what]}}
    answers = race.run(lambda c, n: c.post(N + "ports", json=body))
    assert (len(won(answers, told)), statuses(answers)) == (1, {409})


def test_no_vlan_id_is_given_twice(race: Race, told: list[Any]) -> None:
    answers = race.run(lambda c, n: c.post(N + "networks", json={"network": {"name": f"race{n}"}}), 48)
    made = {net["id"] for net in won(answers, told)}
    shown = race.admin.get(N + "networks").json()["networks"]
    ids = [(n["provider:physical_network"], n["provider:segmentation_id"]) for n in shown if n["id"] in made]
    assert len(set(ids)) == len(ids) == len(made)


def test_one_vlan_id_asked_for_by_all_is_given_once(race: Race, told: list[Any]) -> None:
    clients = [race.cloud.admin() for _ in range(RACERS)]
    body = {
        "network": {
            "name": "race",
            "provider:network_type": "vlan",
            "provider:physical_network": "physnet1",
            "provider:segmentation_id": 3077,
        }
    }
    race.clients = clients
    answers = race.run(lambda c, n: c.post(N + "networks", json=body))
    assert (len(won(answers, told)), statuses(answers)) == (1, {409})


def test_no_floating_ip_is_given_twice(race: Race, told: list[Any]) -> None:
    external = {"network": {"name": f"ext-{uuid.uuid4().hex[:6]}", "router:external": True}}
    net = race.admin.post(N + "networks", json=external).json()["network"]["id"]
    subnet = {"network_id": net, "ip_version": 4, "cidr": "203.0.113.0/28", "enable_dhcp": False}
    assert race.admin.post(N + "subnets", json={"subnet": subnet}).status_code == 201
    asked = {"floatingip": {"floating_network_id": net, "floating_ip_address": "203.0.113.9"}}
    # A chosen address is for administrators.
    members, race.clients = race.clients, [race.cloud.admin() for _ in range(RACERS)]
    answers = race.run(lambda c, n: c.post(N + "floatingips", json=asked))
    assert (len(won(answers, told)), statuses(answers)) == (1, {409})
    race.clients = members
    body = {"floatingip": {"floating_network_id": net}}
    answers = race.run(lambda c, n: c.post(N + "floatingips", json=body), 24)
    given = [f["floating_ip_address"] for f in won(answers, told)]
    assert len(set(given)) == len(given) == 12
    assert "203.0.113.9" not in given


def test_of_many_updates_of_one_revision_one_wins(race: Race, told: list[Any]) -> None:
    net, _ = race.network()
    revision = race.one.get(N + f"networks/{net}").json()["network"]["revision_number"]
    headers = {"if-match": f"revision_number={revision}"}

    def rename(client: httpx.Client, number: int) -> httpx.Response:
        return client.put(N + f"networks/{net}", json={"network": {"name": f"n{number}"}}, headers=headers)

    answers = race.run(rename)
    (winner,) = won(answers, told)
    assert statuses(answers) == {412}
    shown = race.one.get(N + f"networks/{net}").json()["network"]
    assert (shown["name"], shown["revision_number"]) == (winner["name"], revision + 1)


def test_a_network_goes_while_ports_come(race: Race, told: list[Any]) -> None:
    for _ in range(6):
        net, _ = race.network("10.63.0.0/24")

        def act(client: httpx.Client, number: int, net: str = net) -> httpx.Response:
            if number % 3 == 0:
                return client.delete(N + f"networks/{net}")
            return client.post(N + "ports", json={"port": {"network_id": net}})

        answers = race.run(act)
        told.append(answers)
        assert {a.status_code for a in answers} <= {201, 204, 404, 409}
        left = race.admin.get(N + "ports", params={"network_id": net}).json()["ports"]
        if race.one.get(N + f"networks/{net}").status_code == 404:
            assert left == []
        else:
            assert 204 not in {a.status_code for a in answers}
            for port in left:
                race.admin.delete(N + f"ports/{port['id']}")
            assert race.one.delete(N + f"networks/{net}").status_code == 204


def test_one_volume_is_attached_once(race: Race, told: list[Any]) -> None:
    image, flavor = compute.image(race.cloud), compute.flavor(race.cloud)
    newest = {"openstack-api-version": "compute 2.95"}
    servers = []
    for number in range(3):
        server = {"name": f"r{number}", "flavorRef": flavor, "imageRef": image, "networks": "none"}
        answer = race.one.post("/compute/v2.1/servers", json={"server": server}, headers=newest)
        servers.append(answer.json()["server"]["id"])
    for ident in servers:
        path = f"/compute/v2.1/servers/{ident}"
        eventually(lambda p=path: race.one.get(p).json()["server"]["status"] == "ACTIVE", "server runs")  # type: ignore[misc]
    volume = race.made("/volume/v3/volumes", {"volume": {"size": 1}})["id"]
    path = f"/volume/v3/volumes/{volume}"
    eventually(lambda: race.one.get(path).json()["volume"]["status"] == "available", "volume is there")
    body = {"volumeAttachment": {"volumeId": volume}}
    answers = race.run(
        lambda c, n: c.post(f"/compute/v2.1/servers/{servers[n % 3]}/os-volume_attachments", json=body)
    )
    assert len(won(answers, told)) == 1
    assert statuses(answers) <= {400, 409}
    eventually(lambda: race.one.get(path).json()["volume"]["status"] == "in-use", "volume is in use")
    assert len(race.one.get(path).json()["volume"]["attachments"]) == 1
    for ident in servers:
        race.one.delete(f"/compute/v2.1/servers/{ident}")
    eventually(lambda: race.one.get(path).json()["volume"]["status"] == "available", "volume is free")


def test_one_subnet_gets_one_interface_of_a_router(race: Race, told: list[Any]) -> None:
    _, subnet = race.network("10.64.0.0/24")
    router = race.made(N + "routers", {"router": {"name": "race"}})["id"]
    path = N + f"routers/{router}/add_router_interface"
    answers = race.run(lambda c, n: c.put(path, json={"subnet_id": subnet}))
    assert len(won(answers, told)) == 1
    assert statuses(answers) <= {400, 409}
    query = {"device_id": router}
    assert len(race.one.get(N + "ports", params=query).json()["ports"]) == 1


def test_one_name_is_given_to_one_project(race: Race, told: list[Any]) -> None:
    race.clients = [race.cloud.admin() for _ in range(RACERS)]
    body = {"project": {"name": f"race-{uuid.uuid4().hex}"}}
    answers = race.run(lambda c, n: c.post("/identity/v3/projects", json=body))
    assert (len(won(answers, told)), statuses(answers)) == (1, {409})


def test_of_many_writers_of_one_generation_one_wins(race: Race, told: list[Any]) -> None:
    race.clients = [race.cloud.admin() for _ in range(RACERS)]
    headers = {"openstack-api-version": "placement 1.39"}
    new = {"name": f"race-{uuid.uuid4().hex}"}
    made = race.clients[0].post("/placement/resource_providers", json=new, headers=headers).json()
    path = f"/placement/resource_providers/{made['uuid']}/inventories"

    def write(client: httpx.Client, number: int) -> httpx.Response:
        body = {
            "resource_provider_generation": made["generation"],
            "inventories": {"VCPU": {"total": number + 1}},
        }
        return client.put(path, json=body, headers=headers)

    answers = race.run(write)
    assert (len(won(answers, told)), statuses(answers)) == (1, {409})
