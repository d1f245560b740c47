"""What is planted as a secret turns up in no log, no process list, no error and no file that others may read."""

from __future__ import annotations

import base64
import json
import logging
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lib import compute
from tests.lib.cloud import Account, RunningCloud, running_cloud
from tests.lib.planted import Planted
from tests.lib.waiting import eventually
from virga.lib import log as logs

NEWEST = {"openstack-api-version": "compute 2.95"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that others may enter, as an operator's may be."""
    directory = tmp_path_factory.mktemp("state")
    directory.chmod(0o755)
    return directory


@pytest.fixture(scope="module")
def open_cloud(place: Path) -> Iterator[RunningCloud]:
    logs.start("server", place / "logs", "debug", 50, 2)
    for client in ("httpx", "httpcore"):
        logging.getLogger(client).setLevel(logging.WARNING)
    with running_cloud(place) as running:
        yield running


def text(what: str) -> str:
    return f"planted-{what}-{secrets.token_hex(12)}"


def tour(cloud: RunningCloud, planted: Planted) -> list[httpx.Response]:
    """All that takes or gives a secret; returns the answers that were refusals."""
    admin, refused = cloud.admin(), []
    planted.plant("admin token", cloud.token(cloud.account("admin")))
    account = cloud.new_project()
    user = f"/identity/v3/users/{account.user_id}"
    first, second = planted.plant("password", text("pw")), planted.plant("new password", text("pw2"))
    assert admin.patch(user, json={"user": {"password": first}}).status_code == 200
    body = {"user": {"original_password": first, "password": second}}
    assert httpx.post(cloud.url + user + "/password", json=body).status_code == 204
    body = {"user": {"original_password": planted.plant("wrong password", text("wrong")), "password": second}}
    refused.append(httpx.post(cloud.url + user + "/password", json=body))
    mine = Account(account.name, second, account.project, account.project_id, account.user_id)
    member = cloud.client(mine)
    planted.plant("member token", cloud.token(mine))
    guess = planted.plant("password of a failed login", text("guess"))
    refused.append(cloud.authenticate(Account(account.name, guess, account.project)))
    made = member.post(user + "/application_credentials", json={
        "application_credential": {"name": "a", "secret": planted.plant("credential secret", text("app"))}})  # fmt: skip
    assert made.status_code == 201, made.text
    blob = json.dumps({"access": "x" * 8, "secret": planted.plant("ec2 secret", text("ec2"))})
    credential = {"type": "ec2", "blob": blob, "user_id": account.user_id, "project_id": account.project_id}
    assert admin.post("/identity/v3/credentials", json={"credential": credential}).status_code == 201
    refused += servers(cloud, member, planted)
    refused += volumes(member, planted)
    lacks_a_name: dict[str, Any] = {"methods": ["password"], "password": {"user": {"password": guess}}}
    refused.append(
        httpx.post(f"{cloud.url}/identity/v3/auth/tokens", json={"auth": {"identity": lacks_a_name}})
    )
    refused.append(admin.post("/identity/v3/users", json={"user": {"password": guess}}))
    refused.append(admin.post("/identity/v3/users", json={"user": {"name": 5, "password": guess}}))
    refused.append(admin.post("/identity/v3/users", json={"user": {"name": "x", "password": [guess]}}))
    return refused


def servers(cloud: RunningCloud, member: httpx.Client, planted: Planted) -> list[httpx.Response]:
    data = planted.plant("user data", text("userdata"))
    server = {
        "name": "s",
        "flavorRef": compute.flavor(cloud),
        "imageRef": compute.image(cloud),
        "networks": "none",
        "user_data": base64.b64encode(data.encode()).decode(),
        "adminPass": planted.plant("admin pass", text("adminpass")),
        "config_drive": True,
    }
    made = member.post("/compute/v2.1/servers", json={"server": server}, headers=NEWEST)
    assert made.status_code == 202, made.text
    ident = made.json()["server"]["id"]
    path = f"/compute/v2.1/servers/{ident}"
    eventually(lambda: member.get(path).json()["server"]["status"] == "ACTIVE", "server runs")
    action = {"changePassword": {"adminPass": planted.plant("changed pass", text("changed"))}}
    refused = [member.post(path + "/action", json=action)]
    refused.append(member.post(path + "/action", json={"changePassword": {"adminPass": [data]}}))
    pair = member.post("/compute/v2.1/os-keypairs", json={"keypair": {"name": "k"}})
    if pair.status_code == 200:
        key = pair.json()["keypair"]["private_key"]
        planted.plant("private key", max(key.splitlines(), key=len))
    console = member.post(path + "/remote-consoles", headers=NEWEST, json={
        "remote_console": {"protocol": "vnc", "type": "novnc"}})  # fmt: skip
    if console.status_code == 200:
        token = console.json()["remote_console"]["url"].rpartition("token=")[2].rpartition("%3D")[2]
        planted.plant("console token", token)
    return refused


def volumes(member: httpx.Client, planted: Planted) -> list[httpx.Response]:
    made = member.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    ident = made.json()["volume"]["id"]
    path = f"/volume/v3/volumes/{ident}"
    eventually(lambda: member.get(path).json()["volume"]["status"] == "available", "volume is there")
    connector: dict[str, Any] = {
        "connector": {"host": "h", "initiator": "iqn.2026-01.test:x", "ip": "127.0.0.1"}
    }
    told = member.post(path + "/action", json={"os-initialize_connection": connector})
    if told.status_code == 200:
        chap = told.json()["connection_info"]["data"].get("auth_password")
        if chap:
            planted.plant("CHAP secret", chap)
    member.post(path + "/action", json={"os-terminate_connection": connector})
    transfer = member.post("/volume/v3/os-volume-transfer", json={"transfer": {"volume_id": ident}}).json()[
        "transfer"
    ]
    planted.plant("transfer key", transfer["auth_key"])
    guess = planted.plant("wrong transfer key", text("transfer"))
    accept = f"/volume/v3/os-volume-transfer/{transfer['id']}/accept"
    return [member.post(accept, json={"accept": {"auth_key": guess}})]


def test_no_secret_is_seen_again(open_cloud: RunningCloud, place: Path) -> None:
    planted = Planted()
    refused = tour(open_cloud, planted)
    assert {answer.status_code for answer in refused} <= {202, 400, 401, 403, 404, 409}
    assert len(planted.secrets) >= 12
    found = planted.in_logs(place) + planted.in_open_files(place)
    found += planted.in_processes(but=[])
    for answer in refused:
        # A schema's refusal shows the value that it refuses; that must not be a secret's.
        found += planted.seen_in(
            f"the answer to {answer.request.method} {answer.request.url}", answer.content
        )
    assert not found, "\n".join(found)
    assert (place / "logs" / "server.log").stat().st_size > 0


def test_the_database_is_for_its_owner_only(open_cloud: RunningCloud, place: Path) -> None:
    for name in ("virga.db", "virga.db-wal", "virga.db-shm", "admin_password", "fernet-keys"):
        path = place / name
        if path.exists():
            assert path.stat().st_mode & 0o077 == 0, f"{name}: {path.stat().st_mode:o}"
    assert os.access(place / "virga.db", os.R_OK)
