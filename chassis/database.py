"""A service's own SQL database: engine, sessions, migrations.

SQLite in the data directory is the embedded default; PostgreSQL when a database URL is set.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis import logs

log = logs.get(__name__)

POOL_SIZE = 5
POOL_WAIT_SECONDS = 2
BUSY_MILLISECONDS = 5000


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or did not answer in time."""


def database_url(configured: str, directory: Path, name: str) -> str:
    """Return the async SQLAlchemy URL: `configured` (postgresql:// or sqlite://) or a file `name`.db in `directory`."""
    if not configured:
        directory.mkdir(parents=True, exist_ok=True)
        return f"sqlite+aiosqlite:///{directory / name}.db"
    for plain, driver in (("postgresql://", "postgresql+asyncpg://"), ("postgres://", "postgresql+asyncpg://")):
        if configured.startswith(plain):
            return driver + configured.removeprefix(plain)
    return configured.replace("sqlite:///", "sqlite+aiosqlite:///", 1)


class Database:
    """One engine; `begin` for a transaction."""

    def __init__(self, url: str) -> None:
        self.sqlite = url.startswith("sqlite")
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=POOL_SIZE,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_pre_ping=not self.sqlite,
            hide_parameters=True,  # an error that quotes them would put what people wrote into the log
        )
        if self.sqlite:
            event.listen(self.engine.sync_engine, "connect", _tune_sqlite)

    async def close(self) -> None:
        """Close every connection."""
        await self.engine.dispose()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction, committed at the end; raise `DatabaseUnavailable` when the database cannot do it.

        In SQLite a transaction holds the write lock from its first write on (others wait), and what it read before that
        may have changed: decide with an atomic UPDATE ... WHERE, in PostgreSQL as well.
        """
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (DBAPIError, OSError, TimeoutError) as error:
            if isinstance(error, DBAPIError) and not _is_outage(error):
                raise
            raise DatabaseUnavailable(type(error).__name__) from error
        except SQLAlchemyError as error:
            if "QueuePool limit" in str(error):
                raise DatabaseUnavailable("no free connection") from error
            raise

    async def ready(self) -> str | None:
        """Health check: None when a query is answered."""
        try:
            async with self.begin() as connection:
                await connection.execute(text("SELECT 1"))
        except DatabaseUnavailable as error:
            return f"database: {error}"
        return None

    async def migrate(self, scripts: Path, version_table: str) -> None:
        """Bring the schema up to date with the Alembic scripts in `scripts`."""

        def run(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", str(scripts))
            config.attributes["connection"] = connection
            config.attributes["version_table"] = version_table
            command.upgrade(config, "head")

        async with self.engine.begin() as connection:
            # Processes that start together migrate one after the other, and a killed one leaves nothing half done:
            # Python's sqlite3 would commit each CREATE by itself.
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": version_table})
            await connection.run_sync(run)

    async def migrate_when_there(self, scripts: Path, version_table: str) -> None:
        """`migrate`, as soon as the database can be reached."""
        while True:
            try:
                return await self.migrate(scripts, version_table)
            except (OSError, DBAPIError) as error:
                if isinstance(error, DBAPIError) and not _is_outage(error):
                    raise
                log.warning("database not there yet", error=type(error).__name__)
                await asyncio.sleep(0.5)


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error.orig, OSError) or "locked" in str(error.orig):
        return True
    # PostgreSQL answers so while it starts, stops, or has no connection left (SQLSTATE classes 08, 53, 57P).
    return str(getattr(error.orig, "sqlstate", None)).startswith(("08", "53", "57P"))


def _tune_sqlite(connection: Any, _record: Any) -> None:
    """WAL lets readers go on while one writes; FULL makes a commit survive a power cut."""
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MILLISECONDS}", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def alembic_connection() -> tuple[Connection, str]:
    """Return the connection and version table that `Database.migrate` handed to an Alembic environment."""
    from alembic import context  # importable only while Alembic runs an environment

    connection: Connection = context.config.attributes["connection"]
    table: str = context.config.attributes["version_table"]
    return connection, table
