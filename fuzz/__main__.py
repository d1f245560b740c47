"""``make fuzz REQUESTS=N [SEED=S]``: shoots, then says seed, counts and all that was wrong. Fails if anything was."""

from __future__ import annotations

import secrets
import sys
import time

import click

from fuzz.run import Tally, fuzz


@click.command()
@click.option("--requests", default=10_000, show_default=True, help="How many.")
@click.option("--seed", default=0, help="The same seed sends the same requests; 0 chooses one.")
@click.option("--silent", is_flag=True, help="List the routes that never answered with success.")
def main(requests: int, seed: int, silent: bool) -> None:
    """Drive every route with requests that are nearly right."""
    seed = seed or secrets.randbelow(2**31)
    click.echo(f"seed {seed}")
    began = time.monotonic()

    def progress(tally: Tally) -> None:
        click.echo(f"  {tally.requests} requests, {len(tally.failures)} kinds of failure", err=True)

    tally = fuzz(requests, seed, progress)
    show(tally, time.monotonic() - began)
    if silent:
        for name, statuses in sorted(tally.reached.items()):
            if not any(s < 300 for s in statuses):
                click.echo(f"  never succeeded: {name} {sorted(statuses)}")
    if tally.failures:
        for what, text in tally.failures.items():
            click.echo(f"\n{tally.times[what]} times: {text}")
        sys.exit(
            f"\n{len(tally.failures)} kinds of failure; again with: make fuzz REQUESTS={requests} SEED={seed}"
        )


def show(tally: Tally, took_s: float) -> None:
    """Counts for each service and status."""
    statuses = sorted({s for counts in tally.statuses.values() for s in counts})
    click.echo(f"{'service':15}" + "".join(f"{s:>7}" for s in statuses) + f"{'all':>9}")
    for service, counts in sorted(tally.statuses.items()):
        click.echo(
            f"{service:15}" + "".join(f"{counts.get(s, 0):7}" for s in statuses) + f"{counts.total():9}"
        )
    good = sum(1 for found in tally.reached.values() if any(s < 300 for s in found))
    click.echo(
        f"{tally.requests} requests in {took_s:.0f} s to {len(tally.reached)} routes, {good} of them also with success; "
        f"{tally.races} races; all tables compared around {tally.compared} refusals, rows written counted for all; "
        f"{sum(c for counts in tally.statuses.values() for s, c in counts.items() if s >= 500)} answers of 5xx"
    )


if __name__ == "__main__":
    main()
