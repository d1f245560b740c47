"""``virga keys``: the keys that tokens and kept secrets are sealed with. Works on files; nothing is restarted."""

from __future__ import annotations

import time
from pathlib import Path

import click

from virga import settings as settings_module
from virga.cli.options import state_dir_option
from virga.lib.keys import CREDENTIAL_KEYS, TOKEN_KEYS, rotate

NEVER = 1 << 30
"""Kept secrets have no end of life, so their keys are never removed."""


@click.group()
def keys() -> None:
    """The keys that tokens and kept secrets are sealed with."""


@keys.command("rotate")
@state_dir_option
@click.option("--credentials", is_flag=True, help="The keys of credentials instead of those of tokens.")
def rotate_keys(state_dir: Path | None, credentials: bool) -> None:
    """Begin to seal with a new key. No session ends: older keys go only when nothing needs them."""
    settings = settings_module.load(state_dir)
    directory = settings.state_dir / (CREDENTIAL_KEYS if credentials else TOKEN_KEYS)
    if not directory.exists():
        raise click.ClickException(f"There are no keys in {directory}: start the cloud once.")
    keep = NEVER if credentials else settings.key_files
    needed_s = settings.token_seconds + settings.token_grace_seconds
    primary = rotate(directory, keep, needed_s, time.time())
    remaining = len([path for path in directory.iterdir() if path.name.isdigit()])
    click.echo(f"Key {primary} seals from now on; {remaining} keys are kept in {directory}.")
