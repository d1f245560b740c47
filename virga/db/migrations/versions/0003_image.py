"""Tables of the Image service."""

from __future__ import annotations

revision = "0003_image"
down_revision = "0002_identity"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing yet."""
