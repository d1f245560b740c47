"""What a user is told when the machine gives no more: a sentence and 503, nothing half done, and all is well afterwards."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import resource
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lib.cloud import PASSWORDS, RunningCloud, running_cloud
from tests.lib.waiting import eventually
from virga.db import trouble
from virga.lib.clock import now_us

ROOT = Path(__file__).resolve().parents[2]
NETWORKS = "/network/v2.0/networks"


def a_network() -> dict[str, Any]:
    return {"network": {"name": f"n-{uuid.uuid4().hex}", "description": "x" * 200}}


class Apart:
    """A server in a process of its own, whose limits are not ours."""

    def __init__(self, state_dir: Path, files: int = 1024) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        settings = {"port": self.port, "dataplane": "fake", "password_hash_rounds": 4,
                    "admin_password": PASSWORDS["admin"], "demo_password": PASSWORDS["demo"]}  # fmt: skip
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        (state_dir / "virga.toml").write_text("\n".join(lines) + "\n")
        self.state_dir = state_dir
        self.process = subprocess.Popen(
            [sys.executable, "-m", "virga.server", "--state-dir", str(state_dir)],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def ready(self) -> None:
        eventually(lambda: self.process.poll() is not None or self._answers(), "the server answers", 30)
        assert self.process.poll() is None, self.process.stderr.read() if self.process.stderr else ""
        name = {"name": "admin", "domain": {"id": "default"}}
        user = {"user": {**name, "password": PASSWORDS["admin"]}}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        auth = {"auth": {"identity": {"methods": ["password"], "password": user}, "scope": scope}}
        answer = self.client.post("/identity/v3/auth/tokens", json=auth)
        self.client.headers["x-auth-token"] = answer.headers["x-subject-token"]

    def _answers(self) -> bool:
        try:
            return self.client.get("/identity/v3").status_code == 200
        except httpx.TransportError:
            return False

    def log(self) -> str:
        return "".join(path.read_text() for path in (self.state_dir / "logs").glob("server.log*"))

    def end(self) -> str:
        """What it said to standard error."""
        self.client.close()
        self.process.terminate()
        return self.process.communicate(timeout=30)[1]


@contextlib.contextmanager
def apart(state_dir: Path, files: int = 1024) -> Iterator[Apart]:
    server = Apart(state_dir, files)
    try:
        server.ready()
        yield server
    finally:
        said = server.end()
    assert "Traceback" not in said, said


def refused(answer: httpx.Response, words: str) -> None:
    """503, in the envelope of the Network service, with a sentence that says what to do."""
    assert answer.status_code == 503, answer.text
    inner = answer.json()["NeutronError"]
    assert inner["type"] == "ServiceUnavailable"
    assert words in inner["message"]
    assert "sqlite" not in answer.text.replace("sqlite3 virga.db .recover", "")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "tmpfs", str(tmp_path)], capture_output=True
    )
    if made.returncode != 0:
        pytest.skip("this machine mounts no tmpfs")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def test_a_full_disk(small_disk: Path) -> None:
    with apart(small_disk) as server:
        filler = small_disk / "filler"
        with filler.open("wb") as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 65536)
                file.flush()
        accepted, answer = [], None
        for _ in range(400):
            answer = server.client.post(NETWORKS, json=a_network())
            if answer.status_code != 201:
                break
            accepted.append(answer.json()["network"]["id"])
        assert answer is not None
        refused(answer, "is full")
        # What was accepted is there, and what was refused is not.
        shown = server.client.get(NETWORKS).json()["networks"]
        assert {n["id"] for n in shown} == set(accepted)
        image = {"name": "i", "disk_format": "raw", "container_format": "bare"}
        assert server.client.post("/image/v2/images", json=image).status_code == 503
        filler.unlink()
        answer = eventually(lambda: _made(server), "the cloud writes again")
        made = server.client.post("/image/v2/images", json=image).json()["id"]
        headers = {"content-type": "application/octet-stream"}
        large = b"\0" * (30 * 1024 * 1024)
        path = f"/image/v2/images/{made}"
        stored = server.client.put(path + "/file", content=large, headers=headers)
        assert stored.status_code in (413, 503), stored.text
        assert server.client.get(path).json()["status"] == "queued"
        assert not list((small_disk / "images").rglob(made))
        assert "Traceback" not in server.log()


def _made(server: Apart) -> bool:
    return server.client.post(NETWORKS, json=a_network()).status_code == 201


def test_no_descriptors_left(tmp_path: Path) -> None:
    with apart(tmp_path, files=96) as server:
        held = []
        with contextlib.suppress(OSError):
            for _ in range(150):
                held.append(socket.create_connection(("127.0.0.1", server.port), timeout=2))
        # The connection that was there before is served, or told why not.
        for answer in (server.client.get(NETWORKS), server.client.post(NETWORKS, json=a_network())):
            if answer.status_code not in (200, 201):
                assert answer.status_code == 503
                assert "error" in answer.json() or "NeutronError" in answer.json()
                assert "files open" in answer.text or "cannot be read or written" in answer.text
        for connection in held:
            connection.close()
        with httpx.Client(base_url=server.client.base_url, headers=server.client.headers) as fresh:
            eventually(lambda: _reached(fresh), "a new client is served")
            assert fresh.post(NETWORKS, json=a_network()).status_code == 201


def _reached(client: httpx.Client) -> bool:
    try:
        return client.get(NETWORKS, timeout=3).status_code == 200
    except httpx.TransportError:
        return False


def test_a_damaged_page(tmp_path: Path) -> None:
    with apart(tmp_path) as server:
        for _ in range(40):
            assert _made(server)
    with contextlib.closing(sqlite3.connect(tmp_path / "virga.db")) as rows:
        rows.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = rows.execute("SELECT rootpage FROM sqlite_master WHERE name = 'network'").fetchone()[0]
        size = rows.execute("PRAGMA page_size").fetchone()[0]
    good = (tmp_path / "virga.db").read_bytes()
    with (tmp_path / "virga.db").open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(os.urandom(size))
    server = Apart(tmp_path)
    said = server.process.communicate(timeout=60)[1]
    server.client.close()
    assert (server.process.returncode, said.count("\n")) == (1, 1)
    assert said.startswith("virga: The database of this cloud is damaged.")
    assert "Traceback" not in server.log()
    (tmp_path / "virga.db").write_bytes(good)
    with apart(tmp_path) as server:
        assert len(server.client.get(NETWORKS).json()["networks"]) == 40


def test_what_is_no_database_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "virga.db").write_bytes(b"this is not a database, " * 400)
    server = Apart(tmp_path)
    said = server.process.communicate(timeout=60)[1]
    server.client.close()
    assert server.process.returncode == 1
    assert said.startswith("virga: The database of this cloud is damaged.")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "no space"), "is full"),
        (OSError(errno.EMFILE, "too many"), "files open"),
        (BlockingIOError(errno.EAGAIN, "no process"), "no further process"),
        (RuntimeError("can't start new thread"), "no further process"),
        (MemoryError(), "no memory"),
        (ValueError("ours"), None),
    ],
)
def test_the_machines_trouble_is_told_apart_from_ours(error: Exception, words: str | None) -> None:
    wrapped = RuntimeError("while doing something")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        sentence = trouble.told(each)
        assert (sentence is None) if words is None else (sentence is not None and words in sentence)


@pytest.mark.parametrize("hours", [26, -26, 24 * 365 * 20])
def test_a_clock_that_jumps(tmp_path: Path, hours: int) -> None:
    with running_cloud(tmp_path) as cloud:
        admin, database = cloud.admin(), cloud.cloud.database
        made = admin.post(NETWORKS, json=a_network()).json()["network"]
        database.clock = lambda: now_us() + hours * 3_600_000_000
        # The token is over, or from the future; who logs in again goes on.
        assert admin.get(NETWORKS).status_code in (200, 401)
        fresh = _fresh(cloud)
        assert [n["id"] for n in fresh.get(NETWORKS).json()["networks"]] == [made["id"]]
        assert fresh.post(NETWORKS, json=a_network()).status_code == 201
        change = fresh.put(f"{NETWORKS}/{made['id']}", json={"network": {"name": "new"}})
        assert change.json()["network"]["revision_number"] == made["revision_number"] + 1
        database.clock = now_us
        again = _fresh(cloud)
        assert len(again.get(NETWORKS).json()["networks"]) == 2
        agents = "/network/v2.0/agents"
        eventually(
            lambda: all(a["alive"] for a in again.get(agents).json()["agents"]), "agents are up again", 60
        )
        volume = again.post("/volume/v3/volumes", json={"volume": {"size": 1}}).json()["volume"]["id"]
        path = f"/volume/v3/volumes/{volume}"
        eventually(lambda: again.get(path).json()["volume"]["status"] == "available", "jobs are done")


def _fresh(cloud: RunningCloud) -> httpx.Client:
    token = cloud.authenticate(cloud.account("admin")).headers["x-subject-token"]
    return cloud.client(**{"x-auth-token": token})
