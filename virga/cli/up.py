"""`virga up`: start the cloud, or what is missing of it, and say how to get in."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from virga.cli.options import open_cloud, say, state_dir_option

if TYPE_CHECKING:
    from virga.lab.cloud import Cloud


@click.command()
@state_dir_option
@click.option("--hosts", type=int, help="Number of simulated hosts.")
@click.option(
    "--dataplane", type=click.Choice(["lab", "fake"]), help="`fake`: no root, no packets, same APIs."
)
@click.option(
    "--detach", is_flag=True, help="Return when the API answers; hosts and image follow by themselves."
)
@click.option("--foreground", is_flag=True, help="Stay, show the log, and stop the cloud with Ctrl-C.")
@click.option("--port", type=int, help="Port of the API.")
@click.option(
    "--nat", is_flag=True, default=None, help="Let the lab reach what this machine reaches, behind NAT."
)
@click.option("--plug", type=click.Choice(["ovs", "hybrid"]), help="How instances are plugged.")
@click.option("--set", "others", multiple=True, metavar="NAME=VALUE", help="Any other setting.")
def up(
    state_dir: Path | None, detach: bool, foreground: bool, others: tuple[str, ...], **named: object
) -> None:
    """Start the cloud.

    A cloud that was stopped comes back as it was, its instances too; on a running one this completes what is
    missing. Returns when everything is ready, and the cloud stays.
    """
    from virga.cli.page import page
    from virga.lab.cloud import ProvisionError, StartError

    overrides = {name: value for name, value in named.items() if value is not None} | _pairs(others)
    cloud = open_cloud(state_dir, overrides)
    began = time.monotonic()
    was_running = cloud.running
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cloud.up()
        cloud.write_credentials()
        if detach:
            _finish_later(cloud)
        else:
            finish(cloud)
    except ProvisionError:
        click.echo(page(cloud, time.monotonic() - began))
        raise
    except StartError:
        if not was_running:
            say("Cleaning up")
            cloud.down()
        raise
    except KeyboardInterrupt:
        if not was_running:
            cloud.down()
        left = "the cloud runs on" if was_running else "everything that was started has been stopped again"
        raise click.ClickException(f"Interrupted; {left}.") from None
    click.echo(page(cloud, time.monotonic() - began))
    if foreground:
        _stay(cloud)


def _pairs(others: tuple[str, ...]) -> dict[str, object]:
    found: dict[str, object] = {}
    for pair in others:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"{pair!r} is not of the form NAME=VALUE", param_hint="--set")
        found[name] = value
    return found


def finish(cloud: Cloud) -> None:
    """What a start does after the API answers: hosts ready, and what a new cloud begins with."""
    from virga.lab.cloud import ProvisionError
    from virga.lab.provision import provision
    from virga.lab.wire import WireError

    if not cloud.is_fake:
        say("Waiting for the hosts")
        cloud.wait_for_hosts()
    try:
        provision(cloud.settings, cloud.settings.outside_cidr or "172.24.4.0/24", cloud.guest, say)
    except WireError as error:
        raise ProvisionError(
            f"The cloud runs, but its first objects could not be made; `virga up` tries again. {error}"
        ) from None


def _finish_later(cloud: Cloud) -> None:
    """The same in a process of its own."""
    from virga.lab import process
    from virga.lab.program import environment, python

    programs = cloud.programs
    if programs.living("finish"):
        return
    argv = python("virga.cli.finish", "--state-dir", str(cloud.directory))
    around = environment(cloud.settings) | {"VIRGA_GUEST_DIR": str(cloud.guest)}
    process.start(argv, programs.record("finish"), programs.output("finish"), around)


def _stay(cloud: Cloud) -> None:
    from virga.cli.logs import follow

    try:
        follow(cloud.directory / "logs")
    except KeyboardInterrupt:
        say("Stopping the cloud")
        cloud.down()
