"""A service's own SQL database: engine, sessions, migrations.

SQLite in the data directory is the embedded default; PostgreSQL when a database URL is set.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis import logs

log = logs.get(__name__)

POOL_SIZE = 5
POOL_WAIT_SECONDS = 2
BUSY_MILLISECONDS = 5000
RETRY_SECONDS = 0.5
LOCK_SECONDS = 60
"""How long a migration waits for another one, and for whatever holds the tables."""
_LOCK_NOT_AVAILABLE = "55P03"


BEHIND = "schema is behind: run migrate"


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class Schema:
    """How the tables stand to what this version of the service needs.

    `found` is their revision ("" before the first), `needed` the newest one that this version has, `steps` the names
    of those between: what is missing, or what has just been done. `newer` tables are of a later version; they serve
    this one as well, since migrations only add within a minor version (docs/operations.md).
    """

    found: str
    needed: str
    steps: tuple[str, ...] = ()
    newer: bool = False

    @property
    def behind(self) -> bool:
        """Whether steps are missing."""
        return self.found != self.needed and not self.newer

    def told(self) -> str:
        """Say in a line what a migration that found this did."""
        if self.newer:
            return f"the schema ({self.found}) is newer than this version ({self.needed}); nothing was changed"
        if not self.behind:
            return f"the schema is up to date ({self.found}); nothing was changed"
        return f"the schema went from {self.found or 'nothing'} to {self.needed}: {', '.join(self.steps)}"


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

    def __init__(self, url: str, *, derived: bool = False) -> None:
        """`derived`: all that is in it is made from what is kept elsewhere, so a power cut may take the last commits of
        SQLite. PostgreSQL would lose them also when it is killed, and tables with them: it goes on syncing each.
        """
        self.sqlite = url.startswith("sqlite")
        self._behind = False
        self.engine: AsyncEngine = create_async_engine(
            url,
            pool_size=POOL_SIZE,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_pre_ping=not self.sqlite,
            hide_parameters=True,  # an error that quotes them would put what people wrote into the log
        )
        if self.sqlite:
            event.listen(self.engine.sync_engine, "connect", _tune_lax_sqlite if derived else _tune_sqlite)

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
        """Health check: None when a query is answered, and nobody waits for the schema."""
        try:
            async with self.begin() as connection:
                await connection.execute(text("SELECT 1"))
        except DatabaseUnavailable as error:
            return f"database: {error}"
        return BEHIND if self._behind else None

    async def migrate(self, scripts: Path, version_table: str) -> Schema:
        """Bring the schema up to date with the Alembic scripts in `scripts`; return how it stood before.

        Any number of processes may do so at once: one works, the others wait up to `LOCK_SECONDS` and find it done.
        Raises `DatabaseUnavailable`; then nothing was changed.
        """

        def run(connection: Connection) -> Schema:
            config = _config(scripts, version_table)
            before = _schema(connection, config)
            if before.behind:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            return before

        async with self._schema_work() as connection:
            # A killed process leaves nothing half done: Python's sqlite3 would commit each CREATE by itself.
            if self.sqlite:
                await connection.exec_driver_sql("BEGIN IMMEDIATE")
            else:
                await connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": version_table})
            return await connection.run_sync(run)

    async def schema(self, scripts: Path, version_table: str) -> Schema:
        """Return how the schema stands, without changing it; raise `DatabaseUnavailable`."""
        async with self._schema_work() as connection:
            return await connection.run_sync(lambda sync: _schema(sync, _config(scripts, version_table)))

    async def prepare(self, scripts: Path, version_table: str, *, migrate: bool) -> None:
        """Return when the schema is there: by `migrate`, or else by waiting for whoever does it."""
        while True:
            try:
                found = await (self.migrate if migrate else self.schema)(scripts, version_table)
            except DatabaseUnavailable as error:
                log.warning("database not there yet", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if migrate or not found.behind:
                break
            if not self._behind:
                log.warning("schema is behind, waiting for migrate", revision=found.found, needed=found.needed)
            self._behind = True
            await asyncio.sleep(RETRY_SECONDS)
        self._behind = False
        if found.newer:
            log.warning("schema is newer than this service", revision=found.found, needed=found.needed)

    @asynccontextmanager
    async def _schema_work(self) -> AsyncIterator[AsyncConnection]:
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (OSError, TimeoutError) as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
                raise DatabaseUnavailable("another migration goes on") from error
            if not _is_outage(error):
                raise
            raise DatabaseUnavailable(type(error).__name__) from error


def _config(scripts: Path, version_table: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts))
    config.attributes["version_table"] = version_table
    return config


def _schema(connection: Connection, config: Config) -> Schema:
    context = MigrationContext.configure(connection, opts={"version_table": config.attributes["version_table"]})
    found = context.get_current_revision() or ""
    script = ScriptDirectory.from_config(config)
    known = [(one.revision, f"{one.revision} {one.doc}".rstrip(".")) for one in script.walk_revisions()]  # newest first
    needed = known[0][0]
    if found and found not in dict(known):
        return Schema(found, needed, newer=True)
    missing = itertools.takewhile(lambda one: one[0] != found, known)
    return Schema(found, needed, tuple(name for _, name in missing)[::-1])


def _is_outage(error: DBAPIError) -> bool:
    if error.connection_invalidated or isinstance(error.orig, OSError):
        return True
    if any(words in str(error.orig) for words in ("locked", "disk is full")):  # SQLite
        return True
    # PostgreSQL answers so while it starts, stops, or has no connection left (SQLSTATE classes 08, 53, 57P).
    return str(getattr(error.orig, "sqlstate", None)).startswith(("08", "53", "57P"))


def _tune_sqlite(connection: Any, _record: Any, synchronous: str = "FULL") -> None:
    """WAL lets readers go on while one writes; FULL makes a commit survive a power cut, NORMAL the database alone."""
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={synchronous}",
        f"busy_timeout={BUSY_MILLISECONDS}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _tune_lax_sqlite(connection: Any, record: Any) -> None:
    _tune_sqlite(connection, record, "NORMAL")


def alembic_connection() -> tuple[Connection, str]:
    """Return the connection and version table that `Database.migrate` handed to an Alembic environment."""
    from alembic import context  # importable only while Alembic runs an environment

    connection: Connection = context.config.attributes["connection"]
    table: str = context.config.attributes["version_table"]
    return connection, table
