"""A whole cloud for tests: the real control plane on an ephemeral loopback port, in a thread, drivers in memory.

    with running_cloud(tmp_path) as cloud:
        cloud.admin().get("/identity/v3/users")          # raw HTTP, signed in
        cloud.connection("demo").image.images()           # openstacksdk

It is started once a test session by the fixture ``cloud`` (``tests/api/conftest.py``); tests make their own
projects and users by ``cloud.new_project()`` and so do not disturb one another.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from virga.server import build
from virga.settings import Settings, load

PASSWORDS = {"admin": "admin-password", "demo": "demo-password"}
START_S = 30.0


@dataclass
class Account:
    """Somebody who can log in, in one project."""

    name: str
    password: str
    project: str
    project_id: str = ""
    user_id: str = ""


@dataclass
class RunningCloud:
    """A cloud that answers at ``url`` until its context ends."""

    url: str
    settings: Settings
    cloud: Any
    """The ``virga.server.Cloud`` inside, for tests that look at the database."""
    _tokens: dict[tuple[str, str], str] = field(default_factory=dict)
    _connections: list[Any] = field(default_factory=list)

    def account(self, name: str, project: str | None = None) -> Account:
        """``admin`` or ``demo``, in the project of the same name unless told otherwise."""
        return Account(name, PASSWORDS[name], project or name)

    def authenticate(self, account: Account, scope: dict[str, Any] | None = None) -> httpx.Response:
        """The raw answer to a request for a token."""
        domain = {"id": "default"}
        body: dict[str, Any] = {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": account.name, "domain": domain, "password": account.password}},
            },
            "scope": {"project": {"name": account.project, "domain": domain}} if scope is None else scope,
        }
        return httpx.post(f"{self.url}/identity/v3/auth/tokens", json={"auth": body})

    def token(self, account: Account) -> str:
        """A token of the account in its project, made once."""
        key = (account.name, account.project)
        if key not in self._tokens:
            answer = self.authenticate(account)
            assert answer.status_code == 201, answer.text
            self._tokens[key] = answer.headers["x-subject-token"]
        return self._tokens[key]

    def client(self, account: Account | None = None, **headers: str) -> httpx.Client:
        """Raw HTTP: paths start with the service's prefix; without account nobody is signed in. Closed with the cloud."""
        if account is not None:
            headers["x-auth-token"] = self.token(account)
        made = httpx.Client(base_url=self.url, headers=headers, timeout=60)
        self._connections.append(made)
        return made

    def admin(self) -> httpx.Client:
        return self.client(self.account("admin"))

    def member(self) -> httpx.Client:
        return self.client(self.account("demo"))

    def connection(self, account: Account | str = "admin", **options: Any) -> Any:
        """An openstacksdk connection; closed with the cloud."""
        if isinstance(account, str):
            account = self.account(account)
        import openstack

        made = openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth_url=f"{self.url}/identity",
            username=account.name,
            password=account.password,
            project_name=account.project,
            user_domain_id="default",
            project_domain_id="default",
            region_name="RegionOne",
            **options,
        )
        self._connections.append(made)
        return made

    def new_project(self, role: str = "member") -> Account:
        """A fresh user with a role in a fresh project."""
        name, admin = f"test-{uuid.uuid4().hex[:12]}", self.admin()
        with admin:
            project = admin.post("/identity/v3/projects", json={"project": {"name": name}}).json()["project"]
            new_user = {"name": name, "password": name, "domain_id": "default"}
            user = admin.post("/identity/v3/users", json={"user": new_user}).json()["user"]
            roles = admin.get("/identity/v3/roles", params={"name": role}).json()["roles"]
            path = f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{roles[0]['id']}"
            assert admin.put(path).status_code == 204
        return Account(name, name, name, project["id"], user["id"])

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


@contextlib.contextmanager
def running_cloud(state_dir: Path, **overrides: object) -> Iterator[RunningCloud]:
    """Start a cloud in ``state_dir`` with fast hashes and fake drivers; ``overrides`` are settings."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    values: dict[str, object] = {
        "dataplane": "fake",
        "port": listener.getsockname()[1],
        "password_hash_rounds": 4,
        "admin_password": PASSWORDS["admin"],
        "demo_password": PASSWORDS["demo"],
        **overrides,
    }
    settings = load(state_dir, values, {}, state_dir)
    cloud = build(settings)
    server = uvicorn.Server(
        uvicorn.Config(cloud.app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    started = threading.Event()
    startup = server.startup

    async def startup_and_tell(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = startup_and_tell  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="cloud", daemon=True)
    thread.start()
    assert started.wait(START_S), "the cloud did not start"
    running = RunningCloud(settings.endpoint, settings, cloud)
    try:
        yield running
    finally:
        running.close()
        server.should_exit = True
        thread.join(START_S)
        listener.close()
        assert not thread.is_alive(), "the cloud did not stop"
