"""Alembic's environment: migrates over the connection that the service hands it."""

from alembic import context

from auth_service.models import metadata
from chassis.database import alembic_connection

connection, version_table = alembic_connection()
context.configure(connection=connection, target_metadata=metadata, version_table=version_table)
with context.begin_transaction():
    context.run_migrations()
