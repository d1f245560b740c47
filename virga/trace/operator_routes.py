"""URLs for those who run the cloud: the doctor and captures. Under ``/v1``; see routes.py."""

from __future__ import annotations

from typing import Any

import msgspec

from virga.api.context import AsyncContext
from virga.api.faults import NotFound
from virga.api.request import Request
from virga.api.routing import Route
from virga.trace import capture, doctor
from virga.trace.bodies import decoded

ADMIN = "role:admin"
POLICIES = {"virga:doctor": ADMIN, "virga:capture": ADMIN}


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


ROUTES = (
    Route("POST", "/doctor", diagnose, "virga:doctor", write=False),
    Route("POST", "/captures", capture.create, "virga:capture", status=201, write=False),
    Route("GET", "/captures/{capture_id}/{host}", capture.read, "virga:capture"),
    Route("DELETE", "/captures/{capture_id}/{host}", capture.remove, "virga:capture", write=False),
)
