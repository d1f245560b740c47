"""The edge: routes, tokens, bodies, microversions, envelopes and headers, on a made-up service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from virga.api.context import AsyncContext, CallError, Workers
from virga.api.edge import Edge
from virga.api.faults import Conflict, Unauthorized, compute_envelope
from virga.api.microversion import Microversions
from virga.api.policy import Policy
from virga.api.request import Caller, Request, Response
from virga.api.routing import AUTHENTICATED, PUBLIC, Route, ServiceApi
from virga.db.engine import Database
from virga.db.tx import Tx

CALLERS = {
    "alice": Caller(user_id="alice", project_id="p1", roles=frozenset({"member"})),
    "root": Caller(user_id="root", project_id="p0", roles=frozenset({"admin"})),
}


def _authenticate(tx: Tx, token: str) -> Caller:
    if token not in CALLERS:
        raise Unauthorized("no")
    return CALLERS[token]


def _echo(tx: Tx, req: Request) -> Any:
    return {"id": req["thing_id"], "who": req.caller.user_id, "version": list(req.microversion)}


def _conflict(tx: Tx, req: Request) -> Any:
    raise Conflict("It is in use.")


def _broken(tx: Tx, req: Request) -> Any:
    raise RuntimeError("a secret detail")


async def _count(ctx: AsyncContext, req: Request) -> Response:
    assert req.stream is not None
    size = 0
    async for chunk in req.stream:
        size += len(chunk)
    return Response(200, {"size": size})


async def _unreachable(ctx: AsyncContext, req: Request) -> Any:
    try:
        await ctx.call("host9", "thing.do", {})
    except CallError as problem:
        raise Conflict(str(problem)) from None


ROUTES = [
    Route("GET", "/v1", lambda tx, req: {"version": "v1"}, PUBLIC),
    Route("GET", "/v1/things/{thing_id}", _echo, AUTHENTICATED),
    Route("DELETE", "/v1/things/{thing_id}", lambda tx, req: None, "thing:delete", status=204),
    Route("POST", "/v1/things/{thing_id}/action", _conflict, AUTHENTICATED, action="stop"),
    Route("POST", "/v1/things/{thing_id}/action", _echo, AUTHENTICATED, action="start", min_version=(2, 5)),
    Route("POST", "/v1/broken", _broken, AUTHENTICATED),
    Route("PUT", "/v1/blob", _count, AUTHENTICATED, streams=True),
    Route("POST", "/v1/call", _unreachable, AUTHENTICATED),
]


@pytest.fixture
def client() -> Iterator[httpx.AsyncClient]:
    database = Database("sqlite://")
    workers = Workers(database)
    policy = Policy({"thing:delete": "role:admin"})

    async def refuse(host: str, method: str, arguments: Any, **options: Any) -> bytes:
        raise CallError(f"{host} does not answer.", "unreachable")

    service = ServiceApi(
        "thing",
        "/thing",
        ROUTES,
        compute_envelope,
        microversions=Microversions("thing", (2, 1), (2, 9), "x-openstack-nova-api-version"),
        max_body=1000,
    )
    edge = Edge(
        service,
        workers,
        policy,
        _authenticate,
        lambda request_id, name: AsyncContext(workers, refuse, policy, None, request_id, name),
    )
    app = Starlette(routes=[Mount("/thing", edge)])
    yield httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://cloud/thing")
    workers.close()
    database.close()


def call(
    client: httpx.AsyncClient, method: str, path: str, token: str = "alice", **options: Any
) -> httpx.Response:
    headers = {"X-Auth-Token": token} if token else {}
    headers |= options.pop("headers", {})
    return asyncio.run(client.request(method, path, headers=headers, **options))


def test_a_public_page_needs_no_token(client: httpx.AsyncClient) -> None:
    assert call(client, "GET", "/v1", token="").json() == {"version": "v1"}


@pytest.mark.parametrize("token", ["", "forged"])
def test_without_a_valid_token(client: httpx.AsyncClient, token: str) -> None:
    answer = call(client, "GET", "/v1/things/a", token=token)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == 401
    assert answer.headers["www-authenticate"] == 'Keystone uri="http://cloud/identity"'


def test_every_answer_carries_request_id_and_microversion(client: httpx.AsyncClient) -> None:
    for answer in (call(client, "GET", "/v1/things/a%20b"), call(client, "GET", "/v1/nowhere")):
        assert answer.headers["x-openstack-request-id"].startswith("req-")
        assert answer.headers["openstack-api-version"] == "thing 2.1"
        assert answer.headers["x-openstack-nova-api-version"] == "2.1"
    assert call(client, "GET", "/v1/things/a%20b").json()["id"] == "a b"


def test_policy_refusal(client: httpx.AsyncClient) -> None:
    answer = call(client, "DELETE", "/v1/things/a")
    assert answer.status_code == 403
    assert "thing:delete" in answer.json()["forbidden"]["message"]
    assert call(client, "DELETE", "/v1/things/a", token="root").status_code == 204


def test_unknown_path_and_method(client: httpx.AsyncClient) -> None:
    assert call(client, "GET", "/v1/nowhere").status_code == 404
    answer = call(client, "PATCH", "/v1/things/a")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


def test_actions_are_chosen_by_body_and_version(client: httpx.AsyncClient) -> None:
    assert call(client, "POST", "/v1/things/a/action", json={"stop": None}).status_code == 409
    assert call(client, "POST", "/v1/things/a/action", json={"start": None}).status_code == 400
    newer = {"OpenStack-API-Version": "thing 2.5"}
    assert call(client, "POST", "/v1/things/a/action", json={"start": None}, headers=newer).status_code == 200
    answer = call(client, "POST", "/v1/things/a/action", json={"fly": None})
    assert answer.json()["badRequest"]["message"] == "There is no such action: fly"


@pytest.mark.parametrize(("asked", "status"), [("thing 2.99", 406), ("thing two", 400), ("other 9.9", 200)])
def test_microversion_negotiation(client: httpx.AsyncClient, asked: str, status: int) -> None:
    assert call(client, "GET", "/v1/things/a", headers={"OpenStack-API-Version": asked}).status_code == status


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 900])
def test_a_body_that_is_not_json(client: httpx.AsyncClient, body: bytes) -> None:
    assert call(client, "POST", "/v1/things/a/action", content=body).status_code == 400


def test_a_body_too_large(client: httpx.AsyncClient) -> None:
    assert call(client, "POST", "/v1/things/a/action", content=b"x" * 2000).status_code == 413


def test_a_streamed_body_has_no_limit(client: httpx.AsyncClient) -> None:
    assert call(client, "PUT", "/v1/blob", content=b"x" * 200_000).json() == {"size": 200_000}


def test_a_defect_is_told_without_details(client: httpx.AsyncClient) -> None:
    answer = call(client, "POST", "/v1/broken", json={})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_an_agent_that_is_away_becomes_a_fault_of_the_service(client: httpx.AsyncClient) -> None:
    assert (
        call(client, "POST", "/v1/call", json={}).json()["conflictingRequest"]["message"]
        == "host9 does not answer."
    )


def test_nesting_without_end_is_a_malformed_body(client: httpx.AsyncClient) -> None:
    deep = "[" * 400 + "]" * 400
    for body in (f'{{"start": {deep}}}', deep):
        answer = call(client, "POST", "/v1/things/a/action", content=body)
        assert answer.status_code == 400, answer.text
        assert "nesting" in answer.json()["badRequest"]["message"]
    # Many brackets side by side are not deep.
    wide = "[" + "[]," * 200 + "1]"
    assert call(client, "POST", "/v1/things/a/action", content=f'{{"stop": {wide}}}').status_code == 409
