"""Wires the control plane together and serves it; the only file that knows every room. Nobody imports it.

settings -> database -> services (routes, policies, jobs) -> edge -> uvicorn
                   \\-> changes -> feed -> hub -> agents -> reports -> services
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import importlib.util
import re
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Mount
from starlette.routing import Route as HttpRoute

from virga import settings as settings_module
from virga.agent.config import AgentConfig
from virga.agent.wiring import build as build_agent
from virga.api import policy_file
from virga.api.context import AsyncContext, CallError, Workers
from virga.api.edge import Edge
from virga.api.jobs import Job, JobRunner
from virga.api.policy import Policy, PolicyError
from virga.api.routing import ServiceApi
from virga.bus.client import BusClient
from virga.db import migrate, trouble
from virga.db.engine import Database
from virga.lib import log as logs
from virga.settings import Settings

SERVICES = ("identity", "image", "network", "placement", "block_storage", "compute")
log = logs.log_for("virga.server")


def _module(name: str) -> Any | None:
    """A room's module, or None while the room is not there."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        return None
    return importlib.import_module(name) if found else None


class Cloud:
    """One control plane in one process. Made once, started and stopped by the ASGI lifespan."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.state_dir.mkdir(parents=True, exist_ok=True)
        self.database = Database(settings.database)
        self.services: list[ServiceApi] = []
        self.jobs: dict[str, Job] = {}
        for name in SERVICES:
            self._add_service(name)
        # Before the explainer, whose prefix is the beginning of this one's.
        self.services.append(
            importlib.import_module("virga.services.compute.volume_check").service(self.settings)
        )
        explainer = _module("virga.trace.routes")
        if explainer is not None:
            self.services.append(explainer.service(self.settings, lambda: self.hub))
        self.policy = Policy(self._default_rules(), policy_file.read(settings.policy_file))
        self.workers = Workers(self.database)
        self.hub: Any = None
        self.app = Starlette(routes=self._mounts(), lifespan=self._lifespan)

    def _add_service(self, name: str) -> None:
        routes = _module(f"virga.services.{name}.routes")
        if routes is None:
            return
        self.services.append(routes.service(self.settings))
        jobs = _module(f"virga.services.{name}.jobs")
        if jobs is not None:
            self.jobs |= jobs.JOBS

    def _default_rules(self) -> dict[str, str]:
        rules: dict[str, str] = {}
        for service in self.services:
            rules |= service.policies
        return rules

    def _mounts(self) -> list[BaseRoute]:
        authenticate = importlib.import_module("virga.services.identity.token").authenticator(self.settings)
        mounts: list[Mount | HttpRoute] = []
        for service in self.services:
            public_url = self.settings.public_url.rstrip("/") or None
            edge = Edge(service, self.workers, self.policy, authenticate, self.context, public_url)
            # The bare prefix is a URL too: a Mount would redirect it.
            mounts += [HttpRoute(service.prefix, edge), _mount(service.prefix, edge)]
        consoles = importlib.import_module("virga.services.compute.console_proxy").routes(self.context)
        return [*consoles, *mounts, HttpRoute("/", self._front_page)]

    async def _front_page(self, request: HttpRequest) -> JSONResponse:
        """``GET /``: where the services are. Not OpenStack's; also the sign that the cloud is up."""
        base = str(request.base_url).rstrip("/")
        return JSONResponse({"virga": {s.name: base + s.prefix for s in self.services}})

    def context(self, request_id: str, name: str) -> AsyncContext:
        return AsyncContext(self.workers, self._call, self.policy, self.settings, request_id, name)

    def _call(self, host: str, method: str, arguments: Any, **options: Any) -> Awaitable[bytes]:
        if self.hub is None:
            raise CallError(f"No agent is connected for host {host}.", "unreachable")
        called: Awaitable[bytes] = self.hub.call(host, method, arguments, **options)
        return called

    def prepare(self) -> None:
        """Newest schema, and the first users, projects and catalog when the cloud is new."""
        self.database.check()
        migrate.upgrade(self.database)
        bootstrap = importlib.import_module("virga.services.identity.bootstrap").bootstrap
        passwords = first_passwords(self.settings)
        self.database.write(lambda tx: bootstrap(tx, self.settings, **passwords))
        for name in SERVICES[1:]:
            room = _module(f"virga.services.{name}.bootstrap")
            if room is not None:
                self.database.write(lambda tx, r=room: r.run(tx, self.settings))  # type: ignore[misc]

    @contextlib.asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        runner = JobRunner(self.jobs, self.context, self.database.clock)
        self.database.on_jobs.append(runner.notify)
        async with contextlib.AsyncExitStack() as stack:
            hub = _module("virga.desired.wiring")
            if hub is not None:
                self.hub = await stack.enter_async_context(hub.running(self))
                if self.settings.dataplane == "fake":
                    stack.enter_context(fake_hosts(self.settings, self.hub))
            task = asyncio.create_task(runner.run())
            # What is loaded now stays: the collector need not walk it again for each long list.
            gc.collect()
            gc.freeze()
            gc.set_threshold(50_000, 20, 50)
            log.info("ready", endpoint=self.settings.endpoint)
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self.workers.close()
        self.database.close()


def _mount(prefix: str, edge: Edge) -> Mount:
    """All paths below the prefix, those with a line end in them too: the service says in its words that there is none."""
    mount = Mount(prefix, edge)
    mount.path_regex = re.compile(mount.path_regex.pattern, re.DOTALL)
    return mount


@contextlib.contextmanager
def fake_hosts(settings: Settings, hub: Any) -> Iterator[None]:
    """Agents with drivers in memory, in threads of this process; the seam to them is serialised all the same."""

    def connect() -> BusClient:
        ours, theirs = socket.socketpair()
        hub.attach_socket(ours)
        return BusClient(theirs)

    agents = [build_agent(fake_config(settings, number)) for number in range(1, settings.hosts + 1)]
    for agent in agents:
        agent.start(connect)
        threading.Thread(target=agent.run, name="fake-host", daemon=True).start()
    try:
        yield
    finally:
        for agent in agents:
            agent.stop()


def fake_config(settings: Settings, number: int) -> AgentConfig:
    """Host 1 also carries DHCP, routers and volumes, as in a lab."""
    roles = ["network", "compute", "metadata"]
    if number == 1:
        roles += ["dhcp", "l3", "volume"]
    directory = settings.state_dir / "hosts" / f"host{number}"
    directory.mkdir(parents=True, exist_ok=True)
    ranges = {item.physical_network: f"br-{item.physical_network}" for item in settings.vlan_range_list}
    return AgentConfig(
        host=f"host{number}",
        directory=str(directory),
        roles=roles,
        drivers="fake",
        pool_gb=settings.volume_pool_gb,
        bridge_mappings={**ranges, "public": "br-ex"},
    )


def first_passwords(settings: Settings) -> dict[str, str]:
    """Passwords of ``admin`` and ``demo``: as set, or made once and kept in the state directory, for its owner only."""
    passwords = {"admin_password": settings.admin_password, "demo_password": settings.demo_password}
    for name, value in passwords.items():
        path = settings.state_dir / name
        if value:
            _write_secret(path, value)
        elif path.exists():
            passwords[name] = path.read_text().strip()
        else:
            passwords[name] = secrets.token_urlsafe(12)
            _write_secret(path, passwords[name])
    return passwords


def _write_secret(path: Path, value: str) -> None:
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_text(value + "\n")


def build(settings: Settings) -> Cloud:
    """A prepared cloud, ready to be served: ``build(settings).app`` is the ASGI application."""
    cloud = Cloud(settings)
    cloud.prepare()
    return cloud


@click.command()
@click.option("--state-dir", type=click.Path(path_type=Path), default=None, help="Directory of the cloud.")
@click.option("--stderr", is_flag=True, help="Log to standard error instead of a file.")
def main(state_dir: Path | None, stderr: bool) -> None:
    """Serve the control plane until told to stop."""
    try:
        settings = settings_module.load(state_dir)
    except settings_module.SettingsError as problem:
        sys.exit(f"virga: {problem}")
    if stderr:
        logs.start_stderr("server", settings.log_level)
    else:
        logs.start(
            "server", settings.state_dir / "logs", settings.log_level, settings.log_max_mb, settings.log_files
        )
    try:
        cloud = build(settings)
    except PolicyError as problem:
        log.error("not started", reason=str(problem))
        sys.exit(f"virga: {problem}")
    except Exception as problem:
        sentence = trouble.told(problem)
        if sentence is None:
            raise
        log.error("not started", reason=sentence)
        sys.exit(f"virga: {sentence}")
    uvicorn.run(
        cloud.app,
        host=settings.bind_address,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,
        server_header=False,
        backlog=512,
    )


if __name__ == "__main__":
    main()
