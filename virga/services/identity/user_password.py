"""Passwords: the rules for new ones, their history, and ``POST /v3/users/{id}/password``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select

from virga.api.context import AsyncContext
from virga.api.faults import Forbidden
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.services.identity import epoch, models
from virga.services.identity import password as hashing
from virga.services.identity.faults import PasswordRefused, ResourceNotFound
from virga.services.identity.login import check_password, find_candidate
from virga.services.identity.schema import Checker
from virga.settings import Settings

_T = models.password
DAY_US = 24 * 3600 * 1_000_000
MAX_LENGTH = 4096
CHANGE = Checker(
    {
        "type": "object",
        "properties": {"original_password": {"type": "string"}, "password": {"type": "string"}},
        "required": ["original_password", "password"],
        "additionalProperties": False,
    },
    verbose=True,
)


def check_rules(settings: Settings, password: str) -> None:
    """Raise PasswordRefused or Forbidden for a password that the cloud does not accept."""
    if len(password) > MAX_LENGTH:
        raise Forbidden(
            f"The password length must be less than or equal to {MAX_LENGTH}. The server could not comply with "
            "the request because the password is invalid."
        )
    if settings.password_regex and not re.match(settings.password_regex, password):
        raise PasswordRefused(
            f"The password does not match the requirements: {settings.password_regex_description}."
        )


def store(tx: Tx, settings: Settings, user_id: str, hashed: str, self_service: bool) -> None:
    """Make it the user's password; older ones stay as long as the rule about repetition needs them."""
    expires_at = None
    if settings.password_expires_days:
        expires_at = tx.now + settings.password_expires_days * DAY_US
    tx.execute(
        insert(_T).values(
            user_id=user_id, hash=hashed, self_service=self_service, created_at=tx.now, expires_at=expires_at
        )
    )
    keep = max(1, settings.unique_last_passwords)
    old = tx.all(select(_T.c.id).where(_T.c.user_id == user_id).order_by(_T.c.id.desc()).offset(keep))
    if old:
        tx.execute(delete(_T).where(_T.c.id.in_([row.id for row in old])))


async def change(ctx: AsyncContext, req: Request) -> Response:
    """Users change their own password, proving themselves by the old one; no token is asked for."""
    given = req.body.get("user") if isinstance(req.body, Mapping) else None
    CHANGE.check(given if given is not None else {})
    assert isinstance(given, Mapping)
    user_id, settings = req["user_id"], ctx.settings
    if (
        await ctx.read(lambda tx: tx.first(select(models.user.c.id).where(models.user.c.id == user_id)))
        is None
    ):
        raise ResourceNotFound("user", user_id)
    candidate = await ctx.read(lambda tx: find_candidate(tx, {"id": user_id}))
    await check_password(ctx, candidate, given["original_password"], may_be_expired=True)
    assert candidate is not None
    if candidate.options.get("lock_password"):
        raise PasswordRefused(
            "You cannot change your password at this time due to password policy disallowing password changes. "
            "Please contact your administrator to reset your password."
        )
    new = given["password"]
    check_rules(settings, new)
    newest, history = await ctx.read(lambda tx: _history(tx, user_id, settings.unique_last_passwords))
    await _check_age(ctx, settings, newest)
    if settings.unique_last_passwords:
        for old in history:
            if await ctx.thread(lambda old=old: hashing.matches(new, old)):  # type: ignore[misc]
                raise PasswordRefused(
                    "The new password cannot be identical to a previous password. The total number which "
                    f"includes the new password must be unique is {settings.unique_last_passwords}."
                )
    hashed = await ctx.thread(lambda: hashing.hash_secret(new, settings.password_hash_rounds))
    await ctx.write(lambda tx: _replace(tx, settings, user_id, hashed))
    return Response(204)


def _history(tx: Tx, user_id: str, count: int) -> tuple[Any, list[str]]:
    """The newest password's row and the hashes that a new password may not match."""
    found = tx.all(select(_T).where(_T.c.user_id == user_id).order_by(_T.c.id.desc()).limit(max(1, count)))
    return found[0], [row.hash for row in found[:count]]


async def _check_age(ctx: AsyncContext, settings: Settings, newest: Any) -> None:
    if not settings.minimum_password_age_days or not newest.self_service:
        return
    now = await ctx.read(lambda tx: tx.now)
    allowed_at = newest.created_at + settings.minimum_password_age_days * DAY_US
    if now < allowed_at:
        left = -(-(allowed_at - now) // DAY_US)
        raise PasswordRefused(
            "You cannot change your password at this time due to the minimum password age. Once you change "
            f"your password, it must be used for {settings.minimum_password_age_days} day(s) before it can be "
            f"changed. Please try again in {left} day(s) or contact your administrator to reset your password."
        )


def _replace(tx: Tx, settings: Settings, user_id: str, hashed: str) -> None:
    store(tx, settings, user_id, hashed, self_service=True)
    epoch.revoke(tx, f"user:{user_id}")
