"""One cloud for all API tests; each test makes its own project in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lib.cloud import RunningCloud, running_cloud


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCloud]:
    with running_cloud(tmp_path_factory.mktemp("cloud")) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The clients' libraries warn about themselves; that is not ours to mend."""
    for item in items:
        for kind in ("DeprecationWarning", "PendingDeprecationWarning"):
            item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind}"))
