"""Bodies that do not fit their schema are refused in the words of the Image API."""

from __future__ import annotations

from typing import Any

from virga.api.schema import Checker
from virga.services.image.faults import SchemaMismatch


def check_with(checker: Checker, name: str, body: Any) -> None:
    """Raise SchemaMismatch unless the body fits."""
    wrong = checker.mismatch(body)
    if wrong is not None:
        raise SchemaMismatch(name, wrong.text)
