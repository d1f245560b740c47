"""`virga doctor`: what the machine gives and lacks, and what was chosen because of it."""

from __future__ import annotations

from pathlib import Path

import click

from virga.cli.options import open_cloud, state_dir_option


@click.command()
@state_dir_option
def doctor(state_dir: Path | None) -> None:
    """Look at the machine and explain each choice. Exit status 1 when something stands against a start."""
    import dataclasses
    import tempfile

    from virga.lab import checks
    from virga.lab.cloud import Cloud
    from virga.lab.detect import detect

    cloud: Cloud = open_cloud(state_dir)
    place = cloud.directory if cloud.directory.exists() else Path(tempfile.gettempdir())
    found = detect(dataclasses.replace(cloud.settings, state_dir=place))
    for name, choice in found.lines:
        click.echo(f"  {name:<16} {choice.value:<8} {choice.reason}")
    for lack in found.lacks:
        click.echo(f"  {'kernel':<16} {'missing':<8} {lack.name}, needed for {lack.needed_for}")
    problems = checks.problems(cloud.settings)
    problems += [f"The kernel lacks {lack.name}." for lack in found.lacks if lack.essential]
    for sentence in problems:
        click.echo(f"  problem          {sentence}")
    if not problems:
        click.echo("  Nothing stands against a start.")
    raise SystemExit(1 if problems else 0)
