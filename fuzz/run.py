"""Rounds of shots at fresh clouds, and what came of them."""

from __future__ import annotations

import hashlib
import logging
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from fuzz.declared import Listener, Target, listening, query_names, targets
from fuzz.judge import Ledger, Trouble, complaint
from fuzz.samples import EVERY, STOCK
from fuzz.shots import Gun
from fuzz.wire import Answer, Sent, Wire
from fuzz.world import NEWEST, World
from tests.lib.cloud import PASSWORDS, RunningCloud, running_cloud
from virga.api.routing import Match, RouteTable
from virga.db.metadata import metadata
from virga.services.identity.token import Tokens

ROUND = 4000
"""Requests after which a fresh cloud takes the place of what is left of the last."""
CLEAN = 0.25
"""Share of the requests that are meant to be right: what they make is what the others hit."""
MOVING = ("job", "change")
"""Tables that background work writes whatever the requests do."""


LISTED = {"server": "/compute/v2.1/servers?all_tenants=1", "volume": "/volume/v3/volumes?all_tenants=1",
          "port": "/network/v2.0/ports", "network": "/network/v2.0/networks", "image": "/image/v2/images",
          "floatingip": "/network/v2.0/floatingips", "flavor": "/compute/v2.1/flavors"}  # fmt: skip


@dataclass
class Tally:
    """Counts, and what was wrong: each kind once, with the first request that showed it."""

    seed: int
    requests: int = 0
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    reached: dict[str, set[int]] = field(default_factory=dict)
    compared: int = 0
    races: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)

    def count(self, target: Target, status: int) -> None:
        self.requests += 1
        self.statuses.setdefault(target.service.name, Counter())[status] += 1
        self.reached.setdefault(target.name, set()).add(status)

    def fail(self, what: str, step: int, target: Target, sent: Sent) -> None:
        self.times[what] += 1
        self.failures.setdefault(
            what, f"{what}\n    request {step} of seed {self.seed}, {target.name}\n      {sent.described()}"
        )


@contextmanager
def clouds(rng: random.Random) -> Iterator[tuple[RunningCloud, World]]:
    """A fresh cloud with everybody and everything in it."""
    with tempfile.TemporaryDirectory(prefix="virga-fuzz-") as directory:
        state = Path(directory)
        with running_cloud(state, vlan_ranges=["physnet1:1:4094"]) as running:
            world = World(running.settings.port, PASSWORDS)
            world.settle_in()
            world.tokens["expired"] = expired(running, world)
            yield running, world


def expired(running: RunningCloud, world: World) -> str:
    """A token that was good, sealed with the cloud's own keys, an hour ago."""
    tokens = Tokens(running.settings)
    claims = tokens.claims(world.tokens["admin"])
    past = running.cloud.database.clock() - 3_600_000_000
    return (
        tokens.issue(msgspec.structs.replace(claims, issued_at=past - 1, expires_at=past)) if claims else ""
    )


class Round:
    """Shots at one cloud."""

    def __init__(
        self, rng: random.Random, running: RunningCloud, world: World, tally: Tally, heard: Listener
    ) -> None:
        self.rng, self.world, self.tally, self.heard = rng, world, tally, heard
        self.database = running.cloud.database
        self.ledger = Ledger(self.database)
        self.trouble = Trouble()
        logging.getLogger().addHandler(self.trouble)
        self.targets = targets(running.cloud.services)
        self.gun = Gun(rng, world, query_names())
        self.wires = [Wire(world.port), Wire(world.port)]

    def close(self) -> None:
        logging.getLogger().removeHandler(self.trouble)
        for wire in (*self.wires, self.world.wire):
            wire.close()

    def learn(self) -> None:
        """Ask each route that takes something what it looks at; and give it the examples that are its own."""
        tables = {target.service.prefix: RouteTable(target.service.routes) for target in self.targets}
        by_route = {id(target.route): target for target in self.targets}
        for method, path, body in self.world.examples:
            prefix = "/" + path.split("/")[1]
            match = tables[prefix].match(method, path.removeprefix(prefix)) if prefix in tables else None
            for route in match.routes if isinstance(match, Match) else ():
                if route.action is None or (isinstance(body, dict) and route.action in body):
                    by_route[id(route)].took(body)
        for target in self.targets:
            for body in self._probes(target):
                self.heard.heard.clear()
                sent, _ = self.gun.shot(target, clean=True)
                sent.body = (
                    msgspec.json.encode(body) if target.takes_body and not target.route.streams else b""
                )
                if target.route.method == "DELETE":
                    continue
                self.wires[0].exchange(sent)
                self.heard.learn(target, body)

    def _probes(self, target: Target) -> list[Any]:
        if target.route.action:
            return [{target.route.action: None}, {target.route.action: {}}]
        return [{}] if target.takes_body else [None]

    def shoot(self, steps: range) -> int:
        """One request a step; sometimes two at once. Returns the step after the last: a hit can end the round."""
        for step in steps:
            target = self.rng.choice(self.targets)
            sent, body = self.gun.shot(target, clean=self.rng.random() < CLEAN)
            if self.rng.random() < 0.03:
                self.race(step, target, sent)
            else:
                self.one(step, target, sent, body)
            if step % 50 == 0 and not self.alive():
                return step + 1
        return steps.stop

    def one(self, step: int, target: Target, sent: Sent, body: Any) -> None:
        sample, commits = self.rng.random() < 0.02, self.ledger.total
        before = self.digest() if sample else ""
        answer = self.wires[0].exchange(sent)
        self.judge(step, target, sent, answer)
        if body is not None and answer.status < 300 and len(sent.body) < 5000:
            target.took(body)
        if sample and 400 <= answer.status < 500 and self.ledger.total == commits:
            # Nothing else was written meanwhile: then all tables are what they were.
            self.tally.compared += 1
            if self.digest() != before and self.ledger.total == commits:
                self.tally.fail("a refused request changed a table behind the ledger", step, target, sent)

    def race(self, step: int, target: Target, sent: Sent) -> None:
        """The same thing twice at the same moment, or changed and deleted."""
        self.tally.races += 1
        second = Sent(sent.method, sent.target, list(sent.headers), sent.body)
        if self.rng.random() < 0.4 and target.route.path.endswith("}"):
            second.method = "DELETE"
        answers: list[Answer | None] = [None, None]

        def send(index: int, what: Sent) -> None:
            answers[index] = self.wires[index].exchange(what)

        other = threading.Thread(target=send, args=(1, second))
        other.start()
        send(0, sent)
        other.join()
        for what, answer in zip((sent, second), answers, strict=True):
            assert answer is not None
            self.judge(step, target, what, answer)

    def judge(self, step: int, target: Target, sent: Sent, answer: Answer) -> None:
        tally = self.tally
        tally.count(target, answer.status)
        wrong = complaint(target.service.name, sent, answer)
        logged = self.trouble.take()
        for text in logged:
            tally.fail(f"logged: {text}", step, target, sent)
        if wrong and not (logged and wrong.startswith("status 5")):
            tally.fail(f"{target.name}: {wrong}", step, target, sent)
        request_id = answer.headers.get("x-openstack-request-id")
        changed = self.ledger.changed_by(request_id) if request_id else 0
        # An upload that is refused for what its bytes are was begun before: the image is queued again, as in Glance.
        if 400 <= answer.status < 500 and changed and not target.route.streams:
            tally.fail(f"{target.name}: refused with {answer.status}, but rows changed", step, target, sent)
        if answer.status < 300 and answer.body[:1] in (b"{", b"[") and len(answer.body) < 200_000:
            self.world.harvest(answer.json())

    def alive(self) -> bool:
        """Whether the admin is still somebody: shots hit users and projects too."""
        kept = self.world.tokens["admin"]
        answer = self.world.call("GET", "/identity/v3/auth/tokens", x_subject_token=kept)
        if answer.status == 200:
            self.restock()
            return True
        try:
            self.world.people()
        except (KeyError, ValueError, TypeError):
            return False
        return bool(self.world.tokens["admin"])

    def restock(self) -> None:
        """Something new in the place of what was shot, and forget what is gone."""
        for kind, path in LISTED.items():
            answer = self.world.call("GET", path, openstack_api_version=NEWEST)
            if answer.status == 200:
                inner = next(v for v in answer.json().values() if isinstance(v, list))
                self.world.ids[kind] = [item["id"] for item in inner][-40:]
        for method, path, body in self.rng.sample(EVERY, 4) + self.rng.sample(STOCK, 2):
            self.world.right(method, path, body)

    def digest(self) -> str:
        """One text for all rows of all tables."""

        def read(tx: Any) -> str:
            summed = hashlib.sha256()
            for table in metadata.sorted_tables:
                if table.name not in MOVING:
                    rows = sorted(repr(tuple(row)) for row in tx.all(select(table)))
                    summed.update(table.name.encode() + "\n".join(rows).encode("utf-8", "replace"))
            return summed.hexdigest()

        return str(self.database.read(read))


def fuzz(requests: int, seed: int, progress: Any = lambda tally: None) -> Tally:
    """Shoot until so many requests were answered."""
    tally, began = Tally(seed), 0
    with listening() as heard:
        while began < requests:
            rng = random.Random(f"{seed}:{began}")
            steps = range(began, min(began + ROUND, requests))
            with clouds(rng) as (running, world):
                round_ = Round(rng, running, world, tally, heard)
                try:
                    round_.learn()
                    round_.trouble.take()
                    began = round_.shoot(steps)
                    settle(round_)
                finally:
                    round_.close()
            progress(tally)
    return tally


def settle(round_: Round, patience_s: float = 10.0) -> None:
    """Wait for the jobs that the requests left; they too must end without a traceback."""
    job = metadata.tables["job"]
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if not round_.database.read(lambda tx: tx.all(select(job.c.id).limit(1))):
            break
        time.sleep(0.05)
    for text in round_.trouble.take():
        round_.tally.fail(f"logged by a job: {text}", -1, round_.targets[0], Sent("-", b"-"))
