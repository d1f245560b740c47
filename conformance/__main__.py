"""``make conformance LIST=FILE``: start a lab, run a list of Tempest tests on it, fail unless all passed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from conformance import tempest_run
from conformance.cloud import Admin
from virga import settings as settings_module
from virga.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE_TOML = Path(__file__).with_name("virga.toml")


@contextlib.contextmanager
def lab(state_dir: Path | None, hosts: int, dataplane: str) -> Iterator[Settings]:
    """A running cloud: the one in ``state_dir``, or a new one that is wiped afterwards."""
    if state_dir is not None:
        yield settings_module.load(state_dir)
        return
    directory = Path(tempfile.mkdtemp(prefix="virga-conformance-"))
    shutil.copy(CONFORMANCE_TOML, directory / "virga.toml")
    virga = [sys.executable, "-m", "virga.cli.main"]
    try:
        options = ["--state-dir", str(directory), "--hosts", str(hosts), "--dataplane", dataplane]
        subprocess.run([*virga, "up", *options], check=True, cwd=ROOT)
        yield settings_module.load(directory)
    finally:
        subprocess.run([*virga, "down", "--wipe", "--state-dir", str(directory)], check=False, cwd=ROOT)
        shutil.rmtree(directory, ignore_errors=True)


@click.command()
@click.option(
    "--list", "lists", multiple=True, type=click.Path(exists=True, path_type=Path), help="Load list."
)
@click.option("--regex", default=None, help="Run all tests whose name matches instead of a list.")
@click.option(
    "--cloud", type=click.Path(exists=True, path_type=Path), help="State directory of a running cloud."
)
@click.option("--hosts", default=1, help="Simulated hosts of a new lab.")
@click.option("--dataplane", default="lab", help="lab or fake.")
@click.option("--concurrency", default=2)
@click.option("--workspace", type=click.Path(path_type=Path), default=None, help="Kept; else a new one.")
@click.option("--tools", type=click.Path(path_type=Path), default=ROOT / ".cache/tempest")
@click.option("--json", "results", type=click.Path(path_type=Path), default=None, help="Where results go.")
@click.option("--no-validation", is_flag=True, help="Do not log in to guests.")
def main(
    lists: tuple[Path, ...],
    regex: str | None,
    cloud: Path | None,
    hosts: int,
    dataplane: str,
    concurrency: int,
    workspace: Path | None,
    tools: Path,
    results: Path | None,
    no_validation: bool,
) -> None:
    """Exit status 0 when every test of the list ran and passed."""
    binaries = tempest_run.environment(tools)
    workspace = workspace or Path(tempfile.mkdtemp(prefix="virga-tempest-"))
    with lab(cloud, hosts, dataplane) as settings:
        password = (settings.state_dir / "admin_password").read_text().strip()
        admin = Admin.login(settings.endpoint, password)
        validation = dataplane == "lab" and not no_validation
        run = tempest_run.TempestRun(binaries, workspace, admin, hosts, validation)
        suite, names = _names(run, lists, regex)
        outcome = run.run(suite, names, concurrency)
    tempest_run.report(outcome, results)
    print(f"Tempest's workspace, with its log: {workspace}")
    sys.exit(0 if outcome.ok else 1)


def _names(run: tempest_run.TempestRun, lists: tuple[Path, ...], regex: str | None) -> tuple[str, list[str]]:
    if regex is not None:
        import re

        return regex, [n for n, full in run.existing().items() if re.search(regex, full)]
    if not lists:
        raise click.UsageError("Name a load list (LIST=FILE) or a --regex.")
    return ", ".join(p.stem for p in lists), [n for p in lists for n in tempest_run.names_in(p)]


if __name__ == "__main__":
    main()
