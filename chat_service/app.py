"""The composition root: every part of the service is built here, and closed in reverse order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from chassis import app as frame
from chassis import logs, process
from chassis.bus import Bus, Message
from chassis.database import Database, database_url
from chassis.health import Health
from chassis.lifecycle import Background
from chassis.streams import record
from chat_service import endpoints
from chat_service.archive import Archive
from chat_service.heard import Heard
from chat_service.heartbeat import Heartbeat
from chat_service.log import Log
from chat_service.methods import Methods
from chat_service.notices import Notices
from chat_service.queries import Queries
from chat_service.revocations import Revocations
from chat_service.rooms import Rooms
from chat_service.settings import Settings
from chat_service.worker import Worker
from protocol import subjects

log = logs.get(__name__)

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "chat_alembic_version"
HEARD_BATCHES = 2
"""Batches of the archive that are kept as they were heard: one on its way into SQL, and what comes meanwhile."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a chat service, not yet running."""

    bus: Bus
    database: Database
    log: Log
    rooms: Rooms
    heard: Heard
    queries: Queries
    archive: Archive
    notices: Notices
    methods: Methods
    heartbeat: Heartbeat


def build(settings: Settings) -> Parts:
    """Put the parts together; nothing is connected yet."""
    bus = Bus(settings, settings.SERVICE)
    # Each sync that the archive does without is one more for NATS, where they share a disk.
    database = Database(database_url(settings.database_url, settings.data_dir, settings.SERVICE), derived=True)
    room_log = Log(bus, settings.nats_replicas, settings.chat_duplicate_window_seconds)
    queries = Queries(database, settings.chat_receipts)
    rooms = Rooms(room_log, queries.state, settings.chat_rooms_cached, settings.chat_receipts)
    notices = Notices(bus, settings.nats_replicas)
    heard = Heard(HEARD_BATCHES * settings.chat_archive_batch)
    archive = Archive(database, queries, room_log, rooms, heard, notices, settings)
    methods = Methods(room_log, rooms, queries, archive, notices, settings)
    room_log.on_epoch(rooms.forget_all)
    room_log.on_epoch(lambda _epoch: heard.forget())
    bus.on_disconnect(rooms.doubt_all)
    bus.on_disconnect(heard.forget)
    bus.on_disconnect(archive.compare_again)
    bus.on_connect(archive.hurry)
    return Parts(bus, database, room_log, rooms, heard, queries, archive, notices, methods, Heartbeat(bus))


def create(settings: Settings) -> FastAPI:
    """Return the chat service's application. It starts whatever is away; readiness says what is missing."""
    health = Health()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            parts = build(settings)
            endpoints.require(health, parts.bus, parts.database, parts.log, parts.archive)
            stack.push_async_callback(parts.database.close)
            stack.push_async_callback(parts.bus.close)
            background = await stack.enter_async_context(Background())
            worker = Worker(background, settings.chat_in_flight, settings.chat_command_seconds)
            stack.push_async_callback(worker.drained, settings.chat_drain_seconds)
            stack.push_async_callback(parts.bus.withdraw)
            stack.callback(parts.heartbeat.leave)
            background.loop("bus", lambda: _connect(parts, worker))
            background.loop("revocations", lambda: _tell_revocations(parts))
            background.loop("archive", lambda: _keep_archive(parts, settings.migrate_on_start))
            process.settled()
            yield
            health.draining = True

    return frame.create("chat", settings, health, lifespan, openapi_url=None)


async def _connect(parts: Parts, worker: Worker) -> None:
    """Connect to NATS when it is there, listen, open the log, then take commands; keep the log open after that."""
    await parts.bus.connect()

    def hear(message: Message) -> None:
        found = record(message)
        parts.rooms.hear(found)
        parts.heard.add(found)
        parts.archive.wake()

    # Before any room is read: a state counts as fresh only if nothing can have been missed since.
    await parts.bus.subscribe(subjects.ROOM_LIVES, hear)
    await worker.offer(parts.bus, parts.methods, parts.heartbeat.process)

    async def prepare() -> None:
        await parts.notices.open()
        await parts.methods.make_general()

    async def tell() -> None:
        await parts.log.opened.wait()  # before that nothing can be decided
        await parts.heartbeat.beat()

    await asyncio.gather(parts.log.keep_open(prepare), tell())


async def _tell_revocations(parts: Parts) -> None:
    await parts.log.opened.wait()  # from then on the streams of users exist
    await Revocations(parts.bus, parts.notices).follow()


async def _keep_archive(parts: Parts, migrate: bool) -> None:
    await parts.database.prepare(MIGRATIONS, VERSION_TABLE, migrate=migrate)
    parts.queries.migrated = True
    await parts.archive.run()
