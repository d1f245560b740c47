"""The HTTP edge of one service: finds the route, knows the caller, runs the handler, renders what comes back."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

from virga.api.access_rules import allows
from virga.api.context import AsyncContext, Workers
from virga.api.faults import (
    BadRequest,
    Fault,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    RequestTooLarge,
    Unauthorized,
    identity_envelope,
)
from virga.api.policy import Policy
from virga.api.request import Caller, Request, Response
from virga.api.routing import AUTHENTICATED, PUBLIC, Match, Route, RouteTable, ServiceApi
from virga.db import trouble
from virga.db.tx import Cause, Tx
from virga.lib.log import log_for

log = log_for("virga.api")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Authenticate = Callable[[Tx, str], Caller]
"""Token to caller; raises Unauthorized."""

NOBODY = Caller()
MAX_DEPTH = 100
"""Levels of nesting that a body may have."""
LONGEST_ACTION = 255
BODILESS = frozenset({204, 205, 304})


class Edge:
    """An ASGI application for one ServiceApi, mounted under its prefix."""

    def __init__(
        self,
        service: ServiceApi,
        workers: Workers,
        policy: Policy,
        authenticate: Authenticate,
        make_context: Callable[[str, str], AsyncContext],
        public_url: str | None = None,
    ) -> None:
        self.service = service
        self.workers = workers
        self.policy = policy
        self.authenticate = authenticate
        self.make_context = make_context
        self.public_url = public_url
        self.table = RouteTable(service.routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began = time.perf_counter()
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        req = self._request(scope, headers, receive)
        try:
            response = await self._answer(req, receive)
        except Fault as fault:
            response = self._refusal(fault, req)
        except Exception as problem:
            response = self._refusal(self._accident(problem, req), req)
        status = await self._send(response, req, send)
        log.info(
            "request",
            request_id=req.request_id,
            service=self.service.name,
            method=req.method,
            path=req.path,
            status=status,
            ms=round((time.perf_counter() - began) * 1000, 2),
            project_id=req.caller.project_id,
        )

    def _accident(self, problem: Exception, req: Request) -> Fault:
        """The machine's trouble has a sentence and passes; anything else is a defect of ours."""
        sentence = trouble.told(problem)
        if sentence is not None:
            log.error("request not served", request_id=req.request_id, path=req.path, reason=sentence)
            return Fault(sentence, status=503, type="ServiceUnavailable", headers={"retry-after": "10"})
        log.exception("request failed", request_id=req.request_id, path=req.path)
        return Fault(
            "The server has either erred or is incapable of performing the requested operation.", status=500
        )

    def _request(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Request:
        path = scope["path"].removeprefix(self.service.prefix)
        host = headers.get("host", "127.0.0.1")
        base = self.public_url or f"{scope.get('scheme', 'http')}://{host}"
        try:
            query = parse_qsl(scope["query_string"].decode("utf-8"), keep_blank_values=True)
        except UnicodeDecodeError:
            query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return Request(
            method=scope["method"],
            path=path or "/",
            path_params={},
            query=query,
            headers=headers,
            body=None,
            raw_body=b"",
            caller=NOBODY,
            policy=self.policy,
            request_id=f"req-{uuid.uuid4()}",
            base_url=base + self.service.prefix,
            remote_address=(scope.get("client") or ("",))[0],
        )

    async def _answer(self, req: Request, receive: Receive) -> Response:
        if self.service.modernise is not None:
            self.service.modernise(req)
        microversions = self.service.microversions
        if microversions is not None:
            req.microversion = microversions.minimum
            if req.versioned:
                req.microversion = microversions.negotiate(req.headers)
        match = self.table.match(req.method, req.path)
        if not isinstance(match, Match):
            raise self._no_route(req, match)
        req.path_params = {name: unquote(value) for name, value in match.params.items()}
        result, route = await self._serve(match.routes, req, receive)
        if isinstance(result, Response):
            return result
        return Response(route.status, result)

    async def _serve(self, routes: tuple[Route, ...], req: Request, receive: Receive) -> tuple[Any, Route]:
        """Who calls, may they, and what comes of it. Bad bodies of strangers are answered 401, not 400."""
        route, bad_body = routes[0], None
        token = req.headers.get("x-auth-token", "")
        if route.access != PUBLIC and not token:
            raise self._unauthenticated()
        if route.streams:
            req.stream = _chunks(receive)
        else:
            try:
                await self._read_body(req, receive)
                route = self._choose(routes, req)
            except Fault as fault:
                bad_body = fault
        if bad_body is None and not route.is_async:
            # The usual case: token, policy and handler in one transaction and one change of thread.
            run = self.workers.write if route.writes else self.workers.read
            return await run(lambda tx: self._handle(tx, route, req, token), req.request_id), route
        if route.access != PUBLIC:
            await self.workers.read(lambda tx: self._identify(tx, route, req, token))
        if bad_body is not None:
            raise bad_body
        context = self.make_context(req.request_id, req.request_id)
        context.cause = _cause(route, req)
        try:
            return await route.handler(context, req), route
        except Fault as fault:
            raise self._reworded(fault) from None

    def _handle(self, tx: Tx, route: Route, req: Request, token: str) -> Any:
        if route.access != PUBLIC:
            self._identify(tx, route, req, token)
            tx.cause = _cause(route, req)
        try:
            return route.handler(tx, req)
        except Fault as fault:
            raise self._reworded(fault) from None

    def _identify(self, tx: Tx, route: Route, req: Request, token: str) -> None:
        try:
            req.caller = self.authenticate(tx, token)
        except Unauthorized:
            raise self._unauthenticated() from None
        rules = req.caller.access_rules
        paths = (req.path, self.service.prefix + req.path)
        if rules is not None and not allows(rules, self.service.name, req.method, paths):
            raise self._unauthenticated()
        if req.url_project is not None and req.caller.project_id != req.url_project:
            raise BadRequest(
                f"Malformed request URL: URL's project_id '{req.url_project}' doesn't match Context's project_id "
                f"'{req.caller.project_id}'"
            )
        if self.service.project_scope and (req.caller.system_scope or req.caller.domain_id):
            raise self._reworded(
                Forbidden(
                    f"Policy doesn't allow {route.access} to be performed."
                    if route.access != AUTHENTICATED
                    else "The token is of the system or of a domain; this is for tokens of a project.",
                    type="PolicyNotAuthorized",
                )
            )
        if route.access != AUTHENTICATED:
            try:
                req.enforce(route.access)
            except Fault as fault:
                raise self._reworded(fault) from None

    def _no_route(self, req: Request, allowed: set[str]) -> Fault:
        service = self.service
        if allowed:
            if service.method_not_allowed:
                return service.method_not_allowed(req.method, req.path)
            return MethodNotAllowed(
                "The method is not allowed for the requested URL.",
                headers={"allow": ", ".join(sorted(allowed))},
            )
        return (
            service.not_found(req.method, req.path)
            if service.not_found
            else NotFound("The resource could not be found.")
        )

    def _unauthenticated(self) -> Fault:
        if self.service.unauthenticated:
            return self.service.unauthenticated()
        return Unauthorized("The request you have made requires authentication.")

    async def _read_body(self, req: Request, receive: Receive) -> None:
        parts: list[bytes] = []
        size = 0
        async for chunk in _chunks(receive):
            size += len(chunk)
            if size > self.service.max_body:
                raise RequestTooLarge("Request is too large.")
            parts.append(chunk)
        req.raw_body = b"".join(parts)
        if not req.raw_body:
            return
        try:
            req.body = msgspec.json.decode(req.raw_body)
            if _is_deep(req.raw_body, req.body):
                raise RecursionError(f"more than {MAX_DEPTH} levels of nesting")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
            if self.service.malformed:
                raise self.service.malformed(str(problem)) from None
            raise BadRequest(f"Malformed request body: {problem}.") from None

    def _choose(self, routes: tuple[Route, ...], req: Request) -> Route:
        """Among routes of one URL: the one whose action key is in the body and whose versions fit."""
        fitting = [r for r in routes if _fits(r, req.microversion)]
        if not fitting:
            raise self._no_route(req, set())
        actions = [r for r in fitting if r.action is not None]
        if not actions:
            return fitting[0]
        if isinstance(req.body, dict):
            for route in actions:
                if route.action in req.body:
                    return route
        plain = [r for r in fitting if r.action is None]
        if plain:
            return plain[0]
        if isinstance(req.body, dict) and len(req.body) == 1:
            raise BadRequest(f"There is no such action: {next(iter(req.body))}")
        raise BadRequest("Malformed request body")

    def _reworded(self, fault: Fault) -> Fault:
        """A policy refusal in the service's own words; any other fault as it is."""
        if fault.type == "PolicyNotAuthorized" and self.service.forbidden:
            return self.service.forbidden(fault)
        return fault

    def _refusal(self, fault: Fault, req: Request) -> Response:
        # An unknown token is refused in front of every service, always in the words of the Identity API.
        envelope = identity_envelope if fault.status == 401 else self.service.envelope
        body = envelope(fault, req.request_id)
        headers = {"content-type": self.service.fault_type} | dict(fault.headers)
        if fault.status == 401:
            headers["content-type"] = "application/json"
            headers.setdefault("www-authenticate", f'Keystone uri="{_origin(req.base_url)}/identity"')
        return Response(fault.status, body, headers)

    async def _send(self, response: Response, req: Request, send: Send) -> int:
        headers = dict.fromkeys(self.service.request_id_headers, req.request_id) | dict(self.service.headers)
        if self.service.microversions is not None and req.versioned:
            headers |= self.service.microversions.response_headers(req.microversion)
        headers |= req.response_headers
        headers |= {name.lower(): value for name, value in response.headers.items()}
        body = b""
        if isinstance(response.body, bytes):
            body = response.body
        elif response.body is not None and response.status not in BODILESS:
            body = msgspec.json.encode(response.body)
            headers.setdefault("content-type", "application/json")
        elif response.stream is None and req.method in self.service.empty_types:
            headers.setdefault("content-type", self.service.empty_types[req.method])
        if response.stream is None and response.status not in BODILESS:
            headers["content-length"] = str(len(body))
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": [(k.encode("latin-1"), _printable(v).encode("utf-8")) for k, v in headers.items()],
            }
        )
        if req.method == "HEAD":
            body = b""
        elif response.stream is not None:
            async for chunk in response.stream:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": body})
        return response.status


def _cause(route: Route, req: Request) -> Cause:
    """What the record of changes says of a request."""
    action = f"{req.method} {req.path}{f' {route.action}' if route.action else ''}"
    return Cause(req.caller.user_id, req.caller.project_id or "", action[:LONGEST_ACTION])


def _fits(route: Route, version: tuple[int, int]) -> bool:
    if route.min_version is not None and version < route.min_version:
        return False
    return route.max_version is None or version <= route.max_version


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        if message.get("body"):
            yield message["body"]
        if not message.get("more_body"):
            return


def _is_deep(raw: bytes, value: Any) -> bool:
    """Deeper than anything that is meant; checks and renderings walk a body by recursion, so depth is bounded here."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            return True
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += [v for v in item.values() if isinstance(v, dict | list)]
            elif isinstance(item, list):
                inner += [v for v in item if isinstance(v, dict | list)]
        level = inner
    return False


class ClientGone(Fault):
    """The client hung up before it had sent everything; nobody reads the answer."""

    status = 400


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _printable(value: str) -> str:
    """A header value may repeat what a client sent: a line end in it must not become a header of its own."""
    return _CONTROL.sub(lambda match: f"%{ord(match[0]):02X}", value)


def _origin(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"
