"""Builds of servers: a host is chosen and claimed, ports and volumes are made, the host learns; or why not.

accepted -> scheduling -> (claim) -> networking -> block_device_mapping -> spawning -> active
                \\-> no host: ERROR          \\-> refused: ERROR     \\-> failed: next host, at most three
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from virga.api.context import AsyncContext
from virga.api.faults import Fault
from virga.db.tx import Tx
from virga.lib.log import log_for
from virga.services.compute import (
    block_device,
    instance_action,
    port_allocation,
    scheduler,
    server,
    states,
    volumes,
)
from virga.services.compute.jobs_arguments import ServerJob
from virga.services.compute.server import Server
from virga.services.placement import claim
from virga.settings import Settings

log = log_for(__name__)

ATTEMPTS = 3
NO_HOST = "No valid host was found. "
EVENT = "compute__do_build_and_run_instance"


class NoHost(Exception):
    """All hosts were refused by a filter or are full."""


def choose(tx: Tx, row: Server, settings: Settings, **wish: Any) -> scheduler.Candidate:
    """The best host, not yet claimed. Raises NoHost."""
    asked = scheduler.wish_of(tx, row, block_device.boots_from_volume(tx, row.id), **wish)
    ranked = scheduler.rank(scheduler.candidates(tx), asked, settings)
    if not ranked:
        raise NoHost
    return ranked[0]


def claim_on(tx: Tx, row: Server, provider_id: str) -> None:
    """Take what the row's flavor needs on a host."""
    resources = scheduler.resources_of(row.flavor, block_device.boots_from_volume(tx, row.id))
    claim.claim(tx, row.id, provider_id, resources, claim.Owner(row.project_id, row.user_id))


async def build(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.build``: from accepted to the host's hands."""
    if not await ctx.write(lambda tx: _schedule(tx, job.server_id, ctx.settings)):
        return
    if not await _refusable(ctx, job.server_id, _network):
        return
    await _with_volumes(ctx, job.server_id)


async def _with_volumes(ctx: AsyncContext, server_id: str) -> None:
    """The last steps: volumes are made and connected, then the host takes over. A target may have to come up first."""
    problem = await volumes.attach_all(ctx, server_id)
    if problem:
        message = f"Build of instance {server_id} aborted: {problem}"
        await ctx.write(lambda tx: give_up(tx, server_id, message))
    elif problem is None:
        await ctx.write(lambda tx: _hand_over(tx, server_id))


async def attach(ctx: AsyncContext, job: ServerJob) -> None:
    """Job ``compute.attach``: a volume can be reached now, by a server that is built or that runs."""
    row = await ctx.read(lambda tx: server.find(tx, job.server_id))
    if row is None:
        return
    if row.vm_state != states.BUILDING:
        await volumes.attach(ctx, job)
    elif problem := job.extra.get("problem"):
        message = f"Build of instance {row.id} aborted: {problem}"
        await ctx.write(lambda tx: give_up(tx, job.server_id, message))
    elif row.task_state == "block_device_mapping":
        await _with_volumes(ctx, job.server_id)


async def _refusable(ctx: AsyncContext, server_id: str, step: Callable[[Tx, str], bool]) -> bool:
    """A step that other services may refuse; then the server ends in ERROR with their words."""
    try:
        return await ctx.write(lambda tx: step(tx, server_id))
    except port_allocation.BindingFailed as problem:
        reason = str(problem)
        await ctx.write(lambda tx: _other_host(tx, server_id, reason))
        return False
    except Fault as fault:
        message = f"Build of instance {server_id} aborted: {fault.message}"
    log.info("build refused", server_id=server_id, reason=message)
    await ctx.write(lambda tx: give_up(tx, server_id, message))
    return False


def _other_host(tx: Tx, server_id: str, reason: str) -> None:
    row = _building(tx, server_id)
    if row is not None:
        failed_on_host(tx, row, reason)


def _building(tx: Tx, server_id: str) -> Server | None:
    row = server.find(tx, server_id)
    if row is None or row.vm_state != states.BUILDING or row.task_state == "deleting":
        return None
    return row


def _schedule(tx: Tx, server_id: str, settings: Settings) -> bool:
    row = _building(tx, server_id)
    if row is None or row.on_host:
        return False
    if row.host is not None:
        return True
    instance_action.event(tx, server_id, "conductor_schedule_and_build_instances", None)
    try:
        chosen = choose(tx, row, settings, exclude=row.tried_hosts, only=row.requested_host)
    except NoHost:
        give_up(tx, server_id, NO_HOST if not row.tried_hosts else _exhausted(row))
        return False
    claim_on(tx, row, chosen.provider_id)
    log.info("host chosen", server_id=server_id, host=chosen.host)
    instance_action.finish(tx, server_id, "conductor_schedule_and_build_instances")
    instance_action.event(tx, server_id, EVENT, chosen.host)
    zone = row.pinned_availability_zone or chosen.zone
    server.save(tx, server_id, host=chosen.host, availability_zone=zone, task_state="networking")
    return True


def _exhausted(row: Server) -> str:
    return (
        "Exceeded maximum number of retries. Exhausted all hosts available for retrying build failures for instance "
        f"{row.id}."
    )


def _network(tx: Tx, server_id: str) -> bool:
    row = _building(tx, server_id)
    if row is None:
        return False
    port_allocation.allocate(tx, row, row.availability_zone or "nova")
    server.save(tx, server_id, task_state="block_device_mapping")
    return True


def _hand_over(tx: Tx, server_id: str) -> None:
    if _building(tx, server_id) is not None:
        server.save(tx, server_id, touch=True, task_state="spawning", on_host=True, realised="")


def give_up(tx: Tx, server_id: str, message: str) -> None:
    """Into ERROR; the claim goes back, and the ports that were made for it."""
    row = server.find(tx, server_id)
    if row is None or row.task_state == "deleting":
        return
    claim.release(tx, server_id)
    port_allocation.release(tx, server_id)
    volumes.let_go(tx, server_id)
    instance_action.finish_all(tx, server_id, message)
    server.fail(tx, server_id, message, host=None, on_host=False, touch=True)


def failed_on_host(tx: Tx, row: Server, reason: str) -> None:
    """The host could not build it: another one may, at most three are asked."""
    tried = [*row.tried_hosts, row.host]
    instance_action.finish(tx, row.id, EVENT, reason)
    claim.release(tx, row.id)
    port_allocation.bind(tx, row.id, None)
    if len(tried) >= ATTEMPTS or row.requested_host:
        message = (
            f"Exceeded maximum number of retries. Exceeded max scheduling attempts {ATTEMPTS} for instance {row.id}. "
            f"Last exception: {reason}"
            if len(tried) >= ATTEMPTS
            else f"Build of instance {row.id} aborted: {reason}"
        )
        port_allocation.release(tx, row.id)
        volumes.let_go(tx, row.id)
        instance_action.finish_all(tx, row.id, message)
        server.fail(
            tx, row.id, message, host=None, on_host=False, tried_hosts=tried, touch=True, details=reason
        )
        return
    server.save(
        tx,
        row.id,
        touch=True,
        host=None,
        on_host=False,
        task_state="scheduling",
        tried_hosts=tried,
        realised="",
    )
    tx.job("compute.build", row.id, ServerJob(row.id))
