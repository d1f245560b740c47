"""`virga down`: stop the cloud; it is kept for the next `virga up` unless it is to be forgotten."""

from __future__ import annotations

from pathlib import Path

import click

from virga.cli.options import open_cloud, state_dir_option


@click.command()
@state_dir_option
@click.option("--wipe", is_flag=True, help="Forget the cloud: database, images, disks and logs.")
def down(state_dir: Path | None, wipe: bool) -> None:
    """Stop the cloud and everything that it started."""
    from virga.lab import credentials

    cloud = open_cloud(state_dir)
    if not cloud.directory.exists():
        click.echo(f"There is no cloud in {cloud.directory}.")
        return
    if wipe:
        credentials.remove(cloud.settings)
    cloud.down(wipe)
    click.echo(
        f"The cloud in {cloud.directory} is {'forgotten' if wipe else 'stopped; `virga up` brings it back'}."
    )
