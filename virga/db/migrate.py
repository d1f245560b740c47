"""Brings a database to the newest schema. Alembic is only loaded when there is something to do."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import inspect, text

from virga.db.engine import Database

SCRIPTS = Path(__file__).parent / "migrations"


def newest_revision() -> str:
    """The name of the last migration, read from the file names (``0004_network.py``)."""
    names = sorted(p.stem for p in (SCRIPTS / "versions").glob("[0-9]*.py"))
    return names[-1]


def current_revision(database: Database) -> str | None:
    """The migration that the database is at; None for an empty one."""
    with database.engine().connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("select version_num from alembic_version")).scalar()


def upgrade(database: Database) -> bool:
    """Run what is missing; True if anything ran. A database newer than the program is refused."""
    current, newest = current_revision(database), newest_revision()
    if current == newest:
        return False
    if current is not None and _number(current) > _number(newest):
        raise RuntimeError(f"The database is at {current}, newer than this program knows ({newest}).")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    with database.engine().begin() as connection:
        if database.url.get_backend_name() == "sqlite":
            # All or nothing: SQLite's driver was told not to begin transactions by itself.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def _number(revision: str) -> int:
    match = re.match(r"\d+", revision)
    return int(match.group()) if match else 0
