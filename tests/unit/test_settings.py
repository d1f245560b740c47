"""Settings come from the right place, and what is wrong is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from virga.settings import SettingsError, load


def test_the_nearest_source_wins(tmp_path: Path) -> None:
    state = tmp_path / "cloud"
    state.mkdir()
    (state / "chosen.json").write_text(
        json.dumps({"port": 1001, "region": "Chosen", "dropped_in_a_release": 1})
    )
    assert load("cloud", environ={}, directory=tmp_path).port == 1001
    (tmp_path / "virga.toml").write_text("port = 1002\nhosts = 2\n")
    assert load("cloud", environ={}, directory=tmp_path).port == 1002
    (state / "virga.toml").write_text("port = 1003\n")
    assert load("cloud", environ={}, directory=tmp_path).port == 1003
    assert load("cloud", environ={"VIRGA_PORT": "1004"}, directory=tmp_path).port == 1004
    settings = load("cloud", {"port": 1005}, {"VIRGA_PORT": "1004"}, tmp_path)
    assert (settings.port, settings.hosts, settings.region) == (1005, 2, "Chosen")
    assert settings.state_dir == state


def test_the_state_directory_may_be_a_setting_too(tmp_path: Path) -> None:
    assert load(environ={}, directory=tmp_path).state_dir == tmp_path / ".virga"
    assert load(environ={"VIRGA_STATE_DIR": "x"}, directory=tmp_path).state_dir == tmp_path / "x"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"prot": 1}, "there is no setting 'prot'. Did you mean 'port'?"),
        ({"port": "many"}, "setting 'port' cannot be 'many': a whole number is expected"),
        ({"port": 70000}, "70000 is not a port number"),
        ({"dataplane": "real"}, "one of lab, fake is expected"),
        ({"vlan_ranges": "physnet1:5"}, "'physnet1:5' is not of the form"),
        ({"bind_address": "here"}, "'here' does not appear to be an IPv4 or IPv6 address"),
        ({"nat": "perhaps"}, "true or false is expected"),
        ({"hosts": 0}, "0 is not greater than 0"),
        ({"scheduler_filters": [1]}, "a list of texts is expected"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, overrides: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(overrides=overrides, environ={}, directory=tmp_path)
    assert sentence in str(caught.value)
    assert str(caught.value).startswith("the command line: ")


def test_a_file_with_an_unknown_setting_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "virga.toml").write_text('colour = "blue"\n')
    with pytest.raises(SettingsError, match=r"virga\.toml: there is no setting 'colour'"):
        load(environ={}, directory=tmp_path)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    (tmp_path / "virga.toml").write_text("port 1\n")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(environ={}, directory=tmp_path)


def test_lists_may_be_written_with_commas(tmp_path: Path) -> None:
    settings = load(environ={"VIRGA_VLAN_RANGES": "a:1:2, b:3:4"}, directory=tmp_path)
    assert [item.physical_network for item in settings.vlan_range_list] == ["a", "b"]
