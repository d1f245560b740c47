"""Requests: a route, and all of what can be wrong about calling it."""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import quote, urlencode

from fuzz.declared import PARAMETER, Target
from fuzz.values import TEXTS, Maker, surrogate_safe
from fuzz.wire import Sent
from fuzz.world import World
from virga.api.resource import UNSET
from virga.lib.ids import is_uuid_like

CONTENT_TYPES = ["text/plain", "application/xml", "", "application/json; charset=utf-16", "multipart/form-data",
                 "application/octet-stream", "application/openstack-images-v2.1-json-patch", "\xff", "json"]  # fmt: skip
VERSIONS = ["2.1", "2.999", "3.0", "1.0", "0.0", "-1.0", "latest", "LATEST", "2", "2.1.1", "", "a.b", "2.01",
            "99999999999999999999.1", "2.²", "\xff", "2.1,2.2", "null"]  # fmt: skip
RAW = [b"{", b"}", b"[", b"nul", b"\x00", b"\xff\xfe{", b'{"a": "\xff"}', b'{"a": "\\ud800"}', b"[" * 100_000, b'""',
       b'{"a":' * 5000, b"1e999", b"1" * 5000, b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}", b"null", b"[]",
       b"0", b'"x"', b" ", b"<xml/>", b"a=b&c=d", b"{}", b"[{}]", b"[null]", b"true"]  # fmt: skip
BY_HAND: dict[str, Any] = {
    "add_router_interface": {"subnet_id": "<subnet>"}, "remove_router_interface": {"port_id": "<port>"},
    "add_extraroutes": {"router": {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.77.1.1"}]}},
    "remove_extraroutes": {"router": {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.77.1.1"}]}},
    "add_subports": {"sub_ports": [{"port_id": "<port>", "segmentation_type": "vlan", "segmentation_id": 7}]},
    "remove_subports": {"sub_ports": [{"port_id": "<port>"}]}, "add_prefixes": {"prefixes": ["10.81.0.0/16"]},
    "remove_prefixes": {"prefixes": ["10.81.0.0/16"]}, "add_addresses": {"address_group": {"addresses": ["10.1.0.0/16"]}},
    "remove_addresses": {"address_group": {"addresses": ["10.1.0.0/16"]}}, "tags": {"tags": ["red", "blue"]},
    "dhcp-networks": {"network_id": "<network>"}, "l3-routers": {"router_id": "<router>"},
    "import": {"method": {"name": "glance-direct"}}, "members": {"member": "<project>"},
    "tasks": {"type": "import", "input": {"import_from": "file:///etc/passwd", "import_from_format": "raw",
                                          "image_properties": {}}},
    "images": {"name": "x", "disk_format": "qcow2", "container_format": "bare", "visibility": "private", "min_disk": 0},
    "quotas": {"quota": {"network": 5, "port": -1}},
}  # fmt: skip
PATCHES = [{"op": "replace", "path": "/name", "value": "x"}, {"op": "add", "path": "/fuzz", "value": "y"},
           {"op": "remove", "path": "/fuzz"}, {"op": "replace", "path": "/tags", "value": ["a"]},
           {"op": "replace", "path": "/min_disk", "value": 4}, {"op": "replace", "path": "/visibility", "value": "public"},
           {"op": "add", "path": "/locations/-", "value": {"url": "file:///etc/passwd", "metadata": {}}}]  # fmt: skip
WHO = {"admin": 60, "member": 14, "reader": 4, "manager": 4, "foreign": 5, "system": 3, "domain": 2, "unscoped": 1,
       "nobody": 2, "forged": 2, "expired": 1, "revoked": 2}  # fmt: skip


class Gun:
    """Makes requests out of targets."""

    def __init__(self, rng: random.Random, world: World, names: list[str]) -> None:
        self.rng, self.world, self.names = rng, world, names
        self.make = Maker(rng, world.pool)
        self._changes = False

    def shot(self, target: Target, clean: bool = False) -> tuple[Sent, Any]:
        """A request to the route, right in all things if ``clean``; and its body before it was encoded."""
        rng, route = self.rng, target.route
        self._changes = route.method != "GET"
        sent = Sent(route.method, self._path(target, clean))
        if not clean and rng.random() < 0.02:
            sent.method = rng.choice(
                ["HEAD", "OPTIONS", "PATCH", "PUT", "DELETE", "TRACE", "POST", "GET", "FOO"]
            )
        query = self._query(target, clean)
        if query:
            sent.target += b"?" + query
        self._headers(sent, target, clean)
        body = None
        if target.takes_body or (not clean and rng.random() < 0.02):
            body = self.body(target)
            if not clean and rng.random() < 0.6:
                for _ in range(rng.choice([1, 1, 1, 2, 5])):
                    body = self.make.broken(body)
            sent.body = self._encoded(target, body, clean)
        return sent, body

    # --- where

    def _path(self, target: Target, clean: bool) -> bytes:
        path = target.route.path
        for name, before in target.parameters():
            path = PARAMETER.sub(lambda _, n=name, b=before: self._parameter(n, b, clean), path, count=1)
        if not clean and self.rng.random() < 0.02:
            path = self.rng.choice(
                [path + "/", "/" + path, path + "/x", path.upper(), path + "%2e", path + ".json"]
            )
        encoded = (target.service.prefix + path).encode("utf-8", "surrogatepass")
        if not clean and self.rng.random() < 0.01:
            encoded += self.rng.choice(
                [b"%ff", b"%00", b"%", b"%zz", b"%c0%af", b"\xff", b"/%2e%2e/", b"%f0%9f"]
            )
        return encoded

    def _parameter(self, name: str, before: str, clean: bool) -> str:
        rng = self.rng
        known = self.world.pool(name, before)
        if self._changes and rng.random() < 0.97:
            # Who shoots its own foot is soon nobody; that has its place, but a small one.
            known = [ident for ident in known if ident not in self.world.precious]
        if known and (clean or rng.random() < 0.86):
            return quote(rng.choice(known), safe="")
        if clean or rng.random() < 0.5:
            return quote(str(self.make.by_name(name)), safe="") or "x"
        return quote(rng.choice(TEXTS).encode("utf-8", "surrogatepass")[:4000], safe="") or "-"

    def _query(self, target: Target, clean: bool) -> bytes:
        rng = self.rng
        if clean or rng.random() > (0.55 if target.route.method == "GET" else 0.06):
            return b""
        if rng.random() < 0.04:
            return rng.choice(
                [b"%ff=%fe", b"a=%00", b"&&&", b"=", b"limit", b"\xff=\xff", b"a" * 9000, b"%", b"a[]=1"]
            )
        pairs = [self._pair(target) for _ in range(rng.choice([1, 1, 2, 3, 6]))]
        return urlencode(pairs, errors="surrogatepass").encode()

    def _pair(self, target: Target) -> tuple[str, Any]:
        rng = self.rng
        names = [
            "limit",
            "marker",
            "sort_key",
            "sort_dir",
            "sort",
            "fields",
            "offset",
            "name",
            "id",
            "all_tenants",
        ]
        for schema in target.queries:
            names += list(schema.get("properties", {})) * 2
        if target.resource:
            names += list(target.resource.fields)
        name = rng.choice(names if rng.random() < 0.75 else self.names)
        if rng.random() < 0.03:
            name += rng.choice(["-any", "[]", "__gt", "\x00", "%", ":x"])
        roll = rng.random()
        if "sort" in name and roll < 0.6:
            return name, rng.choice(
                ["asc", "desc", "id", "name", "created_at", "id:asc,name:desc", "name:up", ",", ":"]
            )
        if roll < 0.25:
            return name, str(self.make.wrong())[:3000]
        if roll < 0.4:
            return name, rng.choice(
                ["in:a,b", "neq:x", "gt:2030-01-01T00:00:00Z", "like:x", "true", "0", "5", "-1", "10"]
            )
        return name, self.make.by_name(name)

    # --- who, and in which words

    def _headers(self, sent: Sent, target: Target, clean: bool) -> None:
        rng, add = self.rng, sent.headers.append
        who = "admin" if clean else rng.choices(list(WHO), list(WHO.values()))[0]
        token = self.token(who)
        if token:
            add((b"X-Auth-Token", token))
        if target.takes_body:
            kind = "application/json"
            if target.service.name == "image" and sent.method == "PATCH":
                kind = CONTENT_TYPES[6]
            if target.route.streams:
                kind = "application/octet-stream"
            if not clean and rng.random() < 0.06:
                kind = rng.choice(CONTENT_TYPES)
            add((b"Content-Type", kind.encode("latin-1")))
        if target.service.microversions is not None:
            self._version(sent, target, clean)
        if "/auth/tokens" in target.route.path:
            add((b"X-Subject-Token", self.token(rng.choice(["member", "revoked", "forged", "reader"]))))
        if not clean:
            self._odd_headers(add)

    def _version(self, sent: Sent, target: Target, clean: bool) -> None:
        rng, api = self.rng, target.service.microversions
        assert api is not None
        low, high = target.route.min_version or api.minimum, target.route.max_version or api.maximum
        text = f"{high[0]}.{rng.choice([high[1], low[1], rng.randint(low[1], high[1])])}"
        if clean:
            text = f"{high[0]}.{high[1]}"
        elif rng.random() < 0.06:
            text = rng.choice(VERSIONS)
        kind = (
            api.service_type
            if clean or rng.random() < 0.97
            else rng.choice(["", "compute compute", "x", "\xff"])
        )
        if not clean and api.legacy_header and rng.random() < 0.1:
            sent.headers.append((api.legacy_header.encode(), text.encode("utf-8")))
        elif clean or rng.random() < 0.95:
            sent.headers.append((b"OpenStack-API-Version", f"{kind} {text}".encode()))

    def _odd_headers(self, add: Any) -> None:
        rng = self.rng
        if rng.random() < 0.05:
            value = rng.choice(["revision_number=0", "revision_number=1", "revision_number=", "*", '"x"', "\xff",
                                "revision_number=99999999999999999999", "revision_number=²"])  # fmt: skip
            add((b"If-Match", value.encode()))
        if rng.random() < 0.03:
            add(
                (
                    b"Range",
                    rng.choice([b"bytes=0-1", b"bytes=9-1", b"bytes=-", b"bytes=0-1,3-4", b"x", b"bytes=-0"]),
                )
            )
        if rng.random() < 0.03:
            add((b"Accept", rng.choice([b"text/html", b"*/*", b"", b"application/xml", b"\xff", b"a/b;q=x"])))
        if rng.random() < 0.02:
            add(rng.choice([(b"X-OpenStack-Request-Id", b"x" * 300), (b"X-Forwarded-Proto", b"\xff"),
                            (b"X-Image-Meta-Store", b"x"), (b"Content-Range", b"bytes 0-1/2"), (b"X-Roles", b"admin"),
                            (b"Accept-Encoding", b"gzip;q=2"), (b"X-Service-Token", b"x"), (b"Cookie", b"\x80=1"),
                            (b"X-Is-Admin-Project", b"True"), (b"Accept-Language", b"\xff")]))  # fmt: skip

    def token(self, who: str) -> bytes:
        """A token of somebody, or something that only looks like one."""
        rng = self.rng
        if who != "forged":
            return self.world.tokens.get(who, "").encode()
        real = bytearray(self.world.tokens["admin"].encode())
        real[rng.randrange(len(real))] ^= 1 << rng.randrange(5)
        made = [
            bytes(b for b in real if b > 32 and b != 127),
            b"x",
            b"gAAAA" + b"A" * 180,
            b"\xff\xfe",
            b"A" * 9000,
            b"=",
        ]
        return rng.choice(made)

    # --- what

    def body(self, target: Target) -> Any:
        """A body of the form that the route declares."""
        rng = self.rng
        if target.good and rng.random() < 0.5:
            return self._refreshed(self.world.filled(rng.choice(target.good)))
        if target.bodies:
            return self.make.of_schema(rng.choice(target.bodies))
        last = target.route.path.rpartition("/")[2]
        if (
            target.resource
            and target.route.method in ("POST", "PUT")
            and (last == "{id}" or "tags" not in target.route.path)
        ):
            return self._resource_body(target)
        if target.route.action:
            value = rng.choice([None, {}, {"type": "SOFT"}, {self.make.word(): 1}, self.make.wrong()])
            return {target.route.action: value}
        if target.service.name == "image" and target.route.method == "PATCH":
            return rng.sample(PATCHES, rng.randint(1, 3))
        for key in (last, *reversed(target.route.path.split("/"))):
            if key in BY_HAND:
                return self._filled(BY_HAND[key])
        return {self.make.word(): self.make.by_name("name")}

    def _refreshed(self, value: Any, name: str = "") -> Any:
        """The same with other ids of the same kinds, here and there."""
        rng = self.rng
        if isinstance(value, dict):
            return {k: self._refreshed(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [self._refreshed(v, name.removesuffix("s")) for v in value]
        if isinstance(value, str):
            ids = self.world.pool(name)
            if ids and (value in ids or is_uuid_like(value)) and rng.random() < 0.7:
                return rng.choice(ids)
            if name == "name" and rng.random() < 0.7:
                return self.make.word()
        return value

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self._filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._filled(v) for v in value]
        if isinstance(value, str) and value.startswith("<"):
            return self.make.by_name(value.strip("<>") + "_id")
        return value

    def _resource_body(self, target: Target) -> Any:
        rng, resource = self.rng, target.resource
        assert resource is not None
        update = target.route.method == "PUT"
        item = {}
        for attribute in resource.attributes:
            usable = attribute.put if update else attribute.post
            needed = not update and repr(attribute.default) == "REQUIRED"
            if usable and (needed or rng.random() < (0.15 if attribute.default is UNSET else 0.25)):
                item[attribute.name] = self.make.accepted_by(attribute.validate, attribute.name)
        if not update and rng.random() < 0.06:
            return {resource.collection: [item] * rng.choice([1, 2, 5])}
        return {resource.key: item}

    def _encoded(self, target: Target, body: Any, clean: bool) -> bytes:
        rng = self.rng
        if target.route.streams:
            return rng.choice(
                [b"", b"\0" * 512, b"QFI\xfb" + b"\0" * 600, rng.randbytes(700), b"KDMV" + b"\1" * 700]
            )
        if not clean and rng.random() < 0.08:
            return rng.choice(RAW)
        encoded = surrogate_safe(body)
        if not clean and rng.random() < 0.03:
            cut = rng.randrange(len(encoded) + 1)
            encoded = encoded[:cut] + rng.choice([b"", b"\x00", b"\xff", b"\\u", b","]) + encoded[cut + 1 :]
        return encoded
