"""``make soak ROUNDS=N [SEED=S]``: prints its seed and what each round killed; a failure names seed and round."""

from __future__ import annotations

import random
import secrets
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import click

from soak import pair as pairs
from soak import truth, victims
from soak.api import Api
from soak.load import Load
from soak.pair import Pair, lost
from tests.lib.lab import Lab, running_lab, wait_for
from virga.settings import load as load_settings

PING_S = 4.0
FAST_S = 8.0
WEIGHTS = (4, 4, 1, 1, 3, 3, 1, 3)
"""Of ``victims.KINDS``."""


@dataclass
class Score:
    """What was done so far."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    measured: int = 0
    """Packets sent while only server and agent died."""


def few_deaths(lab: Lab, pair: Pair, rng: random.Random) -> list[str]:
    """One to three, at moments of their own."""
    dead = []
    for kind in rng.choices(victims.KINDS, WEIGHTS, k=rng.choice([1, 1, 2, 3])):
        time.sleep(rng.uniform(0.05, 0.9))
        dead.append(victims.kill(lab.state_dir, kind, rng, pair.of(kind)))
    time.sleep(rng.uniform(0.1, 0.5))
    return [said for said in dead if said]


def many_deaths(lab: Lab, pair: Pair, rng: random.Random) -> list[str]:
    """As many as there is something to kill for, for some seconds; in half of the rounds server and agent alone."""
    kinds = victims.HARMLESS if rng.random() < 0.5 else victims.KINDS
    weights = [WEIGHTS[victims.KINDS.index(kind)] for kind in kinds]
    dead: list[str] = []
    deadline = time.monotonic() + FAST_S
    while time.monotonic() < deadline:
        time.sleep(rng.uniform(0.02, 0.25))
        [kind] = rng.choices(kinds, weights)
        if kind in ("guest", "qemu") and any(said.startswith(kind) for said in dead):
            continue  # Nobody has started it again yet, or the cloud does not know that it died.
        dead.append(victims.kill(lab.state_dir, kind, rng, pair.of(kind)))
    return [said for said in dead if said]


def one_round(
    lab: Lab, api: Api, pair: Pair, rng: random.Random, name: str, score: Score, fast: bool = False
) -> str:
    """Load and pings, then some deaths, then the truth. Returns who died."""
    flavor, image = pairs.kinds(api)
    load = Load(api, flavor, image, name, pair.machine)
    ping = pair.ping(lab, FAST_S if fast else PING_S)
    load.start()
    dead = (many_deaths if fast else few_deaths)(lab, pair, rng)
    score.killed.update(said.split()[0] for said in dead)
    load.stop()
    sent, missing = lost(ping)
    score.packets += sent
    score.answers += load.counts
    assert not load.broken, "answers of 5xx: " + "; ".join(load.broken[:5])
    died = {word.split()[0] for word in dead}
    if died <= set(victims.HARMLESS):
        score.measured += sent
        assert missing == 0, f"{missing} of {sent} packets were lost while only {sorted(died)} died"
    for kind in died & {"guest", "qemu"}:
        pairs.revive(api, pair.of(kind), partial(victims.runs, lab.state_dir, kind, pair.of(kind)))
    truth.all_of_it(api, lab)
    wait_for("the guest answers afterwards", lambda: pair.answers(lab))
    return ", ".join(dead) or "nobody"


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option(
    "--seed", default=0, help="The same seed kills the same kinds in the same order; 0 chooses one."
)
@click.option(
    "--keep", type=click.Path(path_type=Path), default=None, help="Copy logs here when a round fails."
)
@click.option(
    "--fast",
    is_flag=True,
    help="Many kills a minute: dozens a round, guests in namespaces only, no volume attached.",
)
def main(rounds: int, seed: int, keep: Path | None, fast: bool) -> None:
    """Kill -9 at random moments, over and over."""
    seed = seed or secrets.randbelow(2**31)
    click.echo(f"seed {seed}")
    score, began = Score(), time.monotonic()
    with running_lab() as lab:
        api = Api(load_settings(lab.state_dir).endpoint, lab.state_dir)
        api.lift_quotas()
        pair = pairs.make(api, lab)
        if not fast:
            pair.machine = pairs.machine(api)
        began = time.monotonic()
        for number in range(rounds):
            rng = random.Random(f"{seed}:{number}")
            try:
                dead = one_round(lab, api, pair, rng, f"{seed}:{number}", score, fast)
            except Exception as problem:
                if keep is not None:
                    shutil.copytree(lab.state_dir / "logs", keep, dirs_exist_ok=True)
                show(score, time.monotonic() - began)
                sys.exit(f"seed {seed}, round {number}: {type(problem).__name__}: {problem}")
            score.rounds += 1
            click.echo(f"  round {number}: {dead}")
    show(score, time.monotonic() - began)


def show(score: Score, took_s: float) -> None:
    killed = ", ".join(f"{count} {kind}" for kind, count in score.killed.most_common())
    answers = ", ".join(f"{count} of {status}" for status, count in sorted(score.answers.items()))
    click.echo(
        f"{score.rounds} rounds in {took_s:.0f} s; killed {score.killed.total()}, "
        f"{score.killed.total() * 60 / max(took_s, 1):.1f} a minute: {killed}\n"
        f"requests meanwhile: {answers}\n"
        f"{score.packets} pings; {score.measured} of them while only server or agent died, and of those none was lost"
    )


if __name__ == "__main__":
    main()
