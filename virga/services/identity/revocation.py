"""``/v3/OS-REVOKE/events``: what was revoked, for services that keep tokens themselves."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.clock import iso_micro, parse_iso
from virga.services.identity.faults import ValidationError
from virga.services.identity.listing import collection
from virga.services.identity.models import revocation as table

_NAMES = {
    "user": "user_id",
    "project": "project_id",
    "domain": "domain_id",
    "trust": "OS-TRUST:trust_id",
    "audit": "audit_id",
    "chain": "audit_chain_id",
    "application_credential": "application_credential_id",
}


def index(tx: Tx, req: Request) -> dict[str, Any]:
    """Events since a moment, or all."""
    statement = select(table).order_by(table.c.id)
    since = req.param("since")
    if since:
        try:
            statement = statement.where(table.c.revoked_at >= parse_iso(since))
        except ValueError:
            raise ValidationError(f"invalid date format {since}") from None
    events = []
    for row in tx.all(statement):
        kind, _, key = row.subject.partition(":")
        events.append({_NAMES[kind]: key.partition(":")[0], "issued_before": iso_micro(row.issued_before)})
    return collection(req, "events", events)
