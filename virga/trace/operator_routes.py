"""URLs for those who run the cloud: the doctor. Under ``/v1``; see routes.py."""

from __future__ import annotations

from typing import Any

import msgspec

from virga.api.context import AsyncContext
from virga.api.faults import BadRequest, NotFound
from virga.api.request import Request
from virga.api.routing import Route
from virga.trace import doctor

ADMIN = "role:admin"
POLICIES = {"virga:doctor": ADMIN}


class DoctorRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/doctor``. No hosts named: all."""

    hosts: list[str] = []
    fix: bool = False


async def diagnose(ctx: AsyncContext, req: Request) -> Any:
    """Compare what is wanted with what is, everywhere."""
    wish = decoded(req, DoctorRequest)
    try:
        return msgspec.to_builtins(await doctor.diagnose(ctx, wish.hosts, wish.fix))
    except doctor.NoSuchHost as error:
        raise NotFound(f"There is no host {error}.") from None


def decoded(req: Request, kind: type[Any]) -> Any:
    """The body as a struct; a wrong one is refused with its field named."""
    try:
        return msgspec.convert(req.body if req.body is not None else {}, kind)
    except msgspec.ValidationError as error:
        raise BadRequest(f"Invalid request body: {error}.") from None


ROUTES = (Route("POST", "/doctor", diagnose, "virga:doctor", write=False),)
