"""Puts the feed, the hub and the rooms together: the only file here that knows all of them.

A room that reaches hosts has a source of items, takes reports and heartbeats, and may answer calls of agents:
each is one line below.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from virga.api.context import Workers
from virga.contract.messages import Heartbeat
from virga.db.engine import Database
from virga.db.tx import Tx
from virga.desired import load_compute, load_volume
from virga.desired.feed import Feed, prune
from virga.desired.hub import Answer, Hub
from virga.desired.network_source import NetworkSource
from virga.desired.report import NETWORK_REPORTS, ReportDesk
from virga.desired.source import Source
from virga.services.block_storage import host as volume_host
from virga.services.compute import host as compute_host
from virga.services.network import agent as network_agent
from virga.settings import Settings


class CloudParts(Protocol):
    """What the hub needs of the control plane."""

    settings: Settings
    database: Database
    workers: Workers


def sources(settings: Settings) -> list[Source]:
    return [
        NetworkSource(settings.dns_domain, settings.dhcp_lease_seconds),
        load_compute.source(settings),
        load_volume.source(),
    ]


def desk() -> ReportDesk:
    return ReportDesk(
        NETWORK_REPORTS, {"instance": load_compute.instance_report, "volume": load_volume.volume_report}
    )


def take_heartbeat(settings: Settings) -> Callable[[Tx, Heartbeat], None]:
    def take(tx: Tx, beat: Heartbeat) -> None:
        network_agent.heartbeat(tx, settings, beat)
        compute_host.heartbeat(tx, beat, settings)
        volume_host.heartbeat(tx, beat)

    return take


def answers(cloud: CloudParts) -> dict[str, Answer]:
    async def metadata(host: str, arguments: bytes) -> Any:
        return await cloud.workers.write(
            lambda tx: load_compute.answer_metadata(tx, cloud.settings, arguments)
        )

    return {"metadata.get": metadata}


@contextlib.asynccontextmanager
async def running(cloud: CloudParts) -> AsyncIterator[Hub]:
    """A hub that listens at ``DIR/bus.sock`` and follows the outbox, until the block ends."""
    settings = cloud.settings
    hub = Hub(
        Feed(sources(settings)),
        cloud.workers,
        desk().take,
        take_heartbeat(settings),
        answers(cloud),
        settings.state_dir / "bus.sock",
        lambda tx: prune(tx, settings.record_hours),
    )
    cloud.database.on_announce.append(hub.notify)
    await hub.start()
    try:
        yield hub
    finally:
        await hub.stop()
