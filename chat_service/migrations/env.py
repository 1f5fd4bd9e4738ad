"""Alembic environment: runs on the connection that `chassis.database` hands over."""

from alembic import context

from chassis.database import alembic_connection
from chat_service import models

connection, version_table = alembic_connection()
context.configure(
    connection=connection,
    target_metadata=models.metadata,
    version_table=version_table,
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
