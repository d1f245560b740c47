"""A Network service alone: in-memory database, the real edge, callers by name instead of tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import virga.services.network.models
import virga.services.network.models_l3  # noqa: F401
from virga.api.context import AsyncContext, CallError, Workers
from virga.api.edge import Edge
from virga.api.faults import Unauthorized
from virga.api.policy import Policy
from virga.api.request import Caller
from virga.contract.messages import Heartbeat
from virga.db.engine import Database
from virga.db.metadata import metadata
from virga.db.tx import Tx
from virga.services.network import bootstrap
from virga.services.network.agent import heartbeat
from virga.services.network.policies import POLICIES
from virga.services.network.routes import service
from virga.settings import Settings

ROLES = {
    "admin": {"admin", "manager", "member", "reader"},
    "member": {"member", "reader"},
    "reader": {"reader"},
}


def caller(name: str) -> Caller:
    """``admin``, ``alice``: a member of project alice; ``alice:reader``: with that role."""
    user, _, role = name.partition(":")
    role = role or ("admin" if user == "admin" else "member")
    return Caller(
        user_id=user, user_name=user, project_id=f"p-{user}", roles=frozenset(ROLES.get(role, {role}))
    )


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str]


class NetworkCloud:
    """``cloud.post("alice", "/networks", {...})``."""

    def __init__(
        self, url: str = "sqlite://", clock: Callable[[], int] | None = None, **settings: Any
    ) -> None:
        self.settings = Settings(state_dir=Path("/nonexistent"), **settings)
        self.database = Database(url, clock) if clock else Database(url)
        metadata.create_all(self.database.engine())
        self.policy = Policy(POLICIES)
        self.workers = Workers(self.database)
        self.database.write(lambda tx: bootstrap.run(tx, self.settings))
        self.edge = Edge(service(self.settings), self.workers, self.policy, _authenticate, self._context)

    def _context(self, request_id: str, name: str) -> AsyncContext:
        return AsyncContext(self.workers, _no_hosts, self.policy, self.settings, request_id, name)

    def host(self, name: str = "host1", *roles: str, **ovs: Any) -> None:
        """An agent of this host says that it lives."""
        message = Heartbeat(
            host=name,
            roles=list(roles or ("network", "dhcp", "l3", "metadata")),
            configurations={
                "network": {"bridge_mappings": {"physnet1": "br-phys", "public": "br-ex"}, **ovs}
            },
        )
        self.database.write(lambda tx: heartbeat(tx, self.settings, message))

    def request(
        self, who: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        return asyncio.run(self.ask(who, method, path, body, headers or {}))

    async def ask(
        self, who: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        path, _, query = ("/v2.0" + path).partition("?")
        payload = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": payload, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        pairs = {"x-auth-token": who, "host": "cloud", **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(k.encode(), v.encode()) for k, v in pairs.items()],
        }
        await self.edge(scope, receive, send)
        raw = b"".join(m.get("body", b"") for m in sent[1:])
        found = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
        return Answer(sent[0]["status"], msgspec.json.decode(raw) if raw else None, found)

    def get(self, who: str, path: str) -> Any:
        return self._good(self.request(who, "GET", path), 200)

    def post(self, who: str, path: str, body: Any) -> Any:
        return self._good(self.request(who, "POST", path, body), 201)

    def put(self, who: str, path: str, body: Any) -> Any:
        return self._good(self.request(who, "PUT", path, body), 200)

    def delete(self, who: str, path: str) -> Any:
        return self._good(self.request(who, "DELETE", path), 204)

    def _good(self, answer: Answer, status: int) -> Any:
        assert answer.status == status, answer
        body = answer.body
        if isinstance(body, dict) and len(body) == 1:
            return next(iter(body.values()))
        return body

    def close(self) -> None:
        self.workers.close()
        self.database.close()


async def _no_hosts(host: str, method: str, arguments: Any, **_: Any) -> bytes:
    raise CallError(f"host {host} is not there", kind="unreachable")


def _authenticate(tx: Tx, token: str) -> Caller:
    if token == "nobody":
        raise Unauthorized("")
    return caller(token)
