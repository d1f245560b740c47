"""`virga host exec`: run a command where a simulated host lives."""

from __future__ import annotations

import os
from pathlib import Path

import click

from virga.cli.options import existing_cloud, state_dir_option


@click.group()
def host() -> None:
    """Work on one simulated host."""


@host.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@state_dir_option
@click.argument("name", metavar="HOST")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(state_dir: Path | None, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in HOST's namespaces, as if logged in there: `virga host exec host1 -- ovs-vsctl show`."""
    if os.geteuid() != 0:
        raise click.ClickException("Getting into a host needs root: run it with sudo.")
    found = {one.name: one for one in existing_cloud(state_dir).existing_hosts()}
    if name not in found:
        raise click.ClickException(f"There is no host {name!r}; there is {', '.join(found) or 'none'}.")
    command = command[1:] if command[0] == "--" else command
    if not command:
        raise click.UsageError("Missing argument 'COMMAND...'.")
    argv = found[name].holder.inside(*command)
    path = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
    os.execvpe(argv[0], argv, os.environ | {"PATH": path})
