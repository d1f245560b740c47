"""Runs the durable jobs that transactions left behind: once each, in order for each key, also after a crash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, select, update

from virga.api.context import AsyncContext
from virga.db import trouble
from virga.db.outbox import job as table
from virga.db.tx import Tx
from virga.lib.log import log_for

log = log_for("virga.jobs")

AGAIN_S = 2.0
RETRY_S = (1.0, 2.0, 5.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True)
class Job:
    """A named piece of background work: ``async def run(ctx, arguments)``.

    It may run again after a crash, so it must look before it leaps. Trouble that belongs to the
    object is written to the object; an exception that escapes is retried ``attempts`` times.
    """

    run: Callable[[AsyncContext, Any], Awaitable[None]]
    arguments: type[Any]
    attempts: int = 3


class JobRunner:
    """Takes jobs by number; a key is worked on by one job at a time."""

    def __init__(
        self,
        jobs: Mapping[str, Job],
        make_context: Callable[[str, str], AsyncContext],
        clock: Callable[[], int],
    ) -> None:
        self._jobs = jobs
        self._make_context = make_context
        self._clock = clock
        self._context = make_context("", "jobs")
        self._wake = asyncio.Event()
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def notify(self) -> None:
        """There may be new jobs; from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Until cancelled: start every job that is due and whose key is free."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._wake.clear()
                delay = await self._start_what_can()
                try:
                    await asyncio.wait_for(self._wake.wait(), delay)
                except TimeoutError:
                    continue
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _start_what_can(self) -> float | None:
        """When the database cannot be read now, it is tried again: work that was accepted is not forgotten."""
        try:
            return await self._start_due()
        except Exception as problem:
            log.error("jobs cannot be read", reason=trouble.told(problem) or repr(problem))
            return AGAIN_S

    async def _start_due(self) -> float | None:
        rows = await self._context.read(lambda tx: tx.all(select(table).order_by(table.c.id)))
        now = self._clock()
        waiting: list[float] = []
        held: set[str] = set()
        for row in rows:
            if row.ordering_key in self._busy or row.ordering_key in held:
                continue
            held.add(row.ordering_key)
            if row.not_before > now:
                waiting.append((row.not_before - now) / 1_000_000)
                continue
            self._busy[row.ordering_key] = asyncio.create_task(self._run_one(row))
        return min(waiting, default=None)

    async def _run_one(self, row: Any) -> None:
        try:
            job = self._jobs.get(row.name)
            if job is None:
                log.error("job of unknown name dropped", job=row.name)
                await self._context.write(lambda tx: _forget(tx, row.id))
                return
            context = self._make_context(row.request_id, f"job-{row.id}-{row.attempts}")
            try:
                await job.run(context, msgspec.json.decode(row.arguments, type=job.arguments))
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("job failed", job=row.name, request_id=row.request_id)
                await self._context.write(lambda tx: _retry_or_forget(tx, row, job.attempts))
            else:
                log.info("job done", job=row.name, key=row.ordering_key, request_id=row.request_id)
                await self._context.write(lambda tx: _forget(tx, row.id))
        except Exception as problem:
            # Not even the outcome could be written. The job is still there; it is not hurried.
            log.error("job cannot be put down", job=row.name, reason=trouble.told(problem) or repr(problem))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.Event().wait(), AGAIN_S)
        finally:
            self._busy.pop(row.ordering_key, None)
            self._wake.set()


def _forget(tx: Tx, job_id: int) -> None:
    tx.execute(delete(table).where(table.c.id == job_id))


def _retry_or_forget(tx: Tx, row: Any, attempts: int) -> None:
    if row.attempts + 1 >= attempts:
        _forget(tx, row.id)
        return
    delay = RETRY_S[min(row.attempts, len(RETRY_S) - 1)]
    tx.execute(
        update(table)
        .where(table.c.id == row.id)
        .values(attempts=row.attempts + 1, not_before=tx.now + int(delay * 1_000_000))
    )
