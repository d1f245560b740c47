"""What a refusal may repeat of the body that it refuses: everything but secrets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

WORDS = ("password", "secret", "adminpass", "auth_key", "user_data", "blob", "private_key", "passcode")
HIDDEN = "***"


def is_secret(name: object) -> bool:
    """Whether a property of this name holds something that is its sender's alone."""
    lowered = name.lower() if isinstance(name, str) else ""
    return any(word in lowered for word in WORDS)


def hidden(value: Any, path: Iterable[object] = ()) -> Any:
    """The value with its secrets blanked; all of it, when the path down to it names one."""
    if any(is_secret(name) for name in path):
        return value if isinstance(value, dict) and not value else _blank(value)
    if isinstance(value, dict):
        return {key: _blank(inner) if is_secret(key) else hidden(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hidden(inner) for inner in value]
    return value


def _blank(value: Any) -> Any:
    """A dictionary keeps its shape: ``password`` is also the name of a method of authentication."""
    if isinstance(value, dict):
        return {key: _blank(inner) if is_secret(key) else hidden(inner) for key, inner in value.items()}
    return HIDDEN if isinstance(value, str | list | int | float) else value


def told(message: str, instance: Any, path: Iterable[object]) -> tuple[Any, str]:
    """The value and the sentence about it, as they may be shown."""
    shown = hidden(instance, path)
    if shown == instance:
        return instance, message
    return shown, message.replace(repr(instance), repr(shown))
