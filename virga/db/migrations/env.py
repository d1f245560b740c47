"""Alembic's entry: runs the migrations on the connection that virga.db.migrate hands over."""

from alembic import context

from virga.db.metadata import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    # Each file names its revision in full, longer than Alembic's default column.
    version_table_pk=True,
)
with context.begin_transaction():
    context.run_migrations()
