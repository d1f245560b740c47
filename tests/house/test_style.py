"""The house style, checked: sizes, names, docstrings, no sleeping, no import-time work."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.source import ROOT, functions, lines_of, modules

FILE_LINES = 600
FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def _allowed() -> dict[str, int]:
    found = {}
    for line in (ROOT / "tests/house/sizes_allowed.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, lines, _reason = line.split(maxsplit=2)
            found[name] = int(lines)
    return found


def _sizes() -> dict[str, int]:
    found = {}
    for path, tree in modules().items():
        if "/migrations/" in path:
            continue
        found[path] = lines_of(path)
        for name, node in functions(tree):
            found[f"{path}::{name}"] = (node.end_lineno or node.lineno) - node.lineno + 1
    return found


def _limit(name: str) -> int:
    return FUNCTION_LINES if "::" in name else FILE_LINES


def test_files_and_functions_are_short() -> None:
    allowed = _allowed()
    long = [f"{name}: {lines}" for name, lines in _sizes().items() if lines > allowed.get(name, _limit(name))]
    assert not long, "too long (split it): " + ", ".join(long)


def test_the_list_of_long_ones_only_shrinks() -> None:
    sizes = _sizes()
    needless = [
        name
        for name, lines in _allowed().items()
        if sizes.get(name, 0) <= _limit(name) or sizes[name] < lines
    ]
    assert not needless, "shorten or drop these lines of sizes_allowed.txt: " + ", ".join(needless)


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path, tree in modules().items() if tree.body and not ast.get_docstring(tree)]
    assert not silent, "no module docstring: " + ", ".join(silent)


def test_no_drawer_names() -> None:
    bad = [path for path in modules() if FORBIDDEN_NAMES & set(Path(path).with_suffix("").parts)]
    assert not bad, "name it after its topic: " + ", ".join(bad)


def test_classes_of_managers_and_drivers_have_a_noun() -> None:
    bad = [
        f"{path}: {node.name}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name in {"Manager", "Driver", "Base", "Helper", "Utils"}
        if path != "virga/agent/protocol.py"
    ]
    assert not bad, ", ".join(bad)


def test_nothing_sleeps_to_wait() -> None:
    """``time.sleep`` and ``asyncio.sleep`` wait for nothing in particular: wait for the event, or poll by lib/wait."""
    bad = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        if path != "virga/lib/wait.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep", "asyncio.sleep"}
    ]
    assert not bad, ", ".join(bad)


def test_wildcard_imports_and_globals_are_not_used() -> None:
    bad = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Global) or (isinstance(node, ast.ImportFrom) and node.names[0].name == "*")
    ]
    assert not bad, ", ".join(bad)


def test_shell_is_never_asked_to_parse_a_command() -> None:
    bad = [
        f"{path}:{node.lineno}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        if any(
            word.arg == "shell" and isinstance(word.value, ast.Constant) and word.value.value
            for word in node.keywords
        )
    ]
    assert not bad, ", ".join(bad)


def test_no_machine_paths_or_registry_addresses() -> None:
    pattern = re.compile(r"/Users/|--index-url|https?://\S*/simple|--hash=")
    files = [
        *ROOT.glob("*.*"),
        *ROOT.glob("scripts/*"),
        *(ROOT / "docs").glob("**/*.md"),
        *(ROOT / "virga").rglob("*.py"),
    ]
    bad = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        if path.is_file()
        and path.name != ".git"
        and path.suffix in {".py", ".txt", ".lock", ".md", ".toml", ".sh", ""}
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]
    assert not bad, ", ".join(bad)
