"""What the services declare: their routes, and for each the schema or attributes of what it takes.

Routes come from the routing tables. A JSON schema is noted when a route's handler checks something against it: each
route is asked once, and what it looked at is its declaration. Network's resources hang on their routes' handlers.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema

import virga.services
from virga.api.resource import Resource
from virga.api.routing import Route, ServiceApi
from virga.services.block_storage import schema as volume_schema
from virga.services.compute import schema as compute_schema

KEEP = 12
PARAMETER = re.compile(r"\{([^}:]+)(?::path)?\}")
ASKED_FOR = re.compile(r"req\.params?\(\s*\"([^\"]+)\"")


@dataclass
class Target:
    """A route of a service and what is known of its body and query."""

    service: ServiceApi
    route: Route
    bodies: list[Any] = field(default_factory=list)
    """JSON schemas that bodies of this route were checked against."""
    queries: list[Any] = field(default_factory=list)
    resource: Resource | None = None
    good: list[Any] = field(default_factory=list)
    """Bodies that the route took before."""

    @property
    def name(self) -> str:
        action = f" [{self.route.action}]" if self.route.action else ""
        return f"{self.route.method} {self.service.prefix}{self.route.path}{action}"

    @property
    def takes_body(self) -> bool:
        return self.route.method in ("POST", "PUT", "PATCH")

    def took(self, body: Any) -> None:
        """Remember a body that was right, to be sent again with something of it changed."""
        if body not in self.good:
            self.good.append(body)
            del self.good[:-KEEP]

    def parameters(self) -> list[tuple[str, str]]:
        """Names of the path's parameters, each with the segment before it."""
        parts, found = self.route.path.split("/"), []
        for index, part in enumerate(parts):
            match = PARAMETER.fullmatch(part)
            if match:
                found.append((match[1], parts[index - 1]))
        return found


def targets(services: list[ServiceApi]) -> list[Target]:
    """One for each line of every routing table."""
    return [Target(s, r, resource=_resource(r.handler)) for s in services for r in s.routes]


def _resource(handler: Any) -> Resource | None:
    if isinstance(handler, partial):
        handler = handler.func
    owner = getattr(handler, "__self__", None)
    found = getattr(owner, "resource", None)
    return found if isinstance(found, Resource) else None


def query_names() -> list[str]:
    """Every query parameter that some handler asks for by name."""
    root = Path(next(iter(virga.services.__path__)))
    texts = (path.read_text() for path in root.rglob("*.py"))
    return sorted({name for text in texts for name in ASKED_FOR.findall(text)})


@dataclass
class Listener:
    """Notes the schemas that are looked at, while it listens."""

    heard: list[tuple[Any, Any]] = field(default_factory=list)

    def note(self, schema: Any, instance: Any) -> None:
        if len(self.heard) < 20:
            self.heard.append((schema, instance))

    def learn(self, target: Target, sent: Any) -> None:
        """Put down what the last request was checked against."""
        for schema, instance in self.heard:
            if target.takes_body and instance == sent:
                where = target.bodies
            elif isinstance(instance, dict) and all(isinstance(v, list) for v in instance.values()):
                where = target.queries
            else:
                continue
            if not any(known is schema for known in where):
                where.append(schema)
        self.heard.clear()


@contextlib.contextmanager
def listening() -> Iterator[Listener]:
    """All validators of this process tell the listener what they check."""
    listener = Listener()
    classes = {
        jsonschema.Draft202012Validator,
        jsonschema.Draft4Validator,
        compute_schema._validator_class(),
        volume_schema._validator_class(),
    }
    kept = {each: each.iter_errors for each in classes}

    def wrapped(original: Any) -> Any:
        def iter_errors(self: Any, instance: Any, *more: Any) -> Any:
            listener.note(self.schema, instance)
            return original(self, instance, *more)

        return iter_errors

    for each, original in kept.items():
        each.iter_errors = wrapped(original)
    try:
        yield listener
    finally:
        for each, original in kept.items():
            each.iter_errors = original
