"""The feed: deltas in proportion to what changed, tombstones, and the same end whatever the road."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Column, MetaData, String, Table, delete, select

from virga.contract.items import Network
from virga.contract.messages import State
from virga.db.engine import Database
from virga.db.metadata import metadata
from virga.db.outbox import change, job
from virga.desired.feed import Feed
from virga.desired.registry import Registry, Room, Scope
from virga.desired.view import Drop, Operation, Put
from virga.settings import Settings

own = MetaData()
thing = Table("thing", own, Column("id", String(36), primary_key=True), Column("host", String(36)))


def _changed(scope: Scope, ids: frozenset[str]) -> Iterable[Operation]:
    rows = {row.id: row for row in scope.tx.all(select(thing).where(thing.c.id.in_(ids)))}
    for key in ids:
        row = rows.get(key)
        for host in scope.view.holders(Network, key):
            if row is None or row.host != host:
                yield Drop(host, "network", key)
        if row is not None:
            yield Put(row.host, Network(key=key, network_type="vlan"))


def _everything(scope: Scope) -> Iterable[Operation]:
    for row in scope.tx.all(select(thing)):
        yield Put(row.host, Network(key=row.id, network_type="vlan"))


class World:
    def __init__(self) -> None:
        self.database = Database("sqlite://")
        metadata.create_all(self.database.engine(), tables=[change, job])
        own.create_all(self.database.engine())
        self.registry = Registry([Room(changed={"thing": _changed}, everything=_everything)])
        self.feed = Feed(self.registry, Settings())

    def place(self, key: str, host: str | None) -> None:
        """Put a thing on a host, move it there, or (None) delete it."""

        def act(tx):  # type: ignore[no-untyped-def]
            tx.execute(delete(thing).where(thing.c.id == key))
            if host is not None:
                tx.execute(thing.insert().values(id=key, host=host))
            tx.touch("thing", key)

        self.database.write(act)

    def advance(self) -> dict[str, State]:
        return self.database.read(self.feed.advance)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.database.close()


def test_only_the_host_concerned_hears_of_a_change(world: World) -> None:
    world.place("n1", "host1")
    world.place("n2", "host2")
    world.advance()
    world.place("n3", "host1")
    deltas = world.advance()
    assert list(deltas) == ["host1"]
    assert [item.key for item in deltas["host1"].items] == ["n3"]
    assert deltas["host1"].full is False


def test_a_move_is_a_removal_and_an_addition(world: World) -> None:
    world.place("n1", "host1")
    world.advance()
    world.place("n1", "host2")
    deltas = world.advance()
    assert deltas["host1"].removed == [("network", "n1")]
    assert [item.key for item in deltas["host2"].items] == ["n1"]


def test_an_unchanged_object_is_no_news(world: World) -> None:
    world.place("n1", "host1")
    world.advance()
    world.place("n1", "host1")
    assert world.advance() == {}


def test_an_agent_that_was_away_hears_what_it_missed(world: World) -> None:
    world.place("n1", "host1")
    world.place("n2", "host1")
    world.advance()
    seen = world.feed.view.revision
    world.place("n1", None)
    world.place("n3", "host1")
    world.advance()
    missed = world.feed.view.since("host1", seen)
    assert missed.removed == [("network", "n1")]
    assert [item.key for item in missed.items] == ["n3"]


KEYS = st.sampled_from(["a", "b", "c"])
HOSTS = st.sampled_from(["h1", "h2", None])


@given(st.lists(st.tuples(KEYS, HOSTS, st.booleans()), max_size=12))
def test_the_view_depends_on_the_rows_not_on_the_road(steps: list[tuple[str, str | None, bool]]) -> None:
    world = World()
    for key, host, advance in steps:
        world.place(key, host)
        if advance:
            world.advance()
    world.advance()
    fresh = Feed(world.registry, Settings())
    world.database.read(fresh.rebuild)
    for host in ("h1", "h2"):
        walked = {item.key for item in world.feed.view.full(host).items}
        assert walked == {item.key for item in fresh.view.full(host).items}
    world.database.close()
