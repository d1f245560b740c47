"""A short run of ``make fuzz``: the same requests each time, so that what fails here fails again."""

from __future__ import annotations

import pytest

from fuzz.run import fuzz


@pytest.mark.only_here
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_nothing_breaks_under_three_thousand_bad_requests() -> None:
    tally = fuzz(3000, seed=20261)
    assert not tally.failures, "\n".join(tally.failures.values())
    assert set(tally.statuses) >= {"identity", "image", "network", "placement", "block-storage", "compute"}
    assert sum(any(s < 300 for s in found) for found in tally.reached.values()) > 250
    assert tally.compared > 20
