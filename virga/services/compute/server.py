"""A server's row: found for a caller, changed, given a fault. What every other file of servers stands on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Row

from virga.api.request import Request
from virga.db.tx import Tx
from virga.lib.clock import iso_seconds
from virga.services.compute import states
from virga.services.compute.faults import server_locked, server_not_found, wrong_state
from virga.services.compute.models import server as table

Server = Row[Any]


def find(tx: Tx, server_id: str) -> Server | None:
    """The row, deleted ones excepted."""
    return tx.first(select(table).where(table.c.id == server_id, table.c.deleted.is_(False)))


def get(tx: Tx, server_id: str) -> Server:
    row = find(tx, server_id)
    if row is None:
        raise server_not_found(server_id)
    return row


def for_request(tx: Tx, req: Request, rule: str | None, name: str = "server_id") -> Server:
    """The server of the URL, if the caller may do ``rule`` to it; a foreign one is as good as none."""
    row = get(tx, req[name])
    caller = req.caller
    if not caller.is_admin and row.project_id != caller.project_id and "service" not in caller.roles:
        raise server_not_found(req[name])
    if rule is not None:
        req.enforce(rule, target_of(row))
    return row


def target_of(row: Server) -> dict[str, Any]:
    return {"project_id": row.project_id, "user_id": row.user_id, "tenant_id": row.project_id}


def save(tx: Tx, server_id: str, *, touch: bool = False, **values: Any) -> Server:
    """Write, and announce to hosts when ``touch``; the row as it is now."""
    tx.execute(update(table).where(table.c.id == server_id).values(updated_at=tx.now, **values))
    if touch:
        tx.touch("server", server_id)
    row = tx.first(select(table).where(table.c.id == server_id))
    if row is None:
        raise server_not_found(server_id)
    return row


def fail(
    tx: Tx, server_id: str, message: str, *, code: int = 500, details: str = "", **values: Any
) -> Server:
    """Into ERROR, with a fault that says why."""
    values = {"vm_state": states.ERROR, "task_state": None} | values
    return save(tx, server_id, fault=fault(tx, message, code, details), **values)


def fault(tx: Tx, message: str, code: int = 500, details: str = "") -> dict[str, Any]:
    return {"code": code, "created": iso_seconds(tx.now), "message": message[:255], "details": details}


@lru_cache(4096)
def host_id(project_id: str, host: str | None) -> str:
    """A host's name as a project may see it: the same for the same host, and no name."""
    if not host:
        return ""
    return hashlib.sha224((project_id + host).encode()).hexdigest()


def instance_name(row: Server) -> str:
    return f"instance-{row.number:08x}"


def check_lock(row: Server, caller: Any) -> None:
    """A locked server may only be changed by admins."""
    if row.locked_by and not caller.is_admin:
        raise server_locked(row.id)


ANY_TASK: frozenset[str | None] = frozenset()
NO_TASK: frozenset[str | None] = frozenset({None})


def check_state(
    row: Server,
    action: str,
    vm_states: Iterable[str] | None = (states.ACTIVE,),
    tasks: Iterable[str | None] | None = NO_TASK,
    launched: bool = True,
) -> None:
    """Refuse an ``action`` that the server's state does not allow; None allows all."""
    if vm_states is not None and row.vm_state not in vm_states:
        raise wrong_state(action, row.id, "vm_state", row.vm_state)
    if tasks is not None and row.task_state not in tasks:
        raise wrong_state(action, row.id, "task_state", row.task_state)
    if launched and row.launched_at is None:
        raise wrong_state(action, row.id, "launched_at", None)


Verb = Callable[[Tx, Request, Server], Any]


def on_server(rule: str | None, verb: Verb, *, lock: bool = False) -> Callable[[Tx, Request], Any]:
    """A handler that finds the server, asks the policy ``rule`` about it (and the lock), and calls ``verb``."""

    def handler(tx: Tx, req: Request) -> Any:
        row = for_request(tx, req, rule and f"os_compute_api:{rule}")
        if lock:
            check_lock(row, req.caller)
        return verb(tx, req, row)

    return handler
