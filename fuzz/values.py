"""Values: those a declaration asks for, and those it does not expect."""

from __future__ import annotations

import json
import random
import re
import string
import uuid
from collections.abc import Callable, Sequence
from typing import Any

HUGE = [2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, -1, 0, 1e308, -1.5, 0.1]
TEXTS = [
    "", " ", "\t", "a" * 256, "b" * 70_000, "\x00", "a\x00b", "\ud83d", "é\u202eñ", "🦄" * 40, "%00", "%s%n",
    "' OR 1=1 --", "../../etc/passwd", "/etc/passwd", "<script>", "${x}", "null", "None", "true", "-1",
    "1e400",
    "١٢", "²", "0x10", "1_000", " 1", "+1", "9" * 5000, "9" * 30,
    "--5", "NaN", "Infinity", "\r\nX-Injected: 1", "\\", "\u2028", "ａｄｍｉｎ",
]  # fmt: skip
WRONG: list[Any] = [None, True, False, [], {}, [[]], [{}], {"a": {}}, [None], {"": None}, *HUGE, *TEXTS]
ADDRESSES = ["10.77.1.5", "10.77.1.0", "10.77.1.255", "fd00:77::5", "0.0.0.0", "255.255.255.255", "::", "::1",
             "224.0.0.1", "169.254.169.254", "127.0.0.1", "10.77.1.05", "fe80::1%eth0", "::ffff:10.0.0.1"]  # fmt: skip
CIDRS = ["10.77.9.0/24", "10.78.0.0/16", "fd00:99::/64", "0.0.0.0/0", "::/0", "10.77.9.0/31", "10.77.9.1/32",
         "10.77.9.1/24", "fd00::/128", "10.77.9.0/255.255.255.0", "10.77.9.0/33", "10.77.9.0"]  # fmt: skip
TIMES = ["2030-01-01T00:00:00Z", "2030-01-01T00:00:00.000000Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
         "2030-13-01T00:00:00Z", "1969-12-31T23:59:59+14:00", "2030-01-01"]  # fmt: skip
URLS = [
    "http://127.0.0.1:1/x",
    "file:///etc/passwd",
    "http://[::1",
    "ftp://127.0.0.1/",
    "http://127.0.0.1:99999/",
]
PLAIN = ["x", "test", "public", "private", "default", "admin", "internal", "ACTIVE", "active", "vlan", "tcp", "id",
         "raw", "bare", "nova", "host1", "password", "token", "1", "4", "6", "80", "physnet1"]  # fmt: skip

Pool = Callable[[str], Sequence[str]]
"""A property's name to ids that it may mean."""


def surrogate_safe(value: Any) -> bytes:
    """JSON as a careless client would write it: lone surrogates stay in, as escapes."""
    return json.dumps(value, ensure_ascii=True, default=str).encode()


class Maker:
    """Makes values with one source of randomness."""

    def __init__(self, rng: random.Random, pool: Pool) -> None:
        self.rng, self.pool = rng, pool

    def by_name(self, name: str) -> Any:
        """What a property of this name most likely takes."""
        rng, lower = self.rng, name.lower()
        ids = self.pool(name)
        if ids and rng.random() < 0.85:
            return rng.choice(ids)
        for words, values in (
            (("cidr", "prefix", "destination"), CIDRS), (("addr", "_ip", "ip_", "nexthop", "start", "end"), ADDRESSES),
            (("_at", "since", "before", "start", "end"), TIMES), (("url", "uri", "href"), URLS),
        ):  # fmt: skip
            if any(word in lower for word in words):
                return rng.choice(values)
        if "mac" in lower:
            return "fa:16:3e:{:02x}:{:02x}:{:02x}".format(*tuple(rng.randrange(256) for _ in range(3)))
        if lower.endswith(("_id", "id", "ref", "uuid")):
            return str(uuid.UUID(int=rng.getrandbits(128)))
        if any(
            word in lower
            for word in ("size", "count", "port", "limit", "ram", "vcpus", "disk", "mtu", "version")
        ):
            return rng.choice([0, 1, 2, 4, 64, 80, 1500, -1])
        return self.word()

    def word(self) -> str:
        rng = self.rng
        if rng.random() < 0.4:
            return rng.choice(PLAIN)
        return "f" + "".join(rng.choices(string.ascii_lowercase + string.digits, k=8))

    def wrong(self) -> Any:
        """Something of any type, any size."""
        rng = self.rng
        if rng.random() < 0.05:
            return self.deep(rng.choice([20, 200, 900, 3000]))
        if rng.random() < 0.1:
            return {self.word(): rng.choice(WRONG) for _ in range(rng.choice([1, 3, 300]))}
        if rng.random() < 0.1:
            return [rng.choice(WRONG) for _ in range(rng.choice([1, 3, 300]))]
        return rng.choice(WRONG)

    def deep(self, levels: int) -> Any:
        value: Any = 1
        for level in range(min(levels, 900)):
            value = [value] if level % 2 else {"a": value}
        return value

    # --- by declaration

    def of_schema(self, schema: Any, name: str = "", depth: int = 0) -> Any:
        """A value that a JSON schema lets pass, most of the time."""
        rng = self.rng
        if not isinstance(schema, dict) or not schema or depth > 8:
            return self.by_name(name)
        if "enum" in schema:
            return rng.choice(list(schema["enum"]))
        for key in ("oneOf", "anyOf"):
            if key in schema and "properties" not in schema:
                chosen = rng.choice(schema[key])
                rest = {k: v for k, v in schema.items() if k != key}
                return self.of_schema({**rest, **chosen}, name, depth + 1)
        if "allOf" in schema and "type" not in schema:
            return self.of_schema(schema["allOf"][0], name, depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = rng.choice(kind)
        if kind is None:
            kind = "object" if "properties" in schema or "patternProperties" in schema else "string"
        maker = getattr(self, f"_{kind}", None)
        return maker(schema, name, depth) if maker else self.by_name(name)

    def _object(self, schema: Any, name: str, depth: int) -> dict[str, Any]:
        rng, made = self.rng, {}
        required = set(schema.get("required", ()))
        chance = rng.choice([0.0, 0.3, 0.6, 1.0]) if depth else 1.0
        for key, inner in schema.get("properties", {}).items():
            if key in required or rng.random() < chance:
                made[key] = self.of_schema(inner, key, depth + 1)
        for pattern, inner in schema.get("patternProperties", {}).items():
            for _ in range(rng.choice([0, 1, 1, 2])):
                made[self._matching(pattern, name)] = self.of_schema(inner, name, depth + 1)
        if isinstance(schema.get("additionalProperties"), dict) and rng.random() < 0.6:
            made[self.word()] = self.of_schema(schema["additionalProperties"], name, depth + 1)
        return made

    def _array(self, schema: Any, name: str, depth: int) -> list[Any]:
        low, high = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
        items = schema.get("items", {})
        singular = name.removesuffix("s")
        return [
            self.of_schema(items, singular, depth + 1) for _ in range(self.rng.randint(low, max(low, high)))
        ]

    def _string(self, schema: Any, name: str, depth: int) -> str:
        rng, form = self.rng, schema.get("format")
        if form == "uuid":
            ids = self.pool(name)
            return rng.choice(ids) if ids else str(uuid.UUID(int=rng.getrandbits(128)))
        simple = {"ipv4": ADDRESSES[:1], "ipv6": ["fd00:77::5"], "cidr": CIDRS[:3], "date-time": TIMES[:2],
                  "base64": ["aGVsbG8="], "regex": ["a.*"], "uri": URLS}  # fmt: skip
        if form in simple:
            return str(rng.choice(simple[form]))
        pattern = schema.get("pattern")
        value = str(self.by_name(name))
        if pattern and not re.search(pattern, value):
            value = self._matching(pattern, name)
        low = schema.get("minLength", 0)
        return (value + "x" * low)[: max(low, min(len(value), schema.get("maxLength", 255)))]

    def _matching(self, pattern: str, name: str) -> str:
        candidates = [*self.pool(name), self.word(), "VCPU", "CUSTOM_X", "1", "a:b", "10", "X" * 20,
                      str(uuid.UUID(int=self.rng.getrandbits(128)))]  # fmt: skip
        fitting = [c for c in candidates if re.search(pattern, c)]
        return self.rng.choice(fitting or candidates)

    def _integer(self, schema: Any, name: str, depth: int) -> int:
        low = int(schema.get("minimum", 0))
        high = int(schema.get("maximum", low + 100))
        return self.rng.choice([low, high, min(low + 1, high), self.rng.randint(low, min(high, low + 1000))])

    _number = _integer

    def _boolean(self, schema: Any, name: str, depth: int) -> bool:
        return self.rng.random() < 0.5

    def _null(self, schema: Any, name: str, depth: int) -> None:
        return None

    def accepted_by(self, validate: Callable[[Any], Any], name: str) -> Any:
        """A value that a validator lets pass, found by asking it."""
        rng = self.rng
        guesses = [self.by_name(name), self.word(), True, rng.choice([0, 1, 4, 6, 80, 1500]), rng.choice(ADDRESSES),
                   rng.choice(CIDRS), None, [], {}, [self.by_name(name.removesuffix("s"))], rng.choice(PLAIN),
                   f"fa:16:3e:00:00:{rng.randrange(256):02x}", "ingress", "IPv4", "access_as_shared", "network",
                   [{"start": "10.77.1.20", "end": "10.77.1.30"}], [{"ip_address": "10.77.1.9"}],
                   [{"destination": "10.9.0.0/16", "nexthop": "10.77.1.1"}], {"a": 1}]  # fmt: skip
        order = [guesses[0], *rng.sample(guesses, len(guesses))]
        for guess in order:
            try:
                validate(guess)
            except ValueError:
                continue
            return guess
        return guesses[0]

    # --- breaking

    def broken(self, value: Any) -> Any:
        """The same with something of it changed, dropped, added or doubled."""
        rng = self.rng
        if isinstance(value, dict) and value and rng.random() < 0.9:
            made = dict(value)
            key = rng.choice(list(made))
            roll = rng.random()
            if roll < 0.65:
                made[key] = self.broken(made[key])
            elif roll < 0.75:
                del made[key]
            elif roll < 0.9:
                made[rng.choice([*TEXTS[:14], "id", "project_id", "status", self.word()])] = self.wrong()
            else:
                made[key] = self.wrong()
            return made
        if isinstance(value, list) and value and rng.random() < 0.8:
            copied = list(value)
            index = rng.randrange(len(copied))
            copied[index] = self.broken(copied[index])
            return copied * rng.choice([1, 1, 2])
        return self.wrong()
