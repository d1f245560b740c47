"""``GET /v1/volumes/check``: rows and world agree, or it says what differs."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy import delete, select, update

from tests.lib import compute
from tests.lib.cloud import RunningCloud, running_cloud
from tests.lib.waiting import eventually
from virga.services.block_storage.models import volume, volume_snapshot


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("check")) as started:
        yield started


def findings(admin: httpx.Client) -> set[tuple[str, str, str]]:
    found = admin.get("/v1/volumes/check").json()["volume_check"]["findings"]
    return {(one["kind"], one["what"], one["id"]) for one in found}


def test_members_may_not(own: RunningCloud) -> None:
    refused = own.client(own.account("demo")).get("/v1/volumes/check")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, 403)
    assert own.client().get("/v1/volumes/check").status_code == 401


def test_what_a_cloud_does_by_itself_leaves_no_difference(own: RunningCloud) -> None:
    admin = own.admin()
    volumes = "/volume/v3/volumes"
    ident = admin.post(volumes, json={"volume": {"size": 1}}).json()["volume"]["id"]

    def status(wanted: str) -> None:
        path = f"{volumes}/{ident}"
        eventually(lambda: admin.get(path).json()["volume"]["status"] == wanted, f"it is {wanted}")

    status("available")
    server = compute.active_server(own, admin)
    at = f"/compute/v2.1/servers/{server['id']}/os-volume_attachments"
    admin.post(at, json={"volumeAttachment": {"volumeId": ident}})
    status("in-use")
    asked = {"snapshot": {"volume_id": ident, "force": True}}
    taken = admin.post("/volume/v3/snapshots", json=asked).json()["snapshot"]["id"]
    path = f"/volume/v3/snapshots/{taken}"
    eventually(
        lambda: admin.get(path).json()["snapshot"]["status"] == "available", "snapshot of a volume in use"
    )
    eventually(lambda: findings(admin) == set(), "rows and world agree")

    own.cloud.database.write(
        lambda tx: tx.execute(delete(volume_snapshot).where(volume_snapshot.c.id == taken))
    )
    assert ("leaked", "snapshot", taken) in findings(admin)
    own.cloud.database.write(lambda tx: tx.execute(update(volume).values(status="extending")))
    assert ("stuck", "volume", ident) in findings(admin)


def test_a_volume_that_is_taken_away_by_force_is_gone_from_its_guest(own: RunningCloud) -> None:
    admin = own.admin()
    volumes = "/volume/v3/volumes"
    ident = admin.post(volumes, json={"volume": {"size": 1}}).json()["volume"]["id"]

    def status(wanted: str) -> None:
        path = f"{volumes}/{ident}"
        eventually(lambda: admin.get(path).json()["volume"]["status"] == wanted, f"it is {wanted}")

    status("available")
    server = compute.active_server(own, admin)
    at = f"/compute/v2.1/servers/{server['id']}/os-volume_attachments"
    admin.post(at, json={"volumeAttachment": {"volumeId": ident}})
    status("in-use")
    secret = own.cloud.database.read(
        lambda tx: tx.scalar(select(volume.c.auth_password).where(volume.c.id == ident))
    )
    assert admin.post(f"{volumes}/{ident}/action", json={"os-force_detach": {}}).status_code == 202
    status("available")
    eventually(lambda: ("leaked", "disk", ident) not in findings(admin), "the guest has let go")
    assert admin.delete(f"{at}/{ident}").status_code == 202
    assert admin.get(at).json()["volumeAttachments"] == []
    eventually(lambda: not [f for f in findings(admin) if f[2] == ident], "rows and world agree")
    now = own.cloud.database.read(
        lambda tx: tx.scalar(select(volume.c.auth_password).where(volume.c.id == ident))
    )
    assert now != secret, "an old login is worth nothing"
