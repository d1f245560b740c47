"""Which roles somebody has: granted, through groups, inherited, implied - whatever the order of events."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from virga.api.faults import Unauthorized
from virga.db.engine import Database
from virga.db.metadata import metadata
from virga.db.tx import Tx
from virga.services.identity import epoch, models
from virga.services.identity.bootstrap import bootstrap
from virga.services.identity.effective import SYSTEM_ID, Scope, roles_of
from virga.services.identity.token import Claims, Tokens
from virga.settings import Settings

HOUR_US = 3_600_000_000


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings(), state_dir=tmp_path, password_hash_rounds=4)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    made = Database("sqlite://")
    metadata.create_all(made.engine())
    made.write(lambda tx: bootstrap(tx, settings, "a", "b"))
    yield made
    made.close()


def role(tx: Tx, name: str) -> str:
    return str(tx.scalar(models.role.select().where(models.role.c.name == name)))


def grant(
    tx: Tx,
    actor: str,
    target: str,
    name: str,
    kind: str = "user",
    on: str = "project",
    inherited: bool = False,
) -> None:
    tx.execute(
        insert(models.assignment).values(
            actor_kind=kind,
            actor_id=actor,
            target_kind=on,
            target_id=target,
            role_id=role(tx, name),
            inherited=inherited,
        )
    )


def project(tx: Tx, key: str, parent: str = "default") -> None:
    tx.execute(
        insert(models.project).values(
            id=key,
            name=key,
            domain_id="default",
            parent_id=parent,
            enabled=True,
            is_domain=False,
            options={},
            extra={},
        )
    )


def names(tx: Tx, user: str, kind: str, key: str) -> set[str]:
    return {item.name for item in roles_of(tx, user, Scope(kind, key))}


def hierarchy(tx: Tx) -> None:
    for key, parent in (("top", "default"), ("middle", "top"), ("leaf", "middle")):
        project(tx, key, parent)


STEPS: dict[str, Callable[[Tx], None]] = {
    "inherited from the domain": lambda tx: grant(tx, "u", "default", "reader", on="domain", inherited=True),
    "direct": lambda tx: grant(tx, "u", "leaf", "member"),
    "through a group": lambda tx: grant(tx, "g", "top", "manager", kind="group", inherited=True),
    "membership": lambda tx: tx.execute(insert(models.membership).values(user_id="u", group_id="g")) and None,
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
def test_the_result_depends_on_the_state_not_on_the_road(database: Database, order: tuple[str, ...]) -> None:
    def build(tx: Tx) -> None:
        hierarchy(tx)
        for step in order:
            STEPS[step](tx)

    database.write(build)
    seen = database.read(
        lambda tx: {key: names(tx, "u", "project", key) for key in ("top", "middle", "leaf")}
    )
    assert seen == {
        "top": {"reader"},
        "middle": {"reader", "member", "manager"},
        "leaf": {"reader", "member", "manager"},
    }


def test_an_inherited_role_is_not_held_where_it_was_given(database: Database) -> None:
    database.write(lambda tx: grant(tx, "u", "default", "admin", on="domain", inherited=True))
    assert database.read(lambda tx: names(tx, "u", "domain", "default")) == set()
    assert database.read(lambda tx: names(tx, "u", "system", SYSTEM_ID)) == set()


def admin_claims(tx: Tx) -> Claims:
    user = tx.first(models.user.select().where(models.user.c.name == "admin"))
    assert user is not None
    return Claims(("password",), user.id, "system", SYSTEM_ID, tx.now, tx.now + HOUR_US, ("a1",))


def test_a_cached_token_learns_of_every_revocation(database: Database, settings: Settings) -> None:
    tokens = Tokens(settings)
    claims = database.read(admin_claims)
    text = tokens.issue(claims)
    assert database.read(lambda tx: tokens.authenticate(tx, text)).is_admin
    database.write(lambda tx: epoch.revoke(tx, "user:somebody-else"))
    assert database.read(lambda tx: tokens.authenticate(tx, text)).is_admin
    database.write(lambda tx: epoch.revoke(tx, f"user:{claims.user_id}"))
    with pytest.raises(Unauthorized):
        database.read(lambda tx: tokens.authenticate(tx, text))
    fresh = tokens.issue(database.read(admin_claims))
    assert database.read(lambda tx: tokens.authenticate(tx, fresh)).is_admin


def test_a_cached_token_ends_with_its_time(settings: Settings) -> None:
    clock = [1_000_000_000_000_000]
    database = Database("sqlite://", clock=lambda: clock[0])
    metadata.create_all(database.engine())
    database.write(lambda tx: bootstrap(tx, settings, "a", "b"))
    tokens = Tokens(settings)
    text = tokens.issue(database.read(admin_claims))
    assert database.read(lambda tx: tokens.authenticate(tx, text)).is_admin
    clock[0] += HOUR_US
    with pytest.raises(Unauthorized):
        database.read(lambda tx: tokens.authenticate(tx, text))
    database.close()


@pytest.mark.parametrize("text", ["", "x", "gAAAAA", "ä", "gAAAAABrANrH" * 20])
def test_what_we_did_not_seal_is_worth_nothing(database: Database, settings: Settings, text: str) -> None:
    tokens = Tokens(settings)
    with pytest.raises(Unauthorized):
        database.read(lambda tx: tokens.authenticate(tx, text))


def test_a_new_cloud_is_made_once(database: Database, settings: Settings) -> None:
    def counts(tx: Tx) -> list[int]:
        tables = (
            models.user,
            models.project,
            models.role,
            models.assignment,
            models.endpoint,
            models.password,
        )
        return [len(tx.all(table.select())) for table in tables]

    before = database.read(counts)
    database.write(lambda tx: bootstrap(tx, replace(settings, port=6060), "other", "other"))
    assert database.read(counts) == before
    urls = database.read(lambda tx: {row.url for row in tx.all(models.endpoint.select())})
    assert all(url.startswith("http://127.0.0.1:6060/") for url in urls)
