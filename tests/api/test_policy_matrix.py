"""Every route asked by nobody, reader, member, manager, admin, another project's member, and admins of system and domain.

The table is OpenStack's (where it comes from is written in it); the cloud is left as it was by each request.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fuzz.declared import listening
from fuzz.matrix import Matrix, expected, key_of, nothing_stays, prepare
from fuzz.run import Round, Tally, clouds

TABLE = Path(__file__).with_name("policy_matrix.tsv")
# Under these names only Virga has routes, or routes that are open to all: version documents, discovery.
FEWEST_ROWS = 700


@pytest.mark.validated
def test_who_may_do_what(capsys: pytest.CaptureFixture[str]) -> None:
    rng, table = random.Random(5), expected(TABLE)
    with listening() as heard, clouds(rng) as (running, world):
        round_ = Round(rng, running, world, Tally(5), heard)
        try:
            prepare(world)
            round_.learn()
            known = {key_of(target) for target in round_.targets}
            with nothing_stays(running.cloud.database):
                outcome = Matrix(round_, world, table).run()
        finally:
            round_.close()
    missing = sorted(" ".join(key) for key in table if key not in known)
    assert not missing, "rows of the table without a route: " + ", ".join(missing)
    assert len(table) > FEWEST_ROWS
    with capsys.disabled():
        print(
            f"\n{outcome.routes} routes, {len(table)} of them in OpenStack's table, {outcome.asked} questions, "
            f"{outcome.open_questions} that the route refuses to everybody for another reason"
        )
    assert not outcome.deviations, "\n".join(outcome.deviations)
    assert outcome.open_questions < outcome.asked / 50
