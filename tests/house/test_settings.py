"""Settings: documented, readable by hand, and the page about them is fresh."""

from __future__ import annotations

from tests.house.source import ROOT
from virga.cli.settings_page import render
from virga.settings import SETTINGS


def test_every_setting_has_one_sentence() -> None:
    bad = [name for name, setting in SETTINGS.items() if not setting.sentence.endswith((".", ".)"))]
    assert not bad, bad


def test_the_settings_page_is_fresh() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    assert page == render(), "docs/settings.md is stale: run `make docs`"
