"""Who may do what: OpenStack's policy language, compiled once and evaluated on each request.

A rule is text such as ``role:admin or (role:member and project_id:%(project_id)s)``; checks are
``role:``, ``rule:``, ``is_admin:``, ``<caller attribute>:<text or %(target attribute)s>``,
``'literal':%(target attribute)s``, ``field:…``, ``@`` (all) and ``!`` (none); they combine by ``and``, ``or``,
``not`` and brackets. Source: the language reference of oslo.policy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from virga.api.faults import Forbidden
from virga.api.request import Caller

Target = Mapping[str, Any]
Check = Callable[[Caller, Target], bool]

_TOKEN = re.compile(r"\s*(\(|\)|(?:'[^']*'|%\([^)]*\)s|[^\s()'])+)")
_SUBSTITUTE = re.compile(r"%\(([^)]+)\)s\Z")


class PolicyError(ValueError):
    """A rule that cannot be read; says which."""


class Policy:
    """All rules of a cloud: the services' defaults with an operator's overrides on top."""

    def __init__(self, defaults: Mapping[str, str], overrides: Mapping[str, str] | None = None) -> None:
        self.rules = {**defaults, **(overrides or {})}
        self._compiled: dict[str, Check] = {}
        for name in self.rules:
            self._check(name)

    def allows(self, caller: Caller, name: str, target: Target) -> bool:
        """True when ``caller`` satisfies rule ``name`` for ``target``. An unknown rule is never satisfied."""
        return self._check(name)(caller, target)

    def enforce(self, caller: Caller, name: str, target: Target) -> None:
        """Raise Forbidden, in the words of oslo.policy, unless allowed."""
        if not self.allows(caller, name, target):
            raise Forbidden(f"Policy doesn't allow {name} to be performed.", type="PolicyNotAuthorized")

    def _check(self, name: str, seen: tuple[str, ...] = ()) -> Check:
        if name in seen:
            raise PolicyError(f"Policy rule {name!r} refers to itself.")
        check = self._compiled.get(name)
        if check is None:
            text = self.rules.get(name, self.rules.get("default", "!"))
            check = self._compiled[name] = self._parse(text, (*seen, name))
        return check

    def _parse(self, text: str, seen: tuple[str, ...]) -> Check:
        tokens = _TOKEN.findall(text)
        if not tokens:
            return _always
        check, rest = self._parse_or(tokens, seen)
        if rest:
            raise PolicyError(f"Policy rule {seen[-1]!r}: {text!r} cannot be read at {rest[0]!r}.")
        return check

    def _parse_or(self, tokens: list[str], seen: tuple[str, ...]) -> tuple[Check, list[str]]:
        check, tokens = self._parse_and(tokens, seen)
        checks = [check]
        while tokens and tokens[0].lower() == "or":
            check, tokens = self._parse_and(tokens[1:], seen)
            checks.append(check)
        return _any_of(checks), tokens

    def _parse_and(self, tokens: list[str], seen: tuple[str, ...]) -> tuple[Check, list[str]]:
        check, tokens = self._parse_not(tokens, seen)
        checks = [check]
        while tokens and tokens[0].lower() == "and":
            check, tokens = self._parse_not(tokens[1:], seen)
            checks.append(check)
        return _all_of(checks), tokens

    def _parse_not(self, tokens: list[str], seen: tuple[str, ...]) -> tuple[Check, list[str]]:
        if not tokens:
            raise PolicyError(f"Policy rule {seen[-1]!r} ends too early.")
        head, rest = tokens[0], tokens[1:]
        if head.lower() == "not":
            inner, rest = self._parse_not(rest, seen)
            return (lambda caller, target: not inner(caller, target)), rest
        if head == "(":
            inner, rest = self._parse_or(rest, seen)
            if not rest or rest[0] != ")":
                raise PolicyError(f"Policy rule {seen[-1]!r} misses a closing bracket.")
            return inner, rest[1:]
        return self._leaf(head, seen), rest

    def _leaf(self, text: str, seen: tuple[str, ...]) -> Check:
        if text == "@":
            return _always
        if text == "!":
            return _never
        kind, colon, match = text.partition(":")
        if not colon:
            raise PolicyError(f"Policy rule {seen[-1]!r}: {text!r} is not of the form kind:match.")
        if kind == "rule":
            return self._check(match, seen)
        if kind == "role":
            return lambda caller, target: match.lower() in caller.roles
        if kind == "field":
            return _field(match, seen[-1])
        return _attribute(kind, match)


def _always(caller: Caller, target: Target) -> bool:
    return True


def _never(caller: Caller, target: Target) -> bool:
    return False


def _any_of(checks: Iterable[Check]) -> Check:
    parts = tuple(checks)
    if len(parts) == 1:
        return parts[0]
    return lambda caller, target: any(check(caller, target) for check in parts)


def _all_of(checks: Iterable[Check]) -> Check:
    parts = tuple(checks)
    if len(parts) == 1:
        return parts[0]
    return lambda caller, target: all(check(caller, target) for check in parts)


def _field(match: str, rule: str) -> Check:
    _resource, _, condition = match.partition(":")
    name, _, wanted = condition.partition("=")
    if wanted.startswith("~"):
        try:
            pattern = re.compile(wanted[1:])
        except re.error as problem:
            raise PolicyError(f"Policy rule {rule!r}: {wanted[1:]!r} is no pattern: {problem}.") from problem
        return lambda caller, target: pattern.match(str(target.get(name, ""))) is not None
    return lambda caller, target: str(target.get(name)) == wanted


def _lookup(target: Any, path: str) -> Any:
    if isinstance(target, Mapping) and path in target:
        return target[path]
    for part in path.split("."):
        if not isinstance(target, Mapping) or part not in target:
            return None
        target = target[part]
    return target


def _attribute(kind: str, match: str) -> Check:
    substitute = _SUBSTITUTE.match(match)
    literal = kind.strip("'") if kind.startswith("'") or kind in ("None", "True", "False") else None

    def check(caller: Caller, target: Target) -> bool:
        wanted = _lookup(target, substitute.group(1)) if substitute else match
        if literal is not None:
            return str(wanted) == literal
        actual = caller.attribute(kind)
        if substitute is None:
            return str(actual) == match
        return actual is not None and wanted is not None and str(actual) == str(wanted)

    return check
