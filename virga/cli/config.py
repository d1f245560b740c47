"""`virga config`: look at the settings, without root and without network."""

from __future__ import annotations

from pathlib import Path

import click

from virga import settings as settings_module
from virga.cli.options import state_dir_option

SECRET = ("admin_password", "demo_password", "database_url")


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@state_dir_option
def check(state_dir: Path | None) -> None:
    """Say whether the settings can be used; exit status 1 and one sentence when not."""
    settings_module.load(state_dir)
    click.echo("The settings can be used.")


@config.command()
@state_dir_option
@click.option("--changed", is_flag=True, help="Only what differs from the default.")
def show(state_dir: Path | None, changed: bool) -> None:
    """Print the settings in force, as virga.toml has them."""
    settings = settings_module.load(state_dir)
    for name, setting in settings_module.SETTINGS.items():
        value = getattr(settings, name)
        if changed and value == setting.default:
            continue
        click.echo(f"# {setting.sentence}\n{name} = {_toml('***' if name in SECRET and value else value)}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
