"""Run by alembic: migrate over the connection the program already holds."""

from __future__ import annotations

from alembic import context

from dpjupyter.engine.ledger.schema import metadata

_attributes = context.config.attributes
context.configure(connection=_attributes["connection"], target_metadata=metadata, version_table=_attributes["version_table"])
with context.begin_transaction():
    context.run_migrations()
