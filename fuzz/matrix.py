"""Every route asked by everybody: who is let in and who is turned away, each against the same untouched cloud.

The transactions of the requests are rolled back, so that what one caller deleted is there for the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz.declared import PARAMETER, Target
from fuzz.run import Round
from fuzz.values import surrogate_safe
from fuzz.wire import Answer, Sent
from fuzz.world import NEWEST, World
from virga.api.routing import PUBLIC

CALLERS = {
    "r": "reader",
    "m": "member",
    "g": "manager",
    "a": "admin",
    "f": "foreign",
    "s": "system",
    "d": "domain",
}
Key = tuple[str, str, str]


class _RolledBack(Exception):
    """Ends a transaction that went well and is not to be kept."""


@contextmanager
def nothing_stays(database: Any) -> Iterator[None]:
    """All writes are undone at their end, and announce nothing."""
    attempt_one = database._try

    def undone(work: Any, attempt: Any) -> None:
        function, results = work.function, []

        def run(tx: Any) -> Any:
            results.append(function(tx))
            raise _RolledBack

        work.function = run
        attempt_one(work, attempt)
        if isinstance(work.error, _RolledBack):
            work.error, work.result, work.tx = None, results[0], None

    database._try = undone
    try:
        yield
    finally:
        database._try = attempt_one


def normal(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


def expected(path: Path) -> dict[Key, str]:
    """The table: service, method and path to the letters of who is let in."""
    found = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith("#"):
            service, method, url, who, _rule = line.split("\t")
            found[(service, method, url)] = who.replace("-", "")
    return found


def key_of(target: Target) -> Key:
    action = f" ({target.route.action})" if target.route.action else ""
    return target.service.name, target.route.method, normal(target.route.path) + action


@dataclass
class Outcome:
    """What was asked and what of it differed."""

    asked: int = 0
    open_questions: int = 0
    """Refusals for another reason than who asked (the request is wrong for everybody), so that nothing was learned."""
    routes: int = 0
    deviations: list[str] = field(default_factory=list)


class Matrix:
    """Asks all routes of one cloud."""

    def __init__(self, round_: Round, world: World, table: dict[Key, str]) -> None:
        self.round, self.world, self.table = round_, world, table
        self.outcome = Outcome()

    def run(self) -> Outcome:
        seen: set[Key] = set()
        for target in self.round.targets:
            key = key_of(target)
            if key in seen:
                continue
            seen.add(key)
            self.outcome.routes += 1
            sent = self._request(target)
            self._nobody(target, sent)
            if key in self.table:
                self._everybody(target, sent, self.table[key])
        return self.outcome

    def _request(self, target: Target) -> Sent:
        """The best request for this route about a thing of the project."""
        sent, _ = self.round.gun.shot(target, clean=True)
        path = target.route.path
        for name, before in target.parameters():
            known = self.world.pool(name, before)
            path = PARAMETER.sub(lambda _, value=(known or ["missing"])[-1]: value, path, count=1)
        sent.target = (target.service.prefix + path).encode()
        if target.resource and target.route.method == "PUT" and path.count("/") == 3:
            sent.body = surrogate_safe({target.resource.key: {"name": "n"}})
        elif target.good:
            sent.body = surrogate_safe(self.world.filled(target.good[-1]))
        sent.headers = [h for h in sent.headers if h[0] != b"X-Auth-Token" and h[0] != b"X-Subject-Token"]
        sent.headers.append((b"X-Subject-Token", self.world.tokens["subject"].encode()))
        if target.route.max_version is None:
            sent.headers = [h for h in sent.headers if h[0] != b"OpenStack-API-Version"]
            sent.headers.append((b"OpenStack-API-Version", NEWEST.encode()))
        return sent

    def _ask(self, sent: Sent, who: str) -> Answer:
        token = self.world.tokens.get(who, "").encode()
        headers = [*sent.headers, (b"X-Auth-Token", token)] if token else sent.headers
        return self.round.wires[0].exchange(Sent(sent.method, sent.target, headers, sent.body))

    def _statuses(self, target: Target, sent: Sent) -> dict[str, int]:
        """Neutron turns nobody away from a list: it shows what they may see. Less than all of it counts as 403 here."""
        answers = {letter: self._ask(sent, who) for letter, who in CALLERS.items()}
        found = {letter: answer.status for letter, answer in answers.items()}
        if target.service.name == "network" and sent.method == "GET" and found["a"] == 200:
            sizes = {
                k: len(a.body) for k, a in answers.items() if a.status == 200 and a.body[-4:].endswith(b"[]}")
            }
            # Where even the admin sees nothing, nothing is learned.
            found |= dict.fromkeys(sizes, 404 if "a" in sizes else 403)
        return found

    def _nobody(self, target: Target, sent: Sent) -> None:
        self.outcome.asked += 2
        for who in ("", "revoked"):
            status = self._ask(sent, who).status
            if target.route.access != PUBLIC and status != 401:
                self._differs(target, who or "nobody", status, "401")
            elif target.route.access == PUBLIC and status in (403, 404):
                self._differs(target, who or "nobody", status, "an answer")

    def _everybody(self, target: Target, sent: Sent, let_in: str) -> None:
        found = self._statuses(target, sent)
        admin = found["a"]
        for letter, status in found.items():
            self.outcome.asked += 1
            inside = letter in let_in
            if letter == "a" and status == 403 and inside:
                # Refused for what it is, not for who asks: a role that cannot be deleted, an option that is none.
                self.outcome.open_questions += 1
            elif inside and _refused(status, admin) and not self._names_others(target, letter):
                self._differs(target, CALLERS[letter], status, f"let in (admin: {admin})")
            elif not inside and status not in (401, 403, 404):
                if admin in (400, 404, 405, 406, 409, 410, 501):
                    self.outcome.open_questions += 1
                else:
                    self._differs(target, CALLERS[letter], status, f"turned away (admin: {admin})")

    def _names_others(self, target: Target, letter: str) -> bool:
        """What a member of another project sends names our project's things, which are not there for them."""
        return letter == "f" and (target.route.method == "POST" or target.service.name == "network")

    def _differs(self, target: Target, who: str, status: int, wanted: str) -> None:
        self.outcome.deviations.append(f"{' '.join(key_of(target))}: {who} got {status}, not {wanted}")


def _refused(status: int, admin: int) -> bool:
    return status != admin and (status in (401, 403) or (status == 404 and admin not in (403, 404)))


def prepare(world: World) -> None:
    """What a rule may be about is the only one of its kind that is known: things of the member's project."""
    people(world)
    for kind, path, body in MINE:
        made = world.made(path, world.filled(body), "member", openstack_api_version=NEWEST)
        world.ids[kind] = [made]
    file = f"/image/v2/images/{world.ids['image'][0]}/file"
    world.call("PUT", file, b"\0" * 512, "member", content_type="application/octet-stream")
    world._until_available(world.ids["volume"][0])
    world.ids |= {"flavor": ["f-member"], "quota_set": [world.mine]}
    for kind, path, body in (*LATER, *OTHERS):
        who = "member" if (kind, path, body) in LATER else "admin"
        world.ids[kind] = [world.made(path, world.filled(body), who, openstack_api_version=NEWEST)]


def people(world: World) -> None:
    """A user who is none of the callers, and an admin of the domain."""
    victim = {"user": {"name": "victim", "password": "fuzz-password", "domain_id": "default"}}
    user = world.made("/identity/v3/users", victim)
    world.call("PUT", f"/identity/v3/projects/{world.mine}/users/{user}/roles/{world.role('member')}")
    head = {"user": {"name": "head", "password": "fuzz-password", "domain_id": "default"}}
    other = world.made("/identity/v3/users", head)
    world.call("PUT", f"/identity/v3/domains/default/users/{other}/roles/{world.role('admin')}")
    world.tokens["domain"] = world.login("head", "fuzz-password", {"domain": {"id": "default"}})
    world.tokens["subject"] = world.login("victim", "fuzz-password", {"project": {"id": world.mine}})
    world.ids |= {
        "user": [user],
        "project": [world.mine],
        "domain": ["default"],
        "role": [world.role("member")],
    }


_N, _V, _C, _I = "/network/v2.0/", "/volume/v3/", "/compute/v2.1/", "/image/v2/"
MINE: tuple[tuple[str, str, Any], ...] = (
    ("network", _N + "networks", {"network": {"name": "mine"}}),
    ("subnet", _N + "subnets", {"subnet": {"network_id": "<network>", "ip_version": 4, "cidr": "10.66.0.0/24"}}),
    ("port", _N + "ports", {"port": {"network_id": "<network>"}}),
    ("router", _N + "routers", {"router": {"name": "mine"}}),
    ("security_group", _N + "security-groups", {"security_group": {"name": "mine"}}),
    ("security_group_rule", _N + "security-group-rules", {"security_group_rule": {
        "security_group_id": "<security_group>", "direction": "ingress", "protocol": "udp"}}),
    ("address_scope", _N + "address-scopes", {"address_scope": {"name": "mine", "ip_version": 4}}),
    ("subnetpool", _N + "subnetpools", {"subnetpool": {"name": "mine", "prefixes": ["10.88.0.0/16"]}}),
    ("address_group", _N + "address-groups", {"address_group": {"addresses": ["10.2.0.0/16"]}}),
    ("trunk", _N + "trunks", {"trunk": {"port_id": "<port>"}}),
    ("port", _N + "ports", {"port": {"network_id": "<network>"}}),
    ("rbac_policy", _N + "rbac-policies", {"rbac_policy": {
        "object_type": "network", "object_id": "<network>", "action": "access_as_shared",
        "target_tenant": "0123456789abcdef0123456789abcdef"}}),
    ("image", _I + "images", {"name": "mine", "disk_format": "raw", "container_format": "bare"}),
    ("volume", _V + "volumes", {"volume": {"size": 1, "name": "mine"}}),
    ("server_group", _C + "os-server-groups", {"server_group": {"name": "mine", "policy": "affinity"}}),
)  # fmt: skip
LATER: tuple[tuple[str, str, Any], ...] = (
    ("server", _C + "servers", {"server": {"name": "mine", "flavorRef": "f-member", "imageRef": "<image>",
                                           "networks": "none"}}),
    ("snapshot", _V + "snapshots", {"snapshot": {"volume_id": "<volume>", "force": True}}),
    ("backup", _V + "backups", {"backup": {"volume_id": "<volume>", "force": True}}),
)  # fmt: skip
OTHERS: tuple[tuple[str, str, Any], ...] = (
    ("limit", "/identity/v3/domains", {"domain": {"name": "spare"}}),
    ("group", "/identity/v3/groups", {"group": {"name": "spare", "domain_id": "default"}}),
)
