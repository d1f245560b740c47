"""Makes ``docs/settings.md`` from the settings. ``python -m virga.cli.settings_page`` prints it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from virga.settings import SETTINGS, type_name

HEAD = """# Settings

Made from `virga/settings.py` by `make docs`.

A setting is looked for in `virga.toml` in the working directory, in `virga.toml` in the state directory, in the
environment (the variable below), and among the options of the command line; the last one found wins. A setting that
does not exist stops the start. `virga config check` looks at them without root or network, `virga config show` prints
the values in force.

| Setting | Variable | Type | Default | |
|---|---|---|---|---|
"""


def render() -> str:
    """The whole page. Pure."""
    rows = [
        f"| `{setting.name}` | `{setting.variable}` | {type_name(setting.type)} | {_default(setting.default)} "
        f"| {setting.sentence} |"
        for setting in SETTINGS.values()
    ]
    return HEAD + "\n".join(rows) + "\n"


def _default(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Path):
        return f"`{value}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`" if value != "" else "empty"


if __name__ == "__main__":
    print(render(), end="")
