"""Rows that commit together with the change they announce.

``change`` says that an object changed, so that hosts may have to learn; the feed reads it by number.
``job`` is work to be done after the commit, once, also when the process dies in between.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from virga.db.metadata import Timestamp, metadata

change = Table(
    "change",
    metadata,
    Column("revision", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False, default=""),
    Column("changed_at", Timestamp, nullable=False),
    sqlite_autoincrement=True,
)

job = Table(
    "job",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("name", String(64), nullable=False),
    Column("ordering_key", String(64), nullable=False),
    Column("arguments", Text, nullable=False),
    Column("request_id", String(64), nullable=False, default=""),
    Column("not_before", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Index("ix_job_ordering_key", "ordering_key"),
    sqlite_autoincrement=True,
)
