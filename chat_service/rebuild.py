"""The commands that an operator runs beside the service."""

from chassis import logs
from chassis.database import Schema
from chat_service.app import MIGRATIONS, VERSION_TABLE, build
from chat_service.settings import Settings

log = logs.get(__name__)


async def migrate(settings: Settings) -> Schema:
    """Bring the archive's tables up to date; return how they stood before. Raises `DatabaseUnavailable`."""
    parts = build(settings)
    try:
        return await parts.database.migrate(MIGRATIONS, VERSION_TABLE)
    finally:
        await parts.database.close()


async def rebuild_archive(settings: Settings) -> None:
    """Empty the archive and make it again from the log. A running service helps, since it archives as well."""
    parts = build(settings)
    try:
        await parts.database.prepare(MIGRATIONS, VERSION_TABLE, migrate=settings.migrate_on_start)
        parts.queries.migrated = True
        await parts.bus.connect()
        state = await parts.log.open()
        await parts.notices.open()
        await parts.archive.begin_anew(state.epoch)
        while await parts.archive.step():
            pass
        counts = await parts.queries.counts()
    finally:
        await parts.bus.close()
        await parts.database.close()
    log.info("archive rebuilt", sequence=state.last, **counts)
