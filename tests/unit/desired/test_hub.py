"""The hub: state to a newborn agent, deltas after it, reports and calls back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from tests.lib.network import NetworkCloud
from virga.api.context import CallError
from virga.bus.frames import Decoder, encode
from virga.contract.messages import AnyMessage, Call, Hello, Reply, Report, Reports, State
from virga.desired.feed import Feed
from virga.desired.hub import Hub
from virga.desired.network_source import NetworkSource
from virga.desired.report import ReportDesk
from virga.services.network import agent


class Agent:
    """A peer that speaks frames and keeps what it got."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock, self._decoder = sock, Decoder()
        self._ready: list[AnyMessage] = []

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    async def send(self, message: AnyMessage) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, encode(message))

    async def receive(self) -> AnyMessage:
        while not self._ready:
            data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
            self._ready += self._decoder.feed(data)
        return self._ready.pop(0)


def run(scene: Callable[[NetworkCloud, Hub], Awaitable[None]]) -> None:
    async def play() -> None:
        cloud = NetworkCloud()
        cloud.host()
        desk = ReportDesk()
        hub = Hub(
            Feed([NetworkSource("openstacklocal", 86400)]),
            cloud.workers,
            desk.take,
            lambda tx, message: agent.heartbeat(tx, cloud.settings, message),
        )
        cloud.database.on_announce.append(hub.notify)
        await hub.start()
        try:
            await asyncio.wait_for(scene(cloud, hub), 10)
        finally:
            await hub.stop()
            cloud.close()

    asyncio.run(play())


async def a_port(cloud: NetworkCloud) -> str:
    made = await cloud.ask("alice", "POST", "/networks", {"network": {}})
    body = {
        "network_id": made.body["network"]["id"],
        "device_owner": "compute:nova",
        "binding:host_id": "host1",
    }
    answer = await cloud.ask("admin", "POST", "/ports", {"port": body})
    return str(answer.body["port"]["id"])


def test_a_newborn_gets_everything_then_what_changes() -> None:
    async def scene(cloud: NetworkCloud, hub: Hub) -> None:
        with Agent(hub.local()) as peer:
            await peer.send(Hello(host="host1"))
            first = await peer.receive()
            assert isinstance(first, State) and first.full and not first.items
            port_id = await a_port(cloud)
            keys: set[str] = set()
            while port_id not in keys:
                state = await peer.receive()
                assert isinstance(state, State) and not state.full and state.epoch == first.epoch
                keys |= {item.key for item in state.items}
            await peer.send(
                Reports(revision=state.revision, reports=[Report(kind="port", key=port_id, status="ACTIVE")])
            )
            while True:
                answer = await cloud.ask("admin", "GET", f"/ports/{port_id}")
                if answer.body["port"]["status"] == "ACTIVE":
                    break

    run(scene)


def test_a_call_gets_its_reply_also_when_the_agent_returns_later() -> None:
    async def scene(cloud: NetworkCloud, hub: Hub) -> None:
        asked = asyncio.create_task(
            hub.call("host1", "instance.reboot", {"a": 1}, call_id="c1", request_id="r", timeout_s=5)
        )
        await asyncio.sleep(0)
        with Agent(hub.local()) as peer:
            await peer.send(Hello(host="host1"))
            message = await peer.receive()
            while not isinstance(message, Call):
                message = await peer.receive()
            assert (message.id, message.method) == ("c1", "instance.reboot")
            await peer.send(Reply(id="c1", result=msgspec.Raw(b'"done"')))
            assert await asked == b'"done"'

    run(scene)


def test_a_host_that_is_away_is_unreachable() -> None:
    async def scene(cloud: NetworkCloud, hub: Hub) -> None:
        with pytest.raises(CallError) as caught:
            await hub.call("nowhere", "x.y", {}, call_id="c", request_id="", timeout_s=0.01)
        assert caught.value.kind == "unreachable"

    run(scene)
