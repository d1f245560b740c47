"""What stands behind a name is noticed to be another one."""

from __future__ import annotations

from pathlib import Path

from virga.agent.drivers.presence import Presence


def test_namespaces_and_devices_that_were_made_again(tmp_path: Path) -> None:
    numbers = {"qr-1": 5}

    def index_of(name: str) -> int:
        if name not in numbers:
            raise OSError(name)
        return numbers[name]

    presence = Presence(tmp_path, index_of)
    places = {"r1": ("qrouter-1", ["qr-1"]), "r2": ("qrouter-2", [])}
    (tmp_path / "qrouter-1").touch()
    (tmp_path / "qrouter-2").touch()
    assert presence.made_again(places) == []
    assert presence.made_again(places) == []
    numbers["qr-1"] = 9
    assert presence.made_again(places) == ["r1"]
    assert presence.made_again(places) == []
    del numbers["qr-1"]
    assert presence.made_again(places) == ["r1"]
    (tmp_path / "other").touch()
    (tmp_path / "other").replace(tmp_path / "qrouter-2")
    assert presence.made_again(places) == ["r2"]
