"""`virga status`: what runs of the cloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from virga.cli.options import existing_cloud, state_dir_option

if TYPE_CHECKING:
    from virga.lab.cloud import Cloud


@click.command()
@state_dir_option
def status(state_dir: Path | None) -> None:
    """Show the API, the supervisor, hosts and agents. Exit status 1 when something that is to run does not."""
    cloud = existing_cloud(state_dir)
    rows = [("api", *_program(cloud, "server")), ("supervisor", *_program(cloud, "supervisor"))]
    hosts = [] if cloud.is_fake else cloud.existing_hosts()
    for host in hosts:
        for label, name in (("agent", host.agent), ("switch", f"{host.name}-vswitchd")):
            rows.append((f"{host.name} {label}", *_program(cloud, name)))
    click.echo(f"{cloud.directory}  {cloud.settings.endpoint}")
    for label, state, detail in rows:
        click.echo(f"  {label:<16} {state:<8} {detail}")
    for host in hosts:
        click.echo(f"  {host.name} instances  {host.instances()} running")
    if any(state != "running" for _, state, _ in rows):
        raise SystemExit(1)


def _program(cloud: Cloud, name: str) -> tuple[str, str]:
    found = cloud.programs.living(name)
    if found is None:
        return "stopped", ""
    return "running", f"pid {found.pid}, {found.resident_kb() // 1024} MiB"
