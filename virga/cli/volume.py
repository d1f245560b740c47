"""``virga volume``: whether volumes are as the cloud says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from virga.cli.options import existing_cloud, state_dir_option


@click.group()
def volume() -> None:
    """Volumes: rows, pools, targets and disks."""


@volume.command("check")
@state_dir_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def check(state_dir: Path | None, as_json: bool) -> None:
    """Compare rows, pools, snapshots, targets, attachments and the disks of machines. Exit status 1 on differences."""
    import json

    from virga.lab.credentials import accounts
    from virga.lab.wire import Wire

    settings = existing_cloud(state_dir).settings
    found: dict[str, Any] = Wire(settings, accounts(settings)[0]).get("/v1/volumes/check")["volume_check"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        for one in found["findings"]:
            click.echo(f"  {one['kind']:<8} {one['what']:<11} {one['id']}  {one['text']}")
        counts = ", ".join(f"{number} {name}" for name, number in found["compared"].items())
        click.echo(f"  Compared {counts}: {len(found['findings']) or 'no'} differences.")
    raise SystemExit(1 if found["findings"] else 0)
