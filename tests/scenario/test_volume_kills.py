"""kill -9 of server, agent, target daemon and QEMU in the middle of what is done with volumes: nothing is lost.

Every round starts something, kills somebody at a random moment, and waits until each volume stands in a state that
is an end; then rows, pool, targets and disks must agree. The seed is printed, so a round can be had again:

    VOLUME_KILL_SEED=7 VOLUME_KILL_ROUNDS=48 python -m pytest tests/scenario/test_volume_kills.py
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.lib.lab import ROOT, Lab, running_lab, wait_for

ROUNDS = int(os.environ.get("VOLUME_KILL_ROUNDS", "8"))
SEED = int(os.environ.get("VOLUME_KILL_SEED", "1"))
ENDS = {"available", "in-use", "error", "error_deleting", "error_extending", "error_restoring"}
pytestmark = pytest.mark.timeout(300 + 120 * ROUNDS)


@pytest.fixture(scope="module")
def small_lab() -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("a lab needs root")
    with running_lab(hosts=1) as started:
        yield started


@dataclass
class Story:
    """A cloud in which things happen to volumes, and people with no mercy."""

    lab: Lab
    chance: random.Random
    server_id: str = ""
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings = json.loads((self.lab.state_dir / "chosen.json").read_text())
        self.url = f"http://127.0.0.1:{settings['port']}"
        self.http = httpx.Client(base_url=self.url, timeout=30)
        self._log_in()

    def _log_in(self) -> None:
        password = (self.lab.state_dir / "admin_password").read_text().strip()
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        answer = self.http.post("/identity/v3/auth/tokens", json=body)
        self.http.headers["x-auth-token"] = answer.headers["x-subject-token"]
        self.http.headers["openstack-api-version"] = "volume 3.71"

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """A request that survives a server that is killed meanwhile; nobody says whether it was heard."""

        def once() -> httpx.Response | None:
            try:
                return self.http.request(method, path, json=body)
            except httpx.TransportError:
                return None

        answer = wait_for(f"{method} {path} is answered", once, 60)
        assert answer is not None
        assert answer.status_code < 500, answer.text
        return answer

    def volumes(self) -> list[dict[str, Any]]:
        return list(self.ask("GET", "/volume/v3/volumes/detail").json()["volumes"])

    def settled(self) -> bool:
        rest = [v for v in self.volumes() if v["status"] not in ENDS]
        snapshots = self.ask("GET", "/volume/v3/snapshots").json()["snapshots"]
        backups = self.ask("GET", "/volume/v3/backups/detail").json()["backups"]
        others = [
            s for s in [*snapshots, *backups] if s["status"] not in ("available", "error", "error_deleting")
        ]
        return not rest and not others

    def check(self) -> list[dict[str, Any]]:
        command = [sys.executable, "-m", "virga.cli.main", "volume", "check", "--json"]
        command += ["--state-dir", str(self.lab.state_dir)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        try:
            return list(json.loads(done.stdout)["findings"])
        except ValueError:
            return [{"kind": "silent", "text": done.stdout + done.stderr}]

    # What people do

    def one(self, *statuses: str) -> dict[str, Any] | None:
        fit = [v for v in self.volumes() if v["status"] in statuses]
        return self.chance.choice(fit) if fit else None

    def create(self, **source: Any) -> None:
        self.ask("POST", "/volume/v3/volumes", {"volume": {"size": 1, **source}})

    def do_create(self) -> None:
        self.create()

    def do_create_from_image(self) -> None:
        self.create(imageRef=self.ask("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"])

    def do_clone(self) -> None:
        if source := self.one("available", "in-use"):
            self.create(source_volid=source["id"], size=source["size"])

    def do_extend(self) -> None:
        if goal := self.one("available"):
            grown = {"os-extend": {"new_size": goal["size"] + 1}}
            self.ask("POST", f"/volume/v3/volumes/{goal['id']}/action", grown)

    def do_snapshot(self) -> None:
        if source := self.one("available"):
            self.ask("POST", "/volume/v3/snapshots", {"snapshot": {"volume_id": source["id"], "force": True}})

    def do_backup(self) -> None:
        if source := self.one("available"):
            self.ask("POST", "/volume/v3/backups", {"backup": {"volume_id": source["id"]}})

    def do_delete(self) -> None:
        if goal := self.one("available", "error", "error_extending", "error_deleting"):
            self.ask("DELETE", f"/volume/v3/volumes/{goal['id']}?cascade=true")

    def do_attach(self) -> None:
        if goal := self.one("available"):
            wanted = {"volumeAttachment": {"volumeId": goal["id"]}}
            self.ask("POST", f"/compute/v2.1/servers/{self.server_id}/os-volume_attachments", wanted)

    def do_detach(self) -> None:
        if goal := self.one("in-use"):
            self.ask("DELETE", f"/compute/v2.1/servers/{self.server_id}/os-volume_attachments/{goal['id']}")

    # What befalls them

    def victims(self, name: str) -> list[int]:
        """Process ids, of this cloud alone."""
        if name == "tgtd":
            return [int(word) for word in self.lab.on("host1", PIDS_OF_TGTD, check=False).split()]
        mark = {"server": "virga.server", "agent": "virga.agent", "qemu": "qemu-system-x86_64"}[name].encode()
        here = str(self.lab.state_dir).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if mark in words and any(here in word for word in words):
                        found.append(int(entry.name))
        return found

    def kill(self, name: str) -> None:
        for pid in self.victims(name):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def heal(self) -> None:
        """Everybody is back; the machine runs again when it was the victim."""
        wait_for("the server answers", lambda: self.ask("GET", "/volume/v3/volumes").status_code == 200, 60)

        def active() -> bool:
            path = f"/compute/v2.1/servers/{self.server_id}"
            server = self.ask("GET", path).json()["server"]
            if server["status"] == "SHUTOFF" and server["OS-EXT-STS:task_state"] is None:
                self.ask("POST", f"{path}/action", {"os-start": None})
            return bool(server["status"] == "ACTIVE")

        if self.server_id:
            wait_for("the machine runs", active, 120)


PIDS_OF_TGTD = (
    'for p in /proc/[0-9]*; do [ "$(readlink $p/ns/net)" = "$(readlink /proc/self/ns/net)" ] && '
    '[ "$(cat $p/comm 2>/dev/null)" = tgtd ] && basename $p; done; true'
)


@pytest.fixture(scope="module")
def story(small_lab: Lab) -> Iterator[Story]:
    told = Story(small_lab, random.Random(SEED))
    try:
        yield _begun(told)
    finally:
        told.http.close()


def _begun(told: Story) -> Story:
    """Limits lifted, a guest that is up, and two volumes, one of them attached."""
    limits = {"quota_set": {"volumes": 500, "gigabytes": 5000, "snapshots": 500, "backups": 500}}
    project = told.ask("GET", "/identity/v3/auth/projects").json()["projects"]
    ident = next(p["id"] for p in project if p["name"] == "admin")
    told.ask("PUT", f"/volume/v3/os-quota-sets/{ident}", limits)
    image = told.ask("GET", "/image/v2/images?name=tiny").json()["images"][0]["id"]
    flavors = told.ask("GET", "/compute/v2.1/flavors").json()["flavors"]
    flavor = next(f["id"] for f in flavors if f["name"] == "m1.nano")
    wanted = {"name": "victim", "imageRef": image, "flavorRef": flavor, "networks": "none"}
    told.http.headers["x-openstack-nova-api-version"] = "2.90"
    told.server_id = told.ask("POST", "/compute/v2.1/servers", {"server": wanted}).json()["server"]["id"]
    told.heal()
    output = f"/compute/v2.1/servers/{told.server_id}/action"
    wait_for(
        "the guest is up",
        lambda: "login:" in told.ask("POST", output, {"os-getConsoleOutput": {}}).json()["output"],
        180,
    )
    told.do_create()
    told.do_create()
    wait_for("two volumes are there", told.settled, 60)
    told.do_attach()
    wait_for("one is attached", lambda: told.one("in-use") is not None, 60)
    return told


def test_no_kill_loses_doubles_or_leaks_anything(story: Story) -> None:
    assert wait_for("rows and world agree before the first kill", lambda: not story.check(), 60)
    deeds: list[Callable[[], None]] = [
        story.do_create, story.do_create_from_image, story.do_clone, story.do_extend, story.do_snapshot,
        story.do_backup, story.do_delete, story.do_attach, story.do_detach,
    ]  # fmt: skip
    for number in range(ROUNDS):
        deed, victim = story.chance.choice(deeds), story.chance.choice(("server", "agent", "tgtd", "qemu"))
        moment = story.chance.random() ** 2 * 0.4
        story.told.append(f"round {number}: {deed.__name__}, {victim} after {moment:.3f} s")
        print(story.told[-1], f"(seed {SEED})", flush=True)
        killer = threading.Timer(moment, story.kill, (victim,))
        killer.start()
        try:
            deed()
        finally:
            killer.join()
        story.heal()
        wait_for(f"every volume stands still after {story.told[-1]}", story.settled, 150)
        try:
            wait_for("rows and world agree", lambda: not story.check(), 90)
        except AssertionError:
            raise AssertionError(f"after {story.told[-1]}: {story.check()}") from None


def test_all_that_is_deleted_is_gone(story: Story) -> None:
    def free() -> bool:
        for one in story.volumes():
            if one["status"] == "in-use":
                path = f"/compute/v2.1/servers/{story.server_id}/os-volume_attachments/{one['id']}"
                story.ask("DELETE", path)
        return not [v for v in story.volumes() if v["status"] in ("in-use", "detaching")]

    wait_for("nothing is attached", free, 150)
    for backup in story.ask("GET", "/volume/v3/backups").json()["backups"]:
        story.ask("DELETE", f"/volume/v3/backups/{backup['id']}")
    for volume in story.volumes():
        story.ask("DELETE", f"/volume/v3/volumes/{volume['id']}?cascade=true")
    wait_for("no volume is left", lambda: not story.volumes(), 120)
    wait_for("no backup is left", lambda: not story.ask("GET", "/volume/v3/backups").json()["backups"], 60)
    wait_for("rows and world agree", lambda: not story.check(), 90)
    left = list((story.lab.state_dir / "hosts/host1/volumes").iterdir())
    assert left == []
    assert not list((story.lab.state_dir / "backups").glob("*"))
