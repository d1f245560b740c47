"""The `virga` command. One file a command; a command's file is imported only when it is called."""

from __future__ import annotations

import importlib
from typing import Any

import click

COMMANDS = {
    "up": "virga.cli.up",
    "down": "virga.cli.down",
    "status": "virga.cli.status",
    "logs": "virga.cli.logs",
    "hosts": "virga.cli.hosts",
    "host": "virga.cli.host",
    "console": "virga.cli.console",
    "doctor": "virga.cli.doctor",
    "capture": "virga.cli.capture",
    "config": "virga.cli.config",
    "keys": "virga.cli.keys",
    "volume": "virga.cli.volume",
    "explain": "virga.cli.explain",
}
"""Command -> module; the module's object of the same name is the command."""


class Commands(click.Group):
    """Imports late, and turns expected errors into one sentence."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        found: click.Command = getattr(importlib.import_module(COMMANDS[name]), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        from virga.cli.sentence import expected_errors

        try:
            return super().invoke(ctx)
        except expected_errors() as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="virga", message="%(version)s")
def virga() -> None:
    """An OpenStack-compatible cloud with a real network, on one machine."""


def main() -> None:
    virga(prog_name="virga")


if __name__ == "__main__":
    main()
