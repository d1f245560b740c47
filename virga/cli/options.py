"""Options that several commands share, and the cloud they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from virga import settings as settings_module

if TYPE_CHECKING:
    from virga.lab.cloud import Cloud

F = TypeVar("F", bound=Callable[..., Any])


def state_dir_option(function: F) -> F:
    """``--state-dir``, as every command has it."""
    return click.option(
        "--state-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="Directory of the cloud.  [default: .virga]",
    )(function)


def say(text: str) -> None:
    """One line of progress, on standard error, so that standard output stays what was asked for."""
    click.echo(f"  {text} ...", err=True)


def open_cloud(state_dir: Path | None, overrides: Mapping[str, object] | None = None) -> Cloud:
    """The cloud that the options and settings mean; it need not exist yet."""
    from virga.lab.cloud import Cloud

    given = dict(overrides or {})
    settings = settings_module.load(state_dir, given)
    explicit = settings_module.explicit(state_dir, given)
    return Cloud(settings, explicit, say, given)


def existing_cloud(state_dir: Path | None) -> Cloud:
    """The cloud that is there. One sentence when there is none."""
    cloud = open_cloud(state_dir)
    if not (cloud.directory / "chosen.json").exists():
        raise click.ClickException(f"There is no cloud in {cloud.directory}: start one with `virga up`.")
    return cloud
