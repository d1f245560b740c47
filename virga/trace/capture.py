"""``/v1/captures``: begin, read and end captures on all hosts of an instance's way. Nothing is kept here between requests."""

from __future__ import annotations

import asyncio
import base64
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from virga.api.context import AsyncContext, CallError
from virga.api.faults import BadRequest, Conflict, Fault, NotFound
from virga.api.request import Request, Response
from virga.contract.capture import (
    CapturedFrames,
    CaptureStarted,
    Hop,
    ReadCapture,
    StartCapture,
    StopCapture,
)
from virga.contract.doctor import ExamineHost, HostExamination
from virga.trace.bodies import decoded
from virga.trace.capture_path import NotOne, chosen, hops, place_of

CALL_S = 15.0
LONGEST_S = 3600.0


class CaptureRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/captures``. ``hops``: kinds, devices or names; empty: the instance's taps; ``["all"]``: all."""

    instance: str
    filter: str = ""
    hops: list[str] = []
    seconds: float = 60.0
    snaplen: int = 65535


async def create(ctx: AsyncContext, req: Request) -> Any:
    """Listen at the chosen hops, all at once."""
    wish: CaptureRequest = decoded(req, CaptureRequest)
    if not 0 < wish.seconds <= LONGEST_S:
        raise BadRequest(f"seconds must be more than 0 and at most {LONGEST_S:.0f}.")
    if not 64 <= wish.snaplen <= 262144:
        raise BadRequest("snaplen must be from 64 to 262144.")
    try:
        place = await ctx.read(lambda tx: place_of(tx, wish.instance))
        seen = await _examined(ctx, place.hosts)
        wanted = chosen(hops(place, seen), wish.hops)
    except NotOne as error:
        raise NotFound(str(error)) from None
    if not wanted:
        raise Conflict(f"Instance {wish.instance!r} is on no host now.")
    capture_id = uuid.uuid4().hex
    started = await _start(ctx, capture_id, wish, wanted)
    listening = {name for each in started.values() for name in each.hops}
    refused = {name: why for each in started.values() for name, why in each.refused.items()}
    return {
        "capture": {
            "id": capture_id,
            "filter": wish.filter,
            "seconds": wish.seconds,
            "hops": [msgspec.to_builtins(hop) for hop in wanted if hop.name in listening],
            "refused": refused,
        }
    }


async def _examined(ctx: AsyncContext, hosts: Sequence[str]) -> dict[str, HostExamination]:
    async def one(host: str) -> HostExamination:
        answer = await ctx.call(host, "agent.examine", ExamineHost(), CALL_S)
        return msgspec.json.decode(answer, type=HostExamination)

    try:
        return dict(zip(hosts, await asyncio.gather(*map(one, hosts)), strict=True))
    except CallError as error:
        raise Conflict(f"A host on the way does not answer: {error}.") from None


async def _start(
    ctx: AsyncContext, capture_id: str, wish: CaptureRequest, wanted: Sequence[Hop]
) -> Mapping[str, CaptureStarted]:
    """On every host, or on none: what began elsewhere is ended when one refuses."""
    hosts = sorted({hop.host for hop in wanted})

    async def one(host: str) -> CaptureStarted | CallError:
        start = StartCapture(
            id=capture_id,
            hops=[hop for hop in wanted if hop.host == host],
            filter=wish.filter,
            seconds=wish.seconds,
            snaplen=wish.snaplen,
        )
        try:
            answer = await ctx.call(host, "capture.start", start, CALL_S)
        except CallError as error:
            return error
        return msgspec.json.decode(answer, type=CaptureStarted)

    answers = dict(zip(hosts, await asyncio.gather(*map(one, hosts)), strict=True))
    errors = [each for each in answers.values() if isinstance(each, CallError)]
    if errors:
        await asyncio.gather(*(_stop(ctx, capture_id, host) for host in hosts))
        if errors[0].kind == "BadFilter":
            raise BadRequest(f"The filter {wish.filter!r} is not understood: {errors[0]}.")
        raise Conflict(f"The capture could not begin: {errors[0]}.")
    return {host: each for host, each in answers.items() if isinstance(each, CaptureStarted)}


async def read(ctx: AsyncContext, req: Request) -> Any:
    """What one host captured after frame ``after``; ``data`` is base64."""
    wish = ReadCapture(
        id=_id(req), after=int(_number(req, "after", "0")), wait_s=_number(req, "wait", "0.25")
    )
    try:
        answer = await ctx.call(req["host"], "capture.read", wish, CALL_S)
    except CallError as error:
        raise _refused(error) from None
    found = msgspec.json.decode(answer, type=CapturedFrames)
    return {
        "frames": [
            {
                "hop": frame.hop,
                "time_ns": frame.time_ns,
                "length": frame.length,
                "data": base64.b64encode(frame.data).decode(),
            }
            for frame in found.frames
        ],
        "next": found.next,
        "done": found.done,
        "lost": found.lost,
    }


async def remove(ctx: AsyncContext, req: Request) -> Response:
    """End it on one host. Done also when it has ended."""
    try:
        await ctx.call(req["host"], "capture.stop", StopCapture(id=_id(req)), CALL_S)
    except CallError as error:
        raise _refused(error) from None
    return Response(204)


async def _stop(ctx: AsyncContext, capture_id: str, host: str) -> None:
    try:
        await ctx.call(host, "capture.stop", StopCapture(id=capture_id), CALL_S)
    except CallError:
        # It ends by itself there, because nobody reads.
        return


def _id(req: Request) -> str:
    if len(req["capture_id"]) != 32 or not req["capture_id"].isalnum():
        raise NotFound(f"There is no capture {req['capture_id']}.")
    return req["capture_id"]


def _number(req: Request, name: str, default: str) -> float:
    text = req.param(name, default) or default
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not 0 <= number < 2**53:
        raise BadRequest(f"{name} must be a number from 0 on, not {text!r}.")
    return number


def _refused(error: CallError) -> Fault:
    if error.kind == "NotFound":
        return NotFound(str(error))
    return Conflict(str(error))
