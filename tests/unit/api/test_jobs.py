"""Durable jobs: once each, in order for a key, again after trouble, and after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sqlalchemy import func, select

from virga.api.context import AsyncContext, Workers
from virga.api.jobs import Job, JobRunner
from virga.api.policy import Policy
from virga.db.engine import Database
from virga.db.metadata import metadata
from virga.db.outbox import change, job


class Arguments(msgspec.Struct):
    number: int


class World:
    """A database with a runner; ``run`` lets it work until no job is left."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.database = Database("sqlite://", clock=lambda: self.now)
        metadata.create_all(self.database.engine(), tables=[change, job])
        self.workers = Workers(self.database)
        self.call_ids: list[str] = []

    async def _call(self, host: str, method: str, arguments: Any, *, call_id: str, **_: Any) -> bytes:
        self.call_ids.append(call_id)
        return b"null"

    def leave(self, *numbers: int, key: str = "k", name: str = "work", delay_s: float = 0) -> None:
        for number in numbers:
            self.database.write(lambda tx, n=number: tx.job(name, key, Arguments(n), delay_s))  # type: ignore[misc]

    def left(self) -> int:
        return int(self.database.read(lambda tx: tx.scalar(select(func.count()).select_from(job))))

    async def run(self, work: Callable[[AsyncContext, Arguments], Awaitable[None]]) -> None:
        def make(request_id: str, name: str) -> AsyncContext:
            return AsyncContext(self.workers, self._call, Policy({}), None, request_id, name)

        runner = JobRunner({"work": Job(work, Arguments)}, make, lambda: self.now)
        task = asyncio.create_task(runner.run())
        while self.left():
            # Each turn of the loop is one moment later, so that retries become due.
            self.now += 60_000_000
            runner.notify()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def close(self) -> None:
        self.workers.close()
        self.database.close()


def _run(world: World, work: Callable[[AsyncContext, Arguments], Awaitable[None]]) -> None:
    try:
        asyncio.run(asyncio.wait_for(world.run(work), 30))
    finally:
        world.close()


def test_jobs_of_a_key_run_in_order() -> None:
    world, done = World(), list[int]()

    async def work(ctx: AsyncContext, arguments: Arguments) -> None:
        await asyncio.sleep(0)
        done.append(arguments.number)

    world.leave(1, 2, 3, 4)
    _run(world, work)
    assert done == [1, 2, 3, 4]


def test_trouble_is_retried_and_then_given_up() -> None:
    world, tries = World(), list[int]()

    async def work(ctx: AsyncContext, arguments: Arguments) -> None:
        tries.append(arguments.number)
        if arguments.number == 1:
            raise RuntimeError("always")

    world.leave(1, key="a")
    world.leave(2, key="b")
    _run(world, work)
    assert sorted(tries) == [1, 1, 1, 2]


def test_a_job_of_unknown_name_is_dropped() -> None:
    world = World()

    async def work(ctx: AsyncContext, arguments: Arguments) -> None:
        raise AssertionError("not this one")

    world.leave(1, name="gone")
    _run(world, work)


def test_calls_of_a_repeated_job_have_the_same_ids() -> None:
    """A job that a crash cut short runs again, and its agent sees the very same call."""
    world = World()

    async def cut_short(ctx: AsyncContext, arguments: Arguments) -> None:
        await ctx.call("host1", "thing.do", {})
        raise asyncio.CancelledError

    async def whole(ctx: AsyncContext, arguments: Arguments) -> None:
        await ctx.call("host1", "thing.do", {})

    async def story() -> None:
        world.leave(7)
        first = asyncio.create_task(world.run(cut_short))
        while not world.call_ids:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await world.run(whole)

    try:
        asyncio.run(asyncio.wait_for(story(), 30))
    finally:
        world.close()
    assert len(set(world.call_ids)) == 1
    assert len(world.call_ids) >= 2
