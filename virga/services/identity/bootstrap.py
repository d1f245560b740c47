"""What a new cloud has: a domain, roles, the first users and projects, and the catalog. Idempotent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, insert, select, update

from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.services.identity import epoch, models
from virga.services.identity.effective import SYSTEM_ID
from virga.services.identity.password import hash_secret
from virga.settings import Settings

DOMAIN_ID = "default"
ROLES = ("reader", "member", "manager", "admin", "service")
IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
PROJECTS = {
    "admin": "Bootstrap project for initializing the cloud.",
    "demo": "Project of the user demo.",
    "service": "Project of the services.",
}


@dataclass(frozen=True, slots=True)
class Offer:
    """A line of the catalog."""

    type: str
    name: str
    path: str


OFFERS = (
    Offer("identity", "keystone", "/identity"),
    Offer("image", "glance", "/image"),
    Offer("network", "neutron", "/network"),
    Offer("compute", "nova", "/compute/v2.1"),
    Offer("placement", "placement", "/placement"),
    Offer("block-storage", "cinder", "/volume/v3"),
)


def bootstrap(tx: Tx, settings: Settings, admin_password: str, demo_password: str) -> None:
    """Make what is missing and bring the endpoints to today's address; existing passwords are left alone."""
    _domain(tx)
    roles = {name: _role(tx, name) for name in ROLES}
    for prior, implied in IMPLIED:
        _once(tx, models.implied_role, {"prior_role_id": roles[prior], "implied_role_id": roles[implied]})
    projects = {name: _project(tx, name, text) for name, text in PROJECTS.items()}
    admin = _user(tx, "admin", admin_password, settings.password_hash_rounds)
    demo = _user(tx, "demo", demo_password, settings.password_hash_rounds)
    _grant(tx, admin, "system", SYSTEM_ID, roles["admin"])
    for name in ("admin", "demo"):
        _grant(tx, admin, "project", projects[name], roles["admin"])
    _grant(tx, demo, "project", projects["demo"], roles["member"])
    _once(tx, models.region, {"id": settings.region}, {"description": "", "extra": {}})
    for offer in OFFERS:
        _endpoints(tx, settings, _service(tx, offer), offer)
    epoch.forget_revocations(tx, settings.token_seconds + settings.token_grace_seconds)
    epoch.advance(tx)


def _once(tx: Tx, table: Table, key: dict[str, Any], rest: dict[str, Any] | None = None) -> None:
    """Insert a row unless there is one with this key."""
    same = [table.c[name] == value for name, value in key.items()]
    if tx.first(select(table).where(*same)) is None:
        tx.execute(insert(table).values(**key, **(rest or {})))


def _named(tx: Tx, table: Table, name: str, domain_id: str, rest: dict[str, Any]) -> str:
    """Id of the row with this name; made when missing."""
    found = tx.scalar(select(table.c.id).where(table.c.name == name, table.c.domain_id == domain_id))
    if found is None:
        found = new_hex()
        tx.execute(
            insert(table).values(id=found, name=name, domain_id=domain_id, extra={}, options={}, **rest)
        )
    return str(found)


def _domain(tx: Tx) -> None:
    _once(
        tx,
        models.project,
        {"id": DOMAIN_ID},
        {
            "name": "Default",
            "domain_id": "",
            "description": "The default domain",
            "enabled": True,
            "is_domain": True,
            "options": {},
            "extra": {},
        },
    )


def _role(tx: Tx, name: str) -> str:
    found = tx.scalar(
        select(models.role.c.id).where(models.role.c.name == name, models.role.c.domain_id == "")
    )
    if found is None:
        found = new_hex()
        options = {"immutable": True}
        tx.execute(insert(models.role).values(id=found, name=name, domain_id="", options=options, extra={}))
    return str(found)


def _project(tx: Tx, name: str, description: str) -> str:
    rest = {"parent_id": DOMAIN_ID, "description": description, "enabled": True, "is_domain": False}
    return _named(tx, models.project, name, DOMAIN_ID, rest)


def _user(tx: Tx, name: str, password: str, rounds: int) -> str:
    rest = {"enabled": True, "created_at": tx.now, "failed_auth_count": 0}
    user_id = _named(tx, models.user, name, DOMAIN_ID, rest)
    if tx.first(select(models.password.c.id).where(models.password.c.user_id == user_id)) is None:
        tx.execute(
            insert(models.password).values(
                user_id=user_id, hash=hash_secret(password, rounds), self_service=False, created_at=tx.now
            )
        )
    return user_id


def _grant(tx: Tx, user_id: str, target_kind: str, target_id: str, role_id: str) -> None:
    _once(
        tx,
        models.assignment,
        {
            "actor_kind": "user",
            "actor_id": user_id,
            "target_kind": target_kind,
            "target_id": target_id,
            "role_id": role_id,
            "inherited": False,
        },
    )


def _service(tx: Tx, offer: Offer) -> str:
    found = tx.scalar(select(models.service.c.id).where(models.service.c.type == offer.type))
    if found is None:
        found = new_hex()
        tx.execute(
            insert(models.service).values(id=found, type=offer.type, enabled=True, extra={"name": offer.name})
        )
    return str(found)


def _endpoints(tx: Tx, settings: Settings, service_id: str, offer: Offer) -> None:
    url = settings.endpoint + offer.path
    table = models.endpoint
    for interface in ("public", "internal", "admin"):
        mine = (
            table.c.service_id == service_id,
            table.c.interface == interface,
            table.c.region_id == settings.region,
        )
        if tx.execute(update(table).where(*mine).values(url=url)).rowcount == 0:
            tx.execute(
                insert(table).values(
                    id=new_hex(),
                    service_id=service_id,
                    interface=interface,
                    region_id=settings.region,
                    url=url,
                    enabled=True,
                    extra={},
                )
            )
