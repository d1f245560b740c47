"""Consoles: a token opens one console for a while; without one there is nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
import websockets

from tests.lib.cloud import RunningCloud
from tests.lib.compute import active_server, wait_gone

pytestmark = pytest.mark.only_here


def test_the_page_is_served(cloud: RunningCloud) -> None:
    page = httpx.get(f"{cloud.url}/compute/console/vnc.html?path=x")
    assert page.status_code == 200
    assert "</html>" in page.text


def test_a_bad_token_opens_nothing(cloud: RunningCloud) -> None:
    async def connect() -> None:
        url = cloud.url.replace("http", "ws") + "/compute/console/websocket?token=bad"
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.connect(url)
        assert refused.value.response.status_code == 403

    asyncio.run(connect())


def test_bytes_go_both_ways(cloud: RunningCloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from virga.agent.drivers.fake.instances import FakeActions

    path = tmp_path / "console.sock"
    monkeypatch.setattr(FakeActions, "console_target", lambda self, instance_id, console_type: path)
    with cloud.member() as member:
        server = active_server(cloud, member)
        version = {"openstack-api-version": "compute 2.6"}
        answer = member.post(
            f"/compute/v2.1/servers/{server['id']}/remote-consoles",
            json={"remote_console": {"protocol": "serial", "type": "serial"}},
            headers=version,
        )
        assert answer.status_code == 200, answer.text
        url = answer.json()["remote_console"]["url"]

        async def talk() -> bytes:
            async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                writer.write(b"login: ")
                writer.write((await reader.readexactly(4)).upper())
                await writer.drain()
                writer.close()

            guest = await asyncio.start_unix_server(echo, path)
            async with guest, websockets.connect(url) as console:
                await console.send(b"root")
                heard = b""
                async for part in console:
                    heard += part
                return heard

        assert asyncio.run(talk()) == b"login: ROOT"
        member.delete(f"/compute/v2.1/servers/{server['id']}")
        wait_gone(member, server["id"])
