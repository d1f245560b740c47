"""``make soak ROUNDS=N [SEED=S]``: prints its seed and what each round killed; a failure names seed and round."""

from __future__ import annotations

import random
import secrets
import shutil
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
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


@dataclass
class Score:
    """What was done so far."""

    rounds: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    packets: int = 0
    measured: int = 0
    """Packets sent while only server and agent died."""


def one_round(lab: Lab, api: Api, pair: Pair, rng: random.Random, name: str, score: Score) -> str:
    """Load and pings, then some deaths, then the truth. Returns who died."""
    flavor, image = pairs.kinds(api)
    load = Load(api, flavor, image, name)
    ping = pair.ping(lab, PING_S)
    load.start()
    chosen = rng.choices(victims.KINDS, (4, 4, 1, 1, 3, 1, 1), k=rng.choice([1, 1, 2, 3]))
    dead = []
    for kind in chosen:
        time.sleep(rng.uniform(0.05, 0.9))
        said = victims.kill(lab.state_dir, kind, rng, pair.victim)
        if said:
            dead.append(said)
            score.killed[kind] += 1
    time.sleep(rng.uniform(0.1, 0.5))
    load.stop()
    sent, missing = lost(ping)
    score.packets += sent
    score.answers += load.counts
    assert not load.broken, "answers of 5xx: " + "; ".join(load.broken[:5])
    died = {word.split()[0] for word in dead}
    if died <= set(victims.HARMLESS):
        score.measured += sent
        assert missing == 0, f"{missing} of {sent} packets were lost while only {sorted(died)} died"
    if "guest" in died:
        pairs.revive(api, pair.victim)
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
def main(rounds: int, seed: int, keep: Path | None) -> None:
    """Kill -9 at random moments, over and over."""
    seed = seed or secrets.randbelow(2**31)
    click.echo(f"seed {seed}")
    score, began = Score(), time.monotonic()
    with running_lab() as lab:
        api = Api(load_settings(lab.state_dir).endpoint, lab.state_dir)
        api.lift_quotas()
        pair = pairs.make(api, lab)
        for number in range(rounds):
            rng = random.Random(f"{seed}:{number}")
            try:
                dead = one_round(lab, api, pair, rng, f"{seed}:{number}", score)
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
        f"{score.rounds} rounds in {took_s:.0f} s; killed {score.killed.total()}: {killed}\n"
        f"requests meanwhile: {answers}\n"
        f"{score.packets} pings; {score.measured} of them while only server or agent died, and of those none was lost"
    )


if __name__ == "__main__":
    main()
