"""The cloud that is shot at: somebody of each kind, something of each kind, and the ids of all of it."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fuzz.samples import EVERY
from fuzz.wire import Answer, Sent, Wire

KEEP = 60
"""Ids of one kind that are remembered; the newest push out the oldest."""
ALIASES = {
    "imageref": "image", "image_uuid": "image", "flavorref": "flavor", "server": "server", "instance": "server",
    "device": "server", "net": "network", "floating_network": "network", "tenant": "project", "target_tenant": "project",
    "target": "project",
    "member": "project", "trustee_user": "user", "trustor_user": "user", "owner": "project", "volume_backup": "backup",
    "source_vol": "volume", "prior_role": "role", "implied_role": "role", "groups": "security_group",
    "remote_group": "security_group", "sg": "security_group", "vip_port": "port", "key_name": "keypair", "key": "keypair",
    "provider": "resource_provider", "parent_provider": "resource_provider", "root_provider": "resource_provider",
    "in_tree": "resource_provider", "attachment": "attachment", "internal_port": "port",
    "volume_type": "volume_type", "type": "volume_type", "new_type": "volume_type", "address_scope": "address_scope",
    "parent": "project", "object": "network", "host": "host", "hostname": "host", "hypervisor": "host",
    "availability_zone": "zone", "zone": "zone", "resource_class": "resource_class", "name": "name", "alias": "alias",
    "encryption": "volume_type", "service": "service", "floatingip": "floatingip", "routers": "router",
    "security-group": "security_group", "quota": "project", "quota_clas": "quota_class",
}  # fmt: skip
KIND = re.compile(r"<([a-z_]+)>")
NEWEST = "compute latest, volume latest, placement latest"
SHAPES = ("_id", "_uuid", "_ref", "ref", "_ids", "uuid", "id")


def kind_of(name: str) -> str:
    """Which kind of thing a property or a path's parameter names."""
    plain = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower().replace("-", "_").removeprefix("os_")
    if plain.endswith("ies"):
        plain = plain[:-3] + "y"
    for tail in SHAPES:
        if plain.endswith(tail) and len(plain) > len(tail):
            plain = plain[: -len(tail)].rstrip("_")
            break
    plain = ALIASES.get(plain, plain)
    singular = plain[:-1] if plain.endswith("s") and not plain.endswith("ss") else plain
    return ALIASES.get(singular, singular)


@dataclass
class World:
    """Tokens by who holds them, ids by kind."""

    port: int
    passwords: dict[str, str]
    tokens: dict[str, str] = field(default_factory=dict)
    ids: dict[str, list[str]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    examples: list[tuple[str, str, Any]] = field(default_factory=list)
    """Bodies that were meant to be right, with method and path."""
    precious: set[str] = field(default_factory=set)
    """Without these the admin cannot log in."""

    def __post_init__(self) -> None:
        self.wire = Wire(self.port)
        self.ids |= {
            "host": ["host1", "host1@local#local"], "zone": ["nova"], "quota_class": ["default"], "tag": ["blue"],
            "resource_class": ["VCPU", "MEMORY_MB", "CUSTOM_GOLD"], "trait": ["CUSTOM_FAST", "HW_CPU_X86_AVX"],
            "name": ["CUSTOM_GOLD", "CUSTOM_FAST", "VCPU", "blue"], "alias": ["router", "trunk"],
            "namespace": ["OS::Fuzz"], "access": ["x"], "option": ["url"], "schema": ["image"],
        }  # fmt: skip

    def pool(self, name: str, before: str = "") -> Sequence[str]:
        """Ids that a property or parameter of this name may mean; ``before`` is the URL's segment in front of it."""
        if name in ("id", "uuid") and before:
            name = before
        return self.ids.get(kind_of(name), ())

    def harvest(self, value: Any, name: str = "") -> None:
        """Remember the ids of all that an answer shows."""
        if isinstance(value, list):
            for item in value[:20]:
                self.harvest(item, name)
        elif isinstance(value, dict):
            ident = value.get("id", value.get("uuid"))
            if name and isinstance(ident, str) and ident:
                self.remember(kind_of(name), ident)
            if kind_of(name) in ("keypair", "namespace", "property") and isinstance(value.get("name"), str):
                self.remember(kind_of(name), value["name"])
            for key, inner in list(value.items())[:40]:
                if isinstance(inner, dict | list):
                    self.harvest(inner, key)

    def remember(self, kind: str, ident: str) -> None:
        known = self.ids.setdefault(kind, [])
        if ident not in known and len(ident) < 200:
            known.append(ident)
            if len(known) > KEEP:
                known.pop(KEEP // 3)

    # --- requests that are right

    def right(self, method: str, path: str, body: Any) -> Answer:
        """A sample, with ids in the place of kinds, in the newest words of its service."""
        answer = self.call(method, self.filled(path), self.filled(body), openstack_api_version=NEWEST)
        if body is not None:
            self.examples[-1] = (*self.examples[-1][:2], body)
        return answer

    def filled(self, value: Any) -> Any:
        """``<kind>`` becomes the id that was remembered last."""
        if isinstance(value, dict):
            return {self.filled(key): self.filled(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.filled(inner) for inner in value]
        if isinstance(value, str) and "<" in value:
            return KIND.sub(lambda match: (self.ids.get(match[1]) or ["missing"])[-1], value)
        return value

    def call(self, method: str, path: str, body: Any = None, who: str = "admin", **headers: str) -> Answer:
        """A well-formed request; what it shows is remembered."""
        sent = Sent(method, path.encode(), [(b"X-Auth-Token", self.tokens.get(who, "").encode())])
        sent.headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        if body is not None:
            kind = headers.get("content_type", "application/json")
            sent.headers.append((b"Content-Type", kind.encode()))
            sent.body = body if isinstance(body, bytes) else json.dumps(body).encode()
            if not isinstance(body, bytes):
                self.examples.append((method, path, body))
        answer = self.wire.exchange(sent)
        if answer.status < 300 and answer.body[:1] in (b"{", b"["):
            self.harvest(answer.json())
        elif answer.status >= 400:
            self.refused.append(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
        return answer

    def made(self, path: str, body: dict[str, Any], who: str = "admin", **headers: str) -> str:
        """The id of something new, or a text that is no id."""
        answer = self.call("POST", path, body, who, **headers)
        if answer.status >= 300:
            return "missing"
        inner = (
            next(iter(answer.json().values()))
            if path.startswith(("/v", "/n", "/c", "/id"))
            else answer.json()
        )
        return str(inner.get("id") or inner.get("name") or "missing")

    def login(self, user: str, password: str, scope: dict[str, Any] | None) -> str:
        """A token of somebody of the default domain."""
        name = {"name": user, "domain": {"id": "default"}, "password": password}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": name}}}
        if scope is not None:
            auth["scope"] = scope
        answer = self.call("POST", "/identity/v3/auth/tokens", {"auth": auth}, "nobody")
        return answer.headers.get("x-subject-token", "")

    def settle_in(self) -> None:
        """Everybody and everything."""
        self.people()
        self.network()
        self.rest()
        for method, path, body in EVERY:
            self.right(method, path, body)

    def people(self) -> None:
        """Admin in three scopes, one of each lesser role in ``demo``, and a member of another project."""
        admin = self.passwords["admin"]
        project = {"project": {"name": "admin", "domain": {"id": "default"}}}
        self.tokens["admin"] = self.login("admin", admin, project)
        self.tokens["system"] = self.login("admin", admin, {"system": {"all": True}})
        self.tokens["domain"] = self.login("admin", admin, {"domain": {"id": "default"}})
        self.tokens["unscoped"] = self.login("admin", admin, None)
        roles = self.roles = {
            r["name"]: r["id"] for r in self.call("GET", "/identity/v3/roles").json()["roles"]
        }
        mine = self.made("/identity/v3/projects", {"project": {"name": "fuzzed"}})
        other = self.made("/identity/v3/projects", {"project": {"name": "other"}})
        for name, role, where in (
            ("manager", "manager", mine), ("member", "member", mine), ("reader", "reader", mine),
            ("foreign", "member", other),
        ):  # fmt: skip
            new = {"name": f"fuzz-{name}", "password": "fuzz-password", "domain_id": "default"}
            user = self.made("/identity/v3/users", {"user": new})
            self.call("PUT", f"/identity/v3/projects/{where}/users/{user}/roles/{roles[role]}")
            self.tokens[name] = self.login(f"fuzz-{name}", "fuzz-password", {"project": {"id": where}})
        self.call("PUT", f"/identity/v3/domains/default/users/{user}/roles/{roles['admin']}")
        gone = self.login("fuzz-member", "fuzz-password", {"project": {"id": mine}})
        self.call("DELETE", "/identity/v3/auth/tokens", who="admin", x_subject_token=gone)
        self.tokens["revoked"] = gone
        self.mine = mine
        token = self.call("GET", "/identity/v3/auth/tokens", x_subject_token=self.tokens["admin"]).json()[
            "token"
        ]
        self.precious |= {token["user"]["id"], token["project"]["id"], "default"}
        self.precious |= {role["id"] for role in token["roles"]}
        self._quotas([mine, token["project"]["id"]])

    def role(self, name: str) -> str:
        return str(self.roles[name])

    def _quotas(self, projects: list[str]) -> None:
        for project in projects:
            shown = self.call("GET", f"/network/v2.0/quotas/{project}").json()["quota"]
            self.call("PUT", f"/network/v2.0/quotas/{project}", {"quota": dict.fromkeys(_numbers(shown), -1)})
            for path in (f"/compute/v2.1/os-quota-sets/{project}", f"/volume/v3/os-quota-sets/{project}"):
                shown = self.call("GET", path).json()["quota_set"]
                self.call("PUT", path, {"quota_set": dict.fromkeys(_numbers(shown), -1)})

    def network(self) -> None:
        """Networks of the admin and of the member, a router between them, and what hangs on ports."""
        for who in ("admin", "member"):
            net = self.made("/network/v2.0/networks", {"network": {"name": who}}, who)
            for cidr, version in (("10.77.1.0/24", 4), ("fd00:77::/64", 6)):
                new = {"network_id": net, "cidr": cidr, "ip_version": version}
                subnet = self.made("/network/v2.0/subnets", {"subnet": new}, who)
                if version == 4:
                    first = subnet
            router = self.made("/network/v2.0/routers", {"router": {"name": who}}, who)
            self.call(
                "PUT", f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": first}, who
            )
            group = self.made("/network/v2.0/security-groups", {"security_group": {"name": who}}, who)
            rule = {"security_group_id": group, "direction": "ingress", "protocol": "icmp"}
            self.made("/network/v2.0/security-group-rules", {"security_group_rule": rule}, who)
            for name in ("a", "b", "c"):
                port = self.made("/network/v2.0/ports", {"port": {"network_id": net, "name": name}}, who)
            self.made("/network/v2.0/trunks", {"trunk": {"port_id": port}}, who)
            self.made("/network/v2.0/address-scopes", {"address_scope": {"name": who, "ip_version": 4}}, who)
            pool = {"name": who, "prefixes": ["10.80.0.0/16"], "default_prefixlen": 24}
            self.made("/network/v2.0/subnetpools", {"subnetpool": pool}, who)
            self.made("/network/v2.0/address-groups", {"address_group": {"addresses": ["10.0.0.0/8"]}}, who)
        external = {"name": "public", "router:external": True, "provider:network_type": "flat",
                    "provider:physical_network": "public"}  # fmt: skip
        public = self.made("/network/v2.0/networks", {"network": external})
        new = {"network_id": public, "cidr": "172.31.0.0/24", "ip_version": 4}
        self.made("/network/v2.0/subnets", {"subnet": new})
        gateway = {"external_gateway_info": {"network_id": public}}
        self.call("PUT", f"/network/v2.0/routers/{router}", {"router": gateway}, "member")
        for _ in range(3):
            self.made("/network/v2.0/floatingips", {"floatingip": {"floating_network_id": public}}, "member")
        rbac = {
            "object_type": "network",
            "object_id": net,
            "action": "access_as_shared",
            "target_tenant": self.mine,
        }
        self.made("/network/v2.0/rbac-policies", {"rbac_policy": rbac})

    def rest(self) -> None:
        """Images, servers, volumes, and what the other services keep."""
        latest, v3 = {"openstack_api_version": "compute 2.95"}, {"openstack_api_version": "volume 3.70"}
        kinds = {"disk_format": "raw", "container_format": "bare"}
        for who in ("admin", "member"):
            image = self.made("/image/v2/images", {"name": who, **kinds}, who)
            file = f"/image/v2/images/{image}/file"
            self.call("PUT", file, b"\0" * 4096, who, content_type="application/octet-stream")
            self.remember("image", image)
            flavor = {"name": f"f-{who}", "ram": 64, "vcpus": 1, "disk": 1, "id": f"f-{who}"}
            self.made("/compute/v2.1/flavors", {"flavor": flavor})
            self.made("/compute/v2.1/os-keypairs", {"keypair": {"name": f"key-{who}"}}, who)
            for number in range(3):
                server = {
                    "name": f"s{number}",
                    "flavorRef": f"f-{who}",
                    "imageRef": image,
                    "networks": "auto",
                }
                if number:
                    server["networks"] = "none"
                self.made("/compute/v2.1/servers", {"server": server}, who, **latest)
            group = {"name": who, "policy": "anti-affinity"}
            self.made("/compute/v2.1/os-server-groups", {"server_group": group}, who, **latest)
            for _ in range(3):
                volume = self.made("/volume/v3/volumes", {"volume": {"size": 1, "name": who}}, who, **v3)
            self._until_available(volume)
            self.made("/volume/v3/snapshots", {"snapshot": {"volume_id": volume, "force": True}}, who, **v3)
            self.made("/volume/v3/backups", {"backup": {"volume_id": volume}}, who, **v3)
        self.made("/compute/v2.1/os-aggregates", {"aggregate": {"name": "a", "availability_zone": "nova"}})
        self.made("/volume/v3/types", {"volume_type": {"name": "fuzz-type"}})
        self.made("/volume/v3/qos-specs", {"qos_specs": {"name": "fuzz-qos"}})
        self.made("/volume/v3/group_types", {"group_type": {"name": "fuzz-group-type"}}, **v3)
        self.made("/image/v2/metadefs/namespaces", {"namespace": "OS::Fuzz"})
        self.call("PUT", "/placement/resource_classes/CUSTOM_GOLD", openstack_api_version="placement 1.39")
        self.call("PUT", "/placement/traits/CUSTOM_FAST", openstack_api_version="placement 1.39")
        self.call(
            "POST", "/placement/resource_providers", {"name": "fuzz"}, openstack_api_version="placement 1.39"
        )
        blob = base64.b64encode(b"secret").decode()
        for path, body in (
            ("domains", {"domain": {"name": "fuzz"}}), ("groups", {"group": {"name": "fuzz"}}),
            ("roles", {"role": {"name": "fuzz"}}), ("regions", {"region": {"id": "fuzz"}}),
            ("services", {"service": {"type": "fuzz"}}), ("policies", {"policy": {"blob": "{}", "type": "x/y"}}),
            ("credentials", {"credential": {"type": "ec2", "blob": blob, "project_id": self.mine,
             "user_id": self.ids["user"][-1]}}),
            ("OS-OAUTH1/consumers", {"consumer": {}}),
        ):  # fmt: skip
            self.made(f"/identity/v3/{path}", body)
        for path in ("users", "projects", "domains", "groups", "endpoints", "services", "regions"):
            self.call("GET", f"/identity/v3/{path}")
        self.call("GET", "/placement/resource_providers")
        self.call("GET", "/network/v2.0/agents")
        self.call("GET", "/compute/v2.1/os-services")
        self.call("GET", "/compute/v2.1/os-hypervisors")

    def _until_available(self, volume: str, patience_s: float = 10.0) -> None:
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            answer = self.call("GET", f"/volume/v3/volumes/{volume}")
            if answer.status != 200 or answer.json()["volume"]["status"] != "creating":
                return


def _numbers(shown: dict[str, Any]) -> list[str]:
    return [name for name, value in shown.items() if isinstance(value, int)]
