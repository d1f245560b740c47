"""``make conformance``: start a cloud, run other people's tests on it, fail unless every one that was asked for passed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from conformance import record, tempest_run
from conformance.cloud import Admin
from conformance.suites import Suite, of_group
from conformance.tempest_run import TempestRun, outcome, report
from virga import settings as settings_module
from virga.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE_TOML = Path(__file__).with_name("virga.toml")


@contextlib.contextmanager
def lab(
    state_dir: Path | None, hosts: int, dataplane: str, local_volumes: bool = False
) -> Iterator[Settings]:
    """A running cloud: the one in ``state_dir``, or a new one that is wiped afterwards."""
    if state_dir is not None:
        yield settings_module.load(state_dir)
        return
    directory = Path(tempfile.mkdtemp(prefix="virga-conformance-"))
    toml = CONFORMANCE_TOML.read_text() + ('volume_attach = "local"\n' if local_volumes else "")
    (directory / "virga.toml").write_text(toml)
    virga = [sys.executable, "-m", "virga.cli.main"]
    try:
        options = ["--state-dir", str(directory), "--hosts", str(hosts), "--dataplane", dataplane]
        subprocess.run([*virga, "up", *options], check=True, cwd=ROOT)
        yield settings_module.load(directory)
    finally:
        subprocess.run([*virga, "down", "--wipe", "--state-dir", str(directory)], check=False, cwd=ROOT)
        shutil.rmtree(directory, ignore_errors=True)


@click.command()
@click.option("--list", "list_file", type=click.Path(exists=True, path_type=Path), help="A load list.")
@click.option("--regex", default=None, help="Run all tests whose full id matches instead of a list.")
@click.option("--group", type=click.Choice(["lab", "memory"]), help="Run the suites of suites.py.")
@click.option(
    "--lists", type=click.Path(path_type=Path), default=Path("../shared/reference"), help="Their lists."
)
@click.option(
    "--cloud", type=click.Path(exists=True, path_type=Path), help="State directory of a running cloud."
)
@click.option("--hosts", default=2, help="Simulated hosts of a new lab.")
@click.option("--dataplane", type=click.Choice(["lab", "fake"]), default="lab")
@click.option("--concurrency", default=2)
@click.option("--workspace", type=click.Path(path_type=Path), default=None, help="Kept; else a new one.")
@click.option("--tools", type=click.Path(path_type=Path), default=ROOT / ".cache/tempest")
@click.option("--json", "kept", type=click.Path(path_type=Path), default=None, help="Where results go.")
@click.option("--page", type=click.Path(path_type=Path), default=None, help="Where a page of them goes.")
@click.option(
    "--local-volumes", is_flag=True, help="Volumes of a new lab are attached as files, not by iSCSI."
)
@click.option("--no-validation", is_flag=True, help="Do not log in to guests.")
def main(
    list_file: Path | None,
    regex: str | None,
    group: str | None,
    lists: Path,
    cloud: Path | None,
    hosts: int,
    dataplane: str,
    concurrency: int,
    workspace: Path | None,
    tools: Path,
    kept: Path | None,
    page: Path | None,
    local_volumes: bool,
    no_validation: bool,
) -> None:
    """Exit status 0 when every test that was asked for ran and passed."""
    chosen = _suites(list_file, regex, group)
    dataplane = "fake" if group == "memory" else dataplane
    binaries = tempest_run.environment(tools)
    workspace = workspace or Path(tempfile.mkdtemp(prefix="virga-tempest-"))
    began = time.monotonic()
    with lab(cloud, hosts, dataplane, local_volumes) as settings:
        password = (settings.state_dir / "admin_password").read_text().strip()
        admin = Admin.login(settings.endpoint, password)
        run = TempestRun(binaries, workspace, admin, hosts, dataplane == "lab" and not no_validation)
        existing = run.existing()
        names = {suite: suite.names(lists, existing) for suite in chosen}
        ran = run.run({name for found in names.values() for name in found}, concurrency)
    outcomes = [outcome(suite.title, found, ran) for suite, found in names.items()]
    for found in outcomes:
        report(found)
    if kept is not None:
        record.keep(kept, chosen[0].group, outcomes, time.monotonic() - began)
    if page is not None and kept is not None:
        page.write_text(record.page(record.read(kept)))
    print(f"Tempest's workspace, with its log: {workspace}")
    sys.exit(0 if all(found.ok for found in outcomes) else 1)


def _suites(list_file: Path | None, regex: str | None, group: str | None) -> tuple[Suite, ...]:
    """What was asked for: one list, one pattern, or a group of the known suites."""
    if regex is not None:
        return (Suite(regex, "lab", pattern=regex),)
    if list_file is not None:
        return (Suite(list_file.stem, "lab", str(list_file.resolve())),)
    if group is not None:
        return of_group(group)
    raise click.UsageError("Name a load list (LIST=FILE), a --regex or a --group.")


if __name__ == "__main__":
    main()
