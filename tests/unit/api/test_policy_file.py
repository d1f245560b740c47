"""A policy file overrides rules, or says in one sentence why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from virga.api import policy_file
from virga.api.policy import Policy, PolicyError


@pytest.mark.parametrize("text", ['{"a": "role:x"}', "a: role:x\n"])
def test_json_and_yaml_are_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy"
    path.write_text(text)
    assert policy_file.read(str(path)) == {"a": "role:x"}
    assert policy_file.read("") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [(b"a: [1", "not YAML at line 1"), (b"- a\n", "must map names"), (b"\xff\xfe\xfa", "cannot be read")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "policy"
    path.write_bytes(text)
    with pytest.raises(PolicyError, match=said) as refused:
        policy_file.read(str(path))
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        policy_file.read(str(tmp_path / "none"))


def test_a_pattern_that_is_none_names_its_rule() -> None:
    with pytest.raises(PolicyError, match=r"'odd'.*pattern"):
        Policy({"odd": "field:networks:name=~[a"})
