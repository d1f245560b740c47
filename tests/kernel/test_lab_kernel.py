"""Features of the kernel are tried for real; what cannot work is named with what needs it."""

from __future__ import annotations

import os
from unittest.mock import ANY

import pytest

from virga.lab import detect, kernel
from virga.lab.kernel import Feature, lacks

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="trying kernel features needs root")


def test_a_machine_that_runs_these_tests_has_what_is_essential() -> None:
    assert [lack.name for lack in lacks("nft") if lack.essential] == []


def test_what_does_not_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = (
        Feature("good", "nothing", ("ip", "link")),
        Feature("bad", "something", ("ip", "link", "add", "try0", "type", "no-such-kind")),
        Feature("absent", "much", ("no-such-command",), essential=False),
    )
    monkeypatch.setattr(kernel, "features", lambda iptables: tried)
    found = {lack.name: lack.essential for lack in lacks("nft") if lack.name != "ipv6"}
    assert found == {"bad": True, "absent": False}


def test_the_probe_tells_a_machine_that_boots_from_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert detect.boots("tcg", "Nehalem") == (True, ANY)
    works, why = detect.boots("tcg", "no-such-processor")
    assert not works and "no-such-processor" in why
    monkeypatch.setattr(detect, "boot_sector", lambda: b"\xf4\xeb\xfd".ljust(510, b"\0") + b"\x55\xaa")
    monkeypatch.setattr(detect, "PROBE_SECONDS", 3.0)
    works, why = detect.boots("tcg", "Nehalem")
    assert not works and "not done after 3 s" in why
