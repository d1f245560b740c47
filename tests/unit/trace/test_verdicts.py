"""Codes are stable words: all are told on their page, and none is given that is not among them."""

from __future__ import annotations

import re
from pathlib import Path

from virga.trace.verdicts import CODES

ROOT = Path(__file__).resolve().parents[3]
GIVEN = re.compile(r'Finding\(\s*"([A-Z_]+)"|code="([A-Z_]+)"|code = "([A-Z_]+)"')


def test_the_page_tells_every_code_in_the_same_words() -> None:
    page = (ROOT / "docs/explain.md").read_text()
    missing = [code for code, sentence in CODES.items() if f"| `{code}` | {sentence} |" not in page]
    assert not missing, f"docs/explain.md does not have {missing}"


def test_no_code_is_given_that_is_not_known() -> None:
    given = {
        code
        for path in (ROOT / "virga/trace").glob("*.py")
        if not path.name.startswith("doctor")
        for found in GIVEN.findall(path.read_text())
        for code in found
        if code
    }
    assert {"SG_NO_MATCH", "DRIFT", "NO_ROUTE"} <= given
    assert given <= CODES.keys(), given - CODES.keys()
