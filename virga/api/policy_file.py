"""An operator's policy file: YAML or JSON, rule name to rule text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml

from virga.api.policy import PolicyError


def read(path: str) -> dict[str, str]:
    """The overrides; none without a file name. PolicyError for a file that is not there or not a mapping."""
    if not path:
        return {}
    try:
        loaded = yaml.safe_load(Path(path).read_text()) or {}
    except (OSError, UnicodeDecodeError) as problem:
        raise PolicyError(f"The policy file {path} cannot be read: {problem}.") from problem
    except yaml.YAMLError as problem:
        where = getattr(problem, "problem_mark", None)
        line = f" at line {where.line + 1}" if where is not None else ""
        raise PolicyError(f"The policy file {path} is not YAML{line}.") from problem
    if not isinstance(loaded, Mapping):
        raise PolicyError(f"The policy file {path} must map names of rules to rules.")
    return {str(name): str(rule) for name, rule in loaded.items()}
