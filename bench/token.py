"""What it costs a request to know its caller: one look at a token, as every request takes it."""

from __future__ import annotations

import time

from bench.client import Client
from bench.clouds import Running
from virga.db.engine import Database
from virga.db.tx import Tx
from virga.services.identity.token import authenticator

TIMES = 2000


def validation(running: Running, client: Client) -> dict[str, float]:
    """Milliseconds of one look, the question whether anything was revoked meanwhile included."""
    database = Database(running.settings.database)
    authenticate = authenticator(running.settings)

    def look(tx: Tx) -> dict[str, float]:
        authenticate(tx, client.token)
        began = time.perf_counter()
        for _ in range(TIMES):
            authenticate(tx, client.token)
        return {"a token that was seen before": round((time.perf_counter() - began) / TIMES * 1000, 4)}

    try:
        return database.read(look)
    finally:
        database.close()
