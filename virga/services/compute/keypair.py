"""Key pairs: SSH keys and certificates that a user's servers let in. Generated up to microversion 2.91."""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, insert, select
from sqlalchemy.engine import Row

from virga.api.request import Request, Response
from virga.api.routing import AUTHENTICATED, Route
from virga.db.tx import Tx
from virga.lib.clock import iso_micro
from virga.services.compute.faults import Busy, Invalid, NotFoundHere, Refused
from virga.services.compute.limit_table import limits_of
from virga.services.compute.models import keypair as table
from virga.services.compute.page import after_marker, limit_of, next_link
from virga.services.compute.schema import (
    NAME,
    PAGING,
    TEXT,
    V21,
    Versioned,
    check_body,
    check_query,
    obj,
    several,
    wrapped,
)
from virga.settings import Settings

POLICY = "os_compute_api:os-keypairs:"


def _name(pattern: str) -> dict[str, Any]:
    return {"allOf": [NAME, {"type": "string", "pattern": pattern, "minLength": 1, "maxLength": 255}]}


_OLD_NAME, _NEW_NAME = _name(r"^[_\- a-zA-Z0-9]+$"), _name(r"^[_\-\@\. a-zA-Z0-9]+$")
_TYPE = {"type": "string", "enum": ["ssh", "x509"]}
CREATE = Versioned(
    (V21, wrapped("keypair", obj({"name": _OLD_NAME, "public_key": TEXT}, ["name"]))),
    ((2, 2), wrapped("keypair", obj({"name": _OLD_NAME, "type": _TYPE, "public_key": TEXT}, ["name"]))),
    (
        (2, 10),
        wrapped(
            "keypair", obj({"name": _OLD_NAME, "type": _TYPE, "public_key": TEXT, "user_id": TEXT}, ["name"])
        ),
    ),
    (
        (2, 92),
        wrapped(
            "keypair",
            obj(
                {"name": _NEW_NAME, "type": _TYPE, "public_key": TEXT, "user_id": TEXT},
                ["name", "public_key"],
            ),
        ),
    ),
)
_USER = {"user_id": several(TEXT)}
ONE = Versioned((V21, obj({}, extra=True)), ((2, 10), obj(_USER, extra=True)), ((2, 75), obj(_USER)))
LIST = Versioned(
    (V21, obj({}, extra=True)),
    ((2, 10), obj(_USER, extra=True)),
    ((2, 35), obj(_USER | PAGING, extra=True)),
    ((2, 75), obj(_USER | PAGING)),
)


@dataclass(frozen=True)
class Made:
    """A key pair that was generated or read."""

    public_key: str
    fingerprint: str
    private_key: str | None = None


def find(tx: Tx, user_id: str, name: str) -> Row[Any] | None:
    return tx.first(select(table).where(table.c.user_id == user_id, table.c.name == name))


def get(tx: Tx, user_id: str, name: str) -> Row[Any]:
    row = find(tx, user_id, name)
    if row is None:
        raise NotFoundHere(f"Keypair {name} not found for user {user_id}", type="KeypairNotFound")
    return row


def _user(req: Request, given: str | None, verb: str) -> str:
    user_id = (given if req.microversion >= (2, 10) else None) or req.caller.user_id
    req.enforce(POLICY + verb, {"user_id": user_id})
    return user_id


def create(tx: Tx, req: Request) -> Any:
    asked = check_body(req, CREATE)["keypair"]
    name = asked["name"].strip()
    kind = asked.get("type", "ssh")
    user_id = _user(req, asked.get("user_id"), "create")
    used = tx.scalar(select(func.count()).select_from(table).where(table.c.user_id == user_id))
    limit = limits_of(tx, req.caller.project_id, user_id)["key_pairs"]
    if 0 <= limit <= used:
        raise Refused("Quota exceeded, too many key pairs.", type="KeypairLimitExceeded")
    if find(tx, user_id, name) is not None:
        raise Busy(f"Key pair '{name}' already exists.", type="KeyPairExists")
    if "public_key" in asked:
        made = read_ssh(asked["public_key"]) if kind == "ssh" else read_x509(asked["public_key"])
    else:
        made = generate_ssh() if kind == "ssh" else generate_x509(user_id)
    tx.execute(
        insert(table).values(
            user_id=user_id,
            name=name,
            type=kind,
            fingerprint=made.fingerprint,
            public_key=made.public_key,
            created_at=tx.now,
        )
    )
    body = {"name": name, "public_key": made.public_key, "fingerprint": made.fingerprint, "user_id": user_id}
    if made.private_key is not None:
        body["private_key"] = made.private_key
    if req.microversion >= (2, 2):
        body["type"] = kind
    return Response(201 if req.microversion >= (2, 2) else 200, {"keypair": body})


def _brief(req: Request, row: Any) -> dict[str, Any]:
    body = {"name": row.name, "public_key": row.public_key, "fingerprint": row.fingerprint}
    return body | ({"type": row.type} if req.microversion >= (2, 2) else {})


def show(tx: Tx, req: Request) -> Any:
    asked = check_query(req, ONE)
    user_id = _user(req, asked.get("user_id", [None])[0], "show")
    row = get(tx, user_id, req["name"])
    times = {
        "created_at": iso_micro(row.created_at, ""),
        "deleted": False,
        "deleted_at": None,
        "id": row.number,
        "user_id": row.user_id,
        "updated_at": None,
    }
    return {"keypair": _brief(req, row) | times}


def index(tx: Tx, req: Request, *, page_limit: int) -> Any:
    asked = check_query(req, LIST)
    user_id = _user(req, asked.get("user_id", [None])[0], "index")
    rows = list(tx.all(select(table).where(table.c.user_id == user_id).order_by(table.c.name)))
    body: dict[str, Any] = {}
    if req.microversion >= (2, 35):
        rows = after_marker(rows, req.param("marker"), limit_of(req, page_limit), "name")
        if more := next_link(req, "/v2.1/os-keypairs", [r.name for r in rows], page_limit):
            body["keypairs_links"] = more
    return {"keypairs": [{"keypair": _brief(req, r)} for r in rows]} | body


def remove(tx: Tx, req: Request) -> Any:
    asked = check_query(req, ONE)
    user_id = _user(req, asked.get("user_id", [None])[0], "delete")
    row = get(tx, user_id, req["name"])
    tx.execute(sql_delete(table).where(table.c.number == row.number))
    return Response(204 if req.microversion >= (2, 2) else 202)


def routes(settings: Settings) -> list[Route]:
    return [
        Route("GET", "/v2.1/os-keypairs", partial(index, page_limit=settings.page_limit), AUTHENTICATED),
        Route("POST", "/v2.1/os-keypairs", create, AUTHENTICATED),
        Route("GET", "/v2.1/os-keypairs/{name}", show, AUTHENTICATED),
        Route("DELETE", "/v2.1/os-keypairs/{name}", remove, AUTHENTICATED),
    ]


# --- keys ----------------------------------------------------------------------------------------------


def _colons(digest: bytes) -> str:
    text = digest.hex()
    return ":".join(text[i : i + 2] for i in range(0, len(text), 2))


def read_ssh(text: str) -> Made:
    """A public key as ``ssh-keygen`` writes it; its fingerprint is the MD5 of the key blob."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key

    reason = "failed to generate fingerprint"
    parts = text.split()
    try:
        blob = base64.b64decode(parts[1], validate=True)
        load_ssh_public_key(" ".join(parts[:2]).encode())
    except (IndexError, ValueError, binascii.Error, UnsupportedAlgorithm, UnicodeEncodeError):
        raise Invalid(f"Keypair data is invalid: {reason}", type="InvalidKeypair") from None
    return Made(text, _colons(hashlib.md5(blob, usedforsecurity=False).digest()))


def generate_ssh() -> Made:
    """A fresh RSA key; the private half is answered once and never kept."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    text = public.decode() + " Generated-by-Nova"
    return Made(text, read_ssh(text).fingerprint, private.decode())


def read_x509(text: str) -> Made:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    try:
        certificate = x509.load_pem_x509_certificate(text.encode())
    except ValueError:
        raise Invalid(
            "Keypair data is invalid: failed to generate X509 fingerprint", type="InvalidKeypair"
        ) from None
    return Made(text, _colons(certificate.fingerprint(hashes.SHA1())))


def generate_x509(user_id: str) -> Made:
    """A self-signed client certificate; the private half goes out as PKCS #12 in base64."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import pkcs12
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle = pkcs12.serialize_key_and_certificates(None, key, certificate, None, serialization.NoEncryption())
    text = certificate.public_bytes(serialization.Encoding.PEM).decode()
    return Made(text, read_x509(text).fingerprint, base64.b64encode(bundle).decode())
