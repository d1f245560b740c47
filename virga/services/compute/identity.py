"""What Compute asks of Identity: whether a project exists."""

from __future__ import annotations

from sqlalchemy import select

from virga.db.tx import Tx
from virga.services.compute.faults import Invalid
from virga.services.identity.models import project


def verify_project(tx: Tx, project_id: str) -> None:
    """Raise Invalid unless there is such a project."""
    if tx.first(select(project.c.id).where(project.c.id == project_id)) is None:
        raise Invalid(f"Project ID {project_id} is not a valid project.")
