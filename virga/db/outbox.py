"""Rows that commit together with the change they announce.

``change`` says that an object changed, so that hosts may have to learn; the feed reads it by number.
It also remembers for a while who changed what. ``observation`` is what an explanation or the doctor saw.
``job`` is work to be done after the commit, once, also when the process dies in between.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from virga.db.metadata import Json, Timestamp, metadata

change = Table(
    "change",
    metadata,
    Column("revision", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(32), nullable=False),
    Column("object_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False, default=""),
    Column("changed_at", Timestamp, nullable=False),
    # Who asked, in which project, for what; empty for what the cloud does of itself.
    Column("user_id", String(64), nullable=False, server_default=""),
    Column("project_id", String(64), nullable=False, server_default=""),
    Column("action", String(255), nullable=False, server_default=""),
    sqlite_autoincrement=True,
)

observation = Table(
    "observation",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("observed_at", Timestamp, nullable=False),
    Column("host", String(255), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("user_id", String(64), nullable=False),
    Column("project_id", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("body", Json, nullable=False),
    Index("ix_observation_observed_at", "observed_at"),
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
