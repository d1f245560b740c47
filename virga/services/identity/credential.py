"""``/v3/credentials``: secrets kept for users, sealed with keys that never leave the state directory."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from sqlalchemy import delete, insert, select, update

from virga.api.faults import Fault, Forbidden, Unauthorized
from virga.api.request import Request, Response
from virga.db.tx import Tx
from virga.lib.ids import new_hex
from virga.lib.keys import KeyRing
from virga.services.identity import models, project, user
from virga.services.identity.faults import (
    UNAUTHENTICATED,
    ForbiddenAction,
    ResourceConflict,
    ResourceNotFound,
    ValidationError,
)
from virga.services.identity.listing import collection, rows
from virga.services.identity.resource import body, row_or_fault, split
from virga.services.identity.schema import Checker, wrapped

_T = models.credential
_COLUMNS = ("blob", "project_id", "type", "user_id")
CREATE = Checker(
    wrapped(
        "credential",
        {
            "id": {"type": "string"},
            "blob": {"type": "string"},
            "project_id": {"type": ["string", "null"]},
            "type": {"type": "string", "maxLength": 255},
            "user_id": {"type": "string"},
        },
        ("blob", "type", "user_id"),
        **{
            "if": {"properties": {"type": {"const": "ec2"}}},
            "then": {"required": ["blob", "type", "user_id", "project_id"]},
        },
    )
)
UPDATE = Checker(wrapped("credential", {"blob": {"type": "string"}}, ("blob",), additionalProperties=False))


class Credentials:
    """Handlers of the resource, with the keys that seal the secrets."""

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys

    def _view(self, req: Request, row: Any) -> dict[str, Any]:
        return {
            **row.extra,
            "id": row.id,
            "user_id": row.user_id,
            "project_id": row.project_id,
            "type": row.type,
            "blob": self._open(row),
            "links": {"self": req.url(f"/v3/credentials/{row.id}")},
        }

    def _open(self, row: Any) -> str:
        return self.keys.open(row.encrypted_blob.encode()).decode()

    def _get(self, tx: Tx, key: str) -> Any:
        return row_or_fault(tx, _T, key, "credential")

    def index(self, tx: Tx, req: Request) -> dict[str, Any]:
        """Those that the caller may see."""
        _refuse_delegated(req)
        found = rows(tx, req, _T, ("user_id", "type"))
        mine = [
            row
            for row in found
            if req.allows("identity:get_credential", {"target": {"credential": {"user_id": row.user_id}}})
        ]
        return collection(req, "credentials", [self._view(req, row) for row in mine])

    def show(self, tx: Tx, req: Request) -> dict[str, Any]:
        """One of them."""
        _refuse_delegated(req)
        return {"credential": self._view(req, self._get(tx, req["credential_id"]))}

    def create(self, tx: Tx, req: Request) -> dict[str, Any]:
        """Keep a secret."""
        known, extra = split(body(req, "credential", CREATE), _COLUMNS)
        _refuse_delegated(req)
        credential_id = new_hex()
        if known["type"] == "ec2":
            credential_id = ec2_id(_access_of(known["blob"]))
        self.add(tx, credential_id, known, extra)
        return {"credential": self._view(req, self._get(tx, credential_id))}

    def add(self, tx: Tx, credential_id: str, known: dict[str, Any], extra: dict[str, Any]) -> None:
        """Seal and store."""
        if tx.first(select(_T.c.id).where(_T.c.id == credential_id)) is not None:
            raise ResourceConflict("credential", f"Duplicate entry found with ID {credential_id}")
        if known.get("project_id") is not None:
            project.get(tx, known["project_id"])
        user.get(tx, known["user_id"])
        tx.execute(
            insert(_T).values(
                id=credential_id,
                user_id=known["user_id"],
                project_id=known.get("project_id"),
                type=known["type"],
                encrypted_blob=self.keys.seal(known["blob"].encode()).decode(),
                extra=extra,
            )
        )

    def change(self, tx: Tx, req: Request) -> dict[str, Any]:
        """Replace the secret."""
        _refuse_delegated(req)
        row = self._get(tx, req["credential_id"])
        blob = body(req, "credential", UPDATE)["blob"]
        if row.type == "ec2":
            _access_of(blob)
        tx.execute(
            update(_T).where(_T.c.id == row.id).values(encrypted_blob=self.keys.seal(blob.encode()).decode())
        )
        return {"credential": self._view(req, self._get(tx, row.id))}

    def remove(self, tx: Tx, req: Request) -> Response:
        """Forget it."""
        _refuse_delegated(req)
        self._get(tx, req["credential_id"])
        tx.execute(delete(_T).where(_T.c.id == req["credential_id"]))
        return Response(204)

    def ec2_index(self, tx: Tx, req: Request) -> dict[str, Any]:
        """The user's keys in the style of EC2."""
        _refuse_delegated(req)
        user.get(tx, req["user_id"])
        found = tx.all(select(_T).where(_T.c.user_id == req["user_id"], _T.c.type == "ec2").order_by(_T.c.id))
        return collection(req, "credentials", [self._ec2_view(req, row) for row in found])

    def ec2_create(self, tx: Tx, req: Request) -> dict[str, Any]:
        """A fresh pair of access key and secret."""
        _refuse_delegated(req)
        user_id = req["user_id"]
        user.get(tx, user_id)
        project_id = req.body.get("tenant_id") if isinstance(req.body, dict) else None
        project.get(tx, str(project_id))
        access = new_hex()
        blob = msgspec.json.encode({"access": access, "secret": new_hex(), "trust_id": None}).decode()
        known = {"user_id": user_id, "project_id": project_id, "type": "ec2", "blob": blob}
        self.add(tx, ec2_id(access), known, {})
        return {"credential": self._ec2_view(req, self._get(tx, ec2_id(access)))}

    def ec2_show(self, tx: Tx, req: Request) -> dict[str, Any]:
        """One pair."""
        _refuse_delegated(req)
        return {"credential": self._ec2_view(req, self._ec2_get(tx, req))}

    def ec2_remove(self, tx: Tx, req: Request) -> Response:
        """Forget the pair."""
        _refuse_delegated(req)
        row = self._ec2_get(tx, req)
        tx.execute(delete(_T).where(_T.c.id == row.id))
        return Response(204)

    def _ec2_get(self, tx: Tx, req: Request) -> Any:
        user.get(tx, req["user_id"])
        key = ec2_id(req["access"])
        row = tx.first(select(_T).where(_T.c.id == key))
        if row is None:
            raise ResourceNotFound("credential", key)
        if row.type != "ec2":
            raise Unauthorized(UNAUTHENTICATED)
        req.enforce("identity:ec2_get_credential", {"target": {"credential": {"user_id": row.user_id}}})
        if row.user_id != req["user_id"]:
            raise _not_owner()
        return row

    def _ec2_view(self, req: Request, row: Any) -> dict[str, Any]:
        blob = msgspec.json.decode(self._open(row))
        path = f"/v3/users/{row.user_id}/credentials/OS-EC2/{blob.get('access')}"
        return {
            "user_id": row.user_id,
            "tenant_id": row.project_id,
            "access": blob.get("access"),
            "secret": blob.get("secret"),
            "trust_id": blob.get("trust_id"),
            "links": {"self": req.url(path)},
        }


def ec2_id(access: str) -> str:
    """The id of an EC2 credential is made from its access key, so that it can be found by it."""
    return hashlib.sha256(access.encode()).hexdigest()


def _access_of(blob: str) -> str:
    try:
        access = msgspec.json.decode(blob).get("access")
    except (msgspec.DecodeError, AttributeError):
        raise ValidationError("Invalid blob in credential") from None
    if not isinstance(access, str):
        raise ValidationError("Invalid blob in credential")
    return access


def _refuse_delegated(req: Request) -> None:
    """A token that somebody else lent does not reach secrets."""
    caller = req.caller
    if caller.trust_id or caller.application_credential_id:
        raise ForbiddenAction("Delegated tokens cannot access credentials directly")


def _not_owner() -> Fault:
    return Forbidden("You are not authorized to perform the requested action.")
