"""``make faults``: break a running lab in many ways, one at a time, and judge what ``virga explain`` says."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import click
import openstack.connection
from openstack.config.loader import OpenStackConfig

from tests.faults.explanation import Said, explain
from tests.faults.fault import FAULTS, Fault
from tests.faults.healthy import HEALTHY
from tests.faults.table import Row, Table, page
from tests.faults.traffic import Path, becomes, works
from tests.faults.world import World
from tests.lib.lab import Lab, running_lab

LISTS = ("by_api", "behind_switch", "behind_router", "behind_service", "unusual")
TOML = 'repair = false\naccelerator = "tcg"\n'
EXIT_REACHABLE, EXIT_NOT = 0, 1


def connect(lab: Lab) -> Any:
    """openstacksdk, as the administrator of the lab."""
    config = OpenStackConfig(config_files=[str(lab.clouds_yaml)], load_envvars=False)
    return openstack.connection.Connection(config=config.get_one(cloud="virga"))


@contextlib.contextmanager
def world_of(state_dir: File | None) -> Iterator[World]:
    """A new world, or the one of a lab that was kept."""
    if state_dir is not None:
        lab = Lab(state_dir)
        world = World(lab, connect(lab))
        world.load()
        yield world
        return
    with running_lab(2, TOML) as lab:
        world = World(lab, connect(lab))
        world.make()
        world.save()
        yield world


def _resolved(world: World, path: Path) -> Path:
    return dataclasses.replace(path, target=path.target.format(**world.names()))


def bystander(world: World, number: int) -> Row | None:
    """A path that still works while something else is broken; None when the chosen one does not."""
    path = HEALTHY[7 * number % len(HEALTHY)]
    if not works(world, path):
        return None
    said = explain(world, path)
    wrong = "" if said.status != EXIT_NOT and said.code else said.text
    return Row("healthy", str(path), "REACHABLE", said.code, said.seconds, wrong, bystander=True)


def judge(world: World, fault: Fault, others: list[Row], number: int | None) -> Row:
    """Break, see that it is broken, ask, mend, see that it works again. With ``number``: ask of another path, too."""
    probe = _resolved(world, fault.probe)
    broken = fault.break_(world)
    try:
        next(broken)
        world.forget_neighbours()
        if not becomes(world, probe, False):
            return Row(fault.name, str(fault.asked), fault.code, "", 0.0, "the fault breaks nothing")
        said = explain(world, fault.asked)
        other = bystander(world, number) if number is not None else None
        others += [other] if other is not None else []
    except Exception as error:
        return Row(fault.name, str(fault.asked), fault.code, "", 0.0, f"cannot break: {error}")
    finally:
        trouble = _mend(world, broken, probe, fault)
    wrong = "" if said.code == fault.code and said.status == EXIT_NOT else said.text or f"exit {said.status}"
    return Row(fault.name, str(fault.asked), fault.code, said.code, said.seconds, wrong, trouble)


def _mend(world: World, broken: Iterator[None], probe: Path, fault: Fault) -> str:
    """What went wrong, if anything did: then the whole lab is put right, for the faults to come."""
    try:
        next(broken, None)
        if fault.never or becomes(world, probe, True, 40.0):
            return ""
        trouble = "did not work again"
    except Exception as error:
        trouble = f"cannot mend: {error}"
    for host in ("host1", "host2"):
        world.revive(host)
    return trouble if becomes(world, probe, True, 30.0) else f"{trouble}, nor after a repair"


def healthy(world: World, path: Path) -> Row:
    """A path that works must be called reachable."""
    if not becomes(world, path, True, 60.0):
        return Row("healthy", str(path), "REACHABLE", "", 0.0, "the path does not work")
    said: Said = explain(world, path)
    wrong = "" if said.code == "REACHABLE" and said.status == EXIT_REACHABLE else said.text
    return Row("healthy", str(path), "REACHABLE", said.code, said.seconds, wrong)


@click.command()
@click.option(
    "--only", default="", help="Regular expression of the names of faults; `healthy` are the good paths."
)
@click.option(
    "--lab",
    "state_dir",
    type=click.Path(path_type=File),
    default=None,
    help="State directory of a kept world.",
)
@click.option(
    "--bystanders", is_flag=True, help="While each fault lasts, explain a path that it does not touch."
)
@click.option(
    "--page", "page_file", type=click.Path(path_type=File), default=None, help="Write the table as a page."
)
def main(only: str, state_dir: File | None, bystanders: bool, page_file: File | None) -> None:
    """Exit status 0 when the bar is reached."""
    warnings.simplefilter("ignore")
    for name in LISTS:
        importlib.import_module(f"tests.faults.{name}")
    chosen = [fault for fault in FAULTS if re.search(only, fault.name)]
    paths = HEALTHY if re.search(only, "healthy") else []
    table = Table()
    with world_of(state_dir) as world:
        for path in paths:
            table.add(healthy(world, path))
        for number, fault in enumerate(chosen):
            others: list[Row] = []
            table.add(judge(world, fault, others, number if bystanders else None))
            for row in others:
                table.add(row)
        for path in paths if chosen else []:
            table.add(healthy(world, path))
    print(table.totals())
    if page_file is not None:
        page_file.write_text(page(table))
    sys.exit(0 if table.passed else 1)


if __name__ == "__main__":
    main()
