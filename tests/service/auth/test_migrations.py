"""The schema that migrations make is the one that the code expects."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from pydantic import SecretStr
from sqlalchemy import Connection

from auth_service import models
from auth_service.app import MIGRATIONS, open_database
from auth_service.settings import Settings


def differences(connection: Connection) -> list[Any]:
    """What a new migration would have to change."""
    mine = {"include_name": lambda name, kind, _: kind != "table" or (name or "").startswith("auth_")}
    context = MigrationContext.configure(connection, opts={"version_table": models.VERSION_TABLE, **mine})
    return list(compare_metadata(context, models.metadata))


async def test_migrations_make_the_models(database_url: str) -> None:
    """Migrating an empty database twice makes exactly the tables, columns and indexes of the models."""
    database = open_database(Settings(auth_database_url=SecretStr(database_url)))
    try:
        for _ in range(2):
            await database.migrate(MIGRATIONS, models.VERSION_TABLE)
        async with database.begin() as connection:
            assert await connection.run_sync(differences) == []
    finally:
        await database.close()
