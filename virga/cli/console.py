"""``virga console``: the serial line of a server in this terminal."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from pathlib import Path
from typing import Any

import click

from virga.cli.options import existing_cloud, state_dir_option
from virga.lab.credentials import accounts
from virga.lab.wire import Wire

LEAVE = b"\x1d"
"""Ctrl-], as in telnet and virsh."""


@click.command()
@state_dir_option
@click.argument("server")
def console(state_dir: Path | None, server: str) -> None:
    """Log in to SERVER (name or id) over its serial line. Ctrl-] leaves."""
    wire = Wire(existing_cloud(state_dir).settings, accounts(existing_cloud(state_dir).settings)[0])
    found = wire.get("/compute/v2.1/servers", all_tenants="1")["servers"]
    matches = [one["id"] for one in found if server in (one["id"], one["name"])]
    if len(matches) != 1:
        how_many = "no server" if not matches else "more than one server"
        raise click.ClickException(f"There is {how_many} with name or id {server!r}.")
    path = f"/compute/v2.1/servers/{matches[0]}/action"
    opened = wire.post(path, {"os-getSerialConsole": {"type": "serial"}})
    click.echo("Connected: press Enter for the prompt, Ctrl-] to leave.", err=True)
    _join(opened["console"]["url"])


def _join(url: str) -> None:
    # Imported late: only this command needs it.
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        connection = connect(url, subprotocols=["binary"], max_size=None, proxy=None)
    except (OSError, WebSocketException) as error:
        raise click.ClickException(f"The console cannot be opened: {error}.") from None
    with connection:
        _talk(connection)


def _talk(connection: Any) -> None:
    """Keys to the guest, its words to the screen, until either side leaves."""
    ended, wake = os.pipe()

    def show() -> None:
        try:
            for data in connection:
                os.write(sys.stdout.fileno(), data if isinstance(data, bytes) else data.encode())
        finally:
            os.close(wake)

    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard) if os.isatty(keyboard) else None
    reader = threading.Thread(target=show, daemon=True)
    try:
        if before is not None:
            tty.setraw(keyboard)
        reader.start()
        while True:
            ready, _, _ = select.select([keyboard, ended], [], [])
            typed = os.read(keyboard, 1024) if keyboard in ready else b""
            if ended in ready or not typed or LEAVE in typed:
                return
            connection.send(typed)
    finally:
        if before is not None:
            termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
        connection.close()
        reader.join(timeout=5)
        os.close(ended)
