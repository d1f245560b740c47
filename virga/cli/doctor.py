"""`virga doctor`: what the machine gives; of a running cloud, what is not as it must be on any of its hosts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from virga.cli.options import open_cloud, state_dir_option

if TYPE_CHECKING:
    from virga.contract.doctor import Diagnosis, Finding
    from virga.lab.cloud import Cloud

DOCTOR_S = 300.0
SHOWN_LINES = 4


@click.command()
@state_dir_option
@click.option("--fix", is_flag=True, help="Hand what differs to the agents, to be made as it must be.")
@click.option("--json", "as_json", is_flag=True, help="The findings as the API gives them.")
@click.option("--machine", is_flag=True, help="Only what the machine gives, also while a cloud runs.")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
def doctor(state_dir: Path | None, fix: bool, as_json: bool, machine: bool, hosts: tuple[str, ...]) -> None:
    """Look at the cloud that runs: everything wanted against everything there, on every HOST. Changes nothing.

    When no cloud runs: look at the machine and explain each choice. Exit status 1 when something is wrong.
    """
    cloud: Cloud = open_cloud(state_dir)
    if machine or not cloud.programs.living("server"):
        if fix or as_json or hosts:
            raise click.ClickException(f"No cloud runs in {cloud.directory}: start it with `virga up`.")
        _machine(cloud)
        return
    _running(cloud, hosts, fix, as_json)


def _running(cloud: Cloud, hosts: tuple[str, ...], fix: bool, as_json: bool) -> None:
    import msgspec

    from virga.contract.doctor import Diagnosis
    from virga.lab.credentials import accounts
    from virga.lab.wire import Wire

    wire = Wire(cloud.settings, accounts(cloud.settings)[0])
    answer = wire.send("POST", "/v1/doctor", {"hosts": list(hosts), "fix": fix}, timeout_s=DOCTOR_S)[1]
    diagnosis = msgspec.convert(answer, Diagnosis)
    found = [*_programs(cloud, hosts), *diagnosis.findings]
    diagnosis = msgspec.structs.replace(diagnosis, findings=found)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(diagnosis)).decode())
    else:
        _show(diagnosis)
    raise SystemExit(1 if any(each.level == "problem" for each in found) else 0)


def _programs(cloud: Cloud, hosts: tuple[str, ...]) -> list[Finding]:
    """Programs of the lab that are to run and do not."""
    from virga.contract.doctor import Finding

    return [
        Finding(
            check="services",
            host=one.host,
            subject=one.name,
            kind="missing",
            sentence=f"{one.name} is to run and does not.",
            mend="virga up",
        )
        for one in cloud.programs.listed()
        if not cloud.programs.living(one.name) and (not hosts or one.host in hosts)
    ]


def _show(diagnosis: Diagnosis) -> None:
    for each in diagnosis.fixed:
        click.echo(click.style("fixed    ", fg="green") + f"{each.host:<8} {each.sentence}")
    for each in diagnosis.findings:
        _show_one(each)
    for host, neighbours in diagnosis.neighbours.items():
        for one in neighbours:
            click.echo(f"neighbour {host:<8} {one.nic}: {one.name or one.chassis}, port {one.port}")
    problems = sum(each.level == "problem" for each in diagnosis.findings)
    notes = len(diagnosis.findings) - problems
    looked = ", ".join(f"{count} {name}" for name, count in diagnosis.checked.items())
    click.echo(
        f"{_count(problems, 'problem')}, {_count(notes, 'note')}; looked at {looked} in {diagnosis.seconds:.1f} s."
    )


def _show_one(each: Finding) -> None:
    colour = "red" if each.level == "problem" else "yellow"
    click.echo(click.style(f"{each.level:<8} ", fg=colour) + f"{each.host:<8} {each.sentence}")
    for name, text in (("wanted", each.wanted), ("actual", each.actual)):
        for number, line in enumerate(text.splitlines()[:SHOWN_LINES]):
            click.echo(f"{'':<18}{name if not number else '':<8}{line[:200]}")
    if each.mend:
        click.echo(f"{'':<18}mend    {each.mend}")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def _machine(cloud: Cloud) -> None:
    import dataclasses
    import tempfile

    from virga.lab import checks
    from virga.lab.detect import detect

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
