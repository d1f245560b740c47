"""Headers and odd envelopes of answers, as a real OpenStack was recorded to give them."""

from __future__ import annotations

import uuid

import pytest

from tests.lib.cloud import RunningCloud
from tests.lib.compute import act, active_server, create, flavor, image, wait_status
from tests.lib.waiting import eventually

pytestmark = pytest.mark.validated


def test_identity_varies_by_token(cloud: RunningCloud) -> None:
    with cloud.member() as member, cloud.client() as nobody:
        assert member.get("/identity/v3/auth/projects").headers["vary"] == "X-Auth-Token"
        assert nobody.get("/identity/").headers["vary"] == "X-Auth-Token"
        assert member.get("/identity/v3/users/nobody").headers["vary"] == "X-Auth-Token"


def test_empty_answers_have_a_type(cloud: RunningCloud) -> None:
    with cloud.client(cloud.new_project("admin")) as admin:
        made = active_server(cloud, admin)["id"]
        assert act(admin, made, "lock").headers["content-type"] == "application/json"
        shot = act(admin, made, "createImage", {"name": "shot"})
        assert shot.headers["content-type"] == "text/html; charset=UTF-8"
        gone = admin.delete(f"/compute/v2.1/servers/{made}")
        assert (gone.status_code, gone.headers["content-type"]) == (204, "application/json")
        gone = admin.delete(f"/image/v2/images/{image(cloud)}")
        assert (gone.status_code, gone.headers["content-type"]) == (204, "text/html; charset=UTF-8")


def test_refusals_of_compute(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        missing = str(uuid.uuid4())
        answer = act(member, missing, "os-stop")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/json; charset=UTF-8"
        message = f"Instance {missing} has no mapping to a cell."
        assert answer.json() == {"itemNotFound": {"code": 404, "message": message}}
        answer = member.delete("/compute/v2.1/os-security-groups/")
        assert answer.headers["content-type"] == "application/json"
        assert answer.json() == {
            "message": "The resource could not be found.<br /><br />\n\n\n",
            "code": "404 Not Found",
            "title": "Not Found",
        }


def test_an_image_answers_for_what_boots(cloud: RunningCloud) -> None:
    """Who names an image beside a volume to boot from is not asked whether the volume is bootable."""
    with cloud.client(cloud.new_project()) as member:
        made = member.post("/volume/v3/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
        path = f"/volume/v3/volumes/{made}"
        eventually(lambda: member.get(path).json()["volume"]["status"] == "available", "the volume")
        device = {"uuid": made, "source_type": "volume", "destination_type": "volume", "boot_index": 0}
        body = {"name": "vm", "flavorRef": flavor(cloud), "block_device_mapping_v2": [device]}
        answer = member.post("/compute/v2.1/servers", json={"server": body})
        assert answer.json()["badRequest"]["message"] == f"Block Device {made} is not bootable."
        wait_status(member, create(member, **body, imageRef=image(cloud)), "ACTIVE")


def test_a_type_that_was_associated_is_listed(cloud: RunningCloud) -> None:
    with cloud.admin() as admin:
        name = f"ns-{uuid.uuid4().hex[:8]}"
        admin.post("/image/v2/metadefs/namespaces", json={"namespace": name})
        path = f"/image/v2/metadefs/namespaces/{name}/resource_types"
        assert admin.post(path, json={"name": "Acme::Anvil"}).status_code == 201
        types = admin.get("/image/v2/metadefs/resource_types").json()["resource_types"]
        assert {"Acme::Anvil", "OS::Nova::Server"} <= {found["name"] for found in types}
        assert all(found["created_at"] and found["updated_at"] for found in types)


def test_host_bits_of_a_subnet_are_dropped(cloud: RunningCloud) -> None:
    with cloud.member() as member:
        network = member.post("/network/v2.0/networks", json={"network": {"name": "bits"}}).json()["network"]
        asked = {"network_id": network["id"], "ip_version": 4, "cidr": "10.99.99.0/16"}
        answer = member.post("/network/v2.0/subnets", json={"subnet": asked})
        assert (answer.status_code, answer.json()["subnet"]["cidr"]) == (201, "10.99.0.0/16")
