"""The end of a detached start, in a process of its own: ``python -m virga.cli.finish --state-dir DIR``."""

from __future__ import annotations

from pathlib import Path

import click

from virga.cli.options import open_cloud
from virga.cli.up import finish


@click.command()
@click.option("--state-dir", type=click.Path(path_type=Path), required=True)
def main(state_dir: Path) -> None:
    """Wait for the hosts and provision a new cloud."""
    finish(open_cloud(state_dir))


if __name__ == "__main__":
    main()
