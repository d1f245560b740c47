"""Attachments: who has a volume, or is about to. Verbs for Compute, for the old actions and for the attachment API.

A volume's status follows from its attachments: none ``available``, reserved ``reserved``, connecting
``attaching``, connected ``in-use``.
"""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, select, update
from sqlalchemy.engine import Row

from virga.db.tx import Tx
from virga.lib.ids import new_uuid
from virga.services.block_storage import qos_limits, volume
from virga.services.block_storage.faults import attachment_not_found, invalid_volume
from virga.services.block_storage.models import volume_attachment as table
from virga.services.block_storage.volume import Volume

Attachment = Row[Any]


def find(tx: Tx, attachment_id: object) -> Attachment | None:
    return tx.first(select(table).where(table.c.id == str(attachment_id)))


def need(tx: Tx, attachment_id: object) -> Attachment:
    row = find(tx, attachment_id)
    if row is None:
        raise attachment_not_found(attachment_id)
    return row


def of_volume(tx: Tx, volume_id: str) -> list[Attachment]:
    return list(tx.all(select(table).where(table.c.volume_id == volume_id).order_by(table.c.number)))


def save(tx: Tx, attachment_id: str, **values: Any) -> Attachment:
    tx.execute(update(table).where(table.c.id == attachment_id).values(updated_at=tx.now, **values))
    return need(tx, attachment_id)


def reserve(tx: Tx, row: Volume, server_id: str | None) -> str:
    """Nobody else takes the volume. Raises InvalidVolume when somebody has it."""
    shared = row.multiattach and row.status in ("available", "in-use", "reserved", "attaching")
    if row.status not in ("available", "downloading") and not shared:
        raise invalid_volume(
            f"Volume {row.id} status must be available or downloading to reserve, but the current status is {row.status}."
        )
    attachment_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=attachment_id,
            volume_id=row.id,
            server_id=server_id,
            mode="ro" if row.read_only else "rw",
            status="reserved",
            created_at=tx.now,
        )
    )
    settle(tx, row.id)
    return attachment_id


def reserve_new(tx: Tx, volume_id: str, server_id: str) -> str:
    """Of a volume that is only being made, for the server that it is made for."""
    attachment_id = new_uuid()
    tx.execute(
        insert(table).values(
            id=attachment_id,
            volume_id=volume_id,
            server_id=server_id,
            mode="rw",
            status="reserved",
            created_at=tx.now,
        )
    )
    return attachment_id


def connect(tx: Tx, attachment_id: str, host: str, local: bool) -> dict[str, Any] | None:
    """How a host reaches the volume; None while its target is not there yet: a report will tell."""
    found = need(tx, attachment_id)
    row = volume.need(tx, found.volume_id)
    if found.host != host and found.status != "reserved":
        save(tx, attachment_id, host=host)
    if found.status == "reserved":
        save(tx, attachment_id, status="attaching", host=host)
        settle(tx, row.id)
    if local:
        return {"driver": "pool", "path": row.path or "", **_terms(tx, found, row)}
    if not row.export:
        volume.save(tx, row.id, touch=True, export=True, exported=False)
        return None
    if not row.exported:
        return None
    return {
        "driver": "iscsi",
        "portal": row.portal,
        "iqn": volume.iqn(row.id),
        "lun": 1,
        "user": row.auth_user,
        "password": row.auth_password,
        **_terms(tx, found, row),
    }


def _terms(tx: Tx, found: Attachment, row: Volume) -> dict[str, Any]:
    """How the guest may use the volume: only to read, only so fast. Fixed when it is attached."""
    terms: dict[str, Any] = {}
    if found.mode == "ro":
        terms["read_only"] = True
    if limits := qos_limits.of_volume(tx, row):
        terms["limits"] = limits
    return terms


def complete(tx: Tx, attachment_id: str, device: str | None = None) -> None:
    """The server has it."""
    found = find(tx, attachment_id)
    if found is None or found.status == "attached":
        return
    save(tx, attachment_id, status="attached", attached_at=tx.now, device=device or found.device)
    settle(tx, found.volume_id)


def begin_detaching(tx: Tx, row: Volume) -> None:
    if row.status != "in-use":
        raise invalid_volume(
            "Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to detach."
        )
    volume.save(tx, row.id, status="detaching")


def roll_detaching(tx: Tx, row: Volume) -> None:
    if row.status == "detaching":
        volume.save(tx, row.id, status="in-use")


def remove(tx: Tx, attachment_id: str) -> None:
    """Let go: the last one out ends the export."""
    found = find(tx, attachment_id)
    if found is None:
        return
    tx.execute(sql_delete(table).where(table.c.id == attachment_id))
    if found.server_id:
        # Its host must not keep what is not attached any more, whoever took it away.
        tx.touch("server", found.server_id)
    settle(tx, found.volume_id)


def settle(tx: Tx, volume_id: str) -> None:
    """Status and export as the attachments say. Who knew how to log in to an ended export cannot any more."""
    row = volume.find(tx, volume_id)
    if row is None or row.status in ("deleting", "error_deleting"):
        return
    states = {one.status for one in of_volume(tx, volume_id)}
    if "attached" in states:
        status = "in-use"
    elif "attaching" in states:
        status = "attaching"
    elif "reserved" in states:
        status = "reserved"
    else:
        status = "available"
    values: dict[str, Any] = {"status": status}
    if not states and (row.export or row.exported):
        values |= {"export": False, "exported": False, "auth_password": secrets.token_hex(8)}
    volume.save(tx, volume_id, touch=bool(values.get("export") is False), **values)
