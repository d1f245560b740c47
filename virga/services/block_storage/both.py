"""URLs of Block Storage come in two forms, with and without the project: ``/v3/volumes`` and ``/v3/PROJECT/volumes``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from virga.api.request import Request
from virga.api.routing import Route
from virga.services.block_storage.faults import Invalid


@dataclass(frozen=True)
class Both:
    """A line of a resource's routes; ``path`` starts after ``/v3``."""

    method: str
    path: str
    handler: Callable[..., Any]
    access: str
    status: int = 200
    min_version: tuple[int, int] | None = None
    max_version: tuple[int, int] | None = None
    action: str | None = None
    write: bool | None = None

    def routes(self) -> list[Route]:
        """The route without the project first: it is the one in the catalog."""
        return [self._route("/v3", self.handler), self._route("/v3/{project_id}", _checked(self.handler))]

    def _route(self, prefix: str, handler: Callable[..., Any]) -> Route:
        return Route(
            self.method,
            prefix + self.path,
            handler,
            self.access,
            status=self.status,
            write=self.write,
            min_version=self.min_version,
            max_version=self.max_version,
            action=self.action,
        )


def _checked(handler: Callable[..., Any]) -> Callable[..., Any]:
    """The project of the URL must be the token's."""

    def check(req: Request) -> None:
        if req.path_params.pop("project_id") != req.caller.project_id:
            raise Invalid("Malformed request url")

    if inspect.iscoroutinefunction(handler):

        async def later(ctx: Any, req: Request) -> Any:
            check(req)
            return await handler(ctx, req)

        return later

    def now(tx: Any, req: Request) -> Any:
        check(req)
        return handler(tx, req)

    return now
