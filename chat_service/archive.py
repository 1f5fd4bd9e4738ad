"""The archive: the log of all rooms carried into SQL, in order, once.

The table `chat_position` says how far it has come. A batch and the position behind it are one transaction, which begins
by moving the position from where this process believes it to be: of two replicas on one database the slower finds it
moved, and drops its batch. So a batch is applied once and in order, whoever is killed and whenever.
"""

import asyncio
import contextlib
import time
from collections.abc import Sequence

from sqlalchemy import delete, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis import failpoints, logs
from chassis.bus import BusError
from chassis.database import Database, DatabaseUnavailable
from chassis.streams import Record, StreamState
from chat_service import batches, metrics, models
from chat_service.fitting import misfit
from chat_service.heard import Heard
from chat_service.log import Log, Poison, event_of
from chat_service.notices import Notices
from chat_service.queries import Position, Queries
from chat_service.rooms import Rooms
from chat_service.settings import Settings
from protocol.events import Event

log = logs.get(__name__)

BEHIND = "the archive has not caught up with the log yet"


class Archive:
    """Reads the log behind the position and stores it."""

    def __init__(
        self,
        database: Database,
        queries: Queries,
        room_log: Log,
        rooms: Rooms,
        heard: Heard,
        notices: Notices,
        settings: Settings,
    ) -> None:
        self._database = database
        self._queries = queries
        self._log = room_log
        self._rooms = rooms
        self._heard = heard
        self._notices = notices
        self._settings = settings
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._seen = StreamState("", 0, 0)
        self._look_at = 0.0
        self._missing: str | None = BEHIND
        self._misfit: str | None = None
        self._outages = 1
        self._compared = 0
        self.moved = asyncio.Event()
        """Set, and replaced by another, each time the archiver has done what it could."""

    async def ready(self) -> str | None:
        """Health check: None once the archive has caught up with the log since the start."""
        return self._misfit or self._missing

    def compare_again(self) -> None:
        """Tell that NATS was away: it may have come back with another log."""
        self._outages += 1

    def wake(self) -> None:
        """Tell that the log has grown."""
        self._wake.set()

    def hurry(self) -> None:
        """Tell that a read waits for the archive: do not let records gather."""
        self._hurry.set()
        self._wake.set()

    async def run(self) -> None:
        """Keep the archive up to date; for ever, whatever is away meanwhile."""
        pause = 0.0
        while True:
            try:
                more = await self.step()
                pause = 0.0
            except (BusError, DatabaseUnavailable, SQLAlchemyError) as error:
                cause = "log" if isinstance(error, BusError) else "database"
                metrics.archive_failures.labels(cause).inc()
                # The class alone: what SQLAlchemy says may quote what a person wrote.
                log.warning("archive waits", cause=cause, error=type(error).__name__)
                pause = min(max(pause * 2, 0.1), self._settings.chat_archive_retry_seconds)
                await self._rest(pause)
                continue
            self._tell_moved()
            if not more:
                await self._idle()

    async def step(self) -> bool:
        """Store the next batch; return whether there may be more."""
        position = await self._queries.position()
        doubted = self._compared < self._outages  # then nothing is taken before it was compared
        if doubted or time.monotonic() >= self._look_at or position.epoch != self._log.epoch:
            position = await self._look(position)
        if self._misfit is not None:
            return False
        records = await self._behind(position.sequence, self._settings.chat_archive_batch)
        if not records:
            self._reached(position.sequence)
            return False
        failpoints.reach("archive.consumed")
        stored = await self.store(position, records)
        failpoints.reach("archive.stored")
        metrics.archive_batches.labels("stored" if stored else "lost").inc()
        metrics.archive_position.set(records[-1].sequence if stored else position.sequence)
        metrics.archive_lag.set(max(0, self._seen.last - records[-1].sequence))
        if not stored or len(records) == self._settings.chat_archive_batch:
            return True
        # Below a whole batch it has caught up; the next one is cheaper per record when there are more in it.
        self._reached(records[-1].sequence)
        return False

    async def _behind(self, sequence: int, limit: int) -> list[Record]:
        """Return up to `limit` records behind `sequence`, in order: as they were heard, else out of the log."""
        self._log.require()
        heard = self._heard.after(sequence, limit)
        records = heard or await self._log.read(sequence, limit)
        metrics.archive_records.labels("heard" if heard else "log").inc(len(records))
        return records

    def _reached(self, sequence: int) -> None:
        """Take note that nothing behind `sequence` was in the log a moment ago."""
        if self._missing == BEHIND and sequence >= self._seen.last:
            self._missing = None
            log.info("archive caught up", sequence=sequence)

    async def _look(self, position: Position) -> Position:
        """Compare archive, cached rooms and log; an empty archive is put at the beginning of the log."""
        self._look_at = time.monotonic() + self._settings.chat_archive_idle_seconds
        state = await self._log.state()
        if state.epoch == self._seen.epoch:
            self._rooms.check(self._seen.last)
        self._seen = state
        metrics.archive_lag.set(max(0, state.last - position.sequence))
        metrics.archive_position.set(position.sequence)
        if position.sequence == 0 and position.epoch != state.epoch:
            await self.wipe(position, state.epoch)
            position = await self._queries.position()
        if self._compared < self._outages or self._misfit is not None or position.epoch != state.epoch:
            await self._judge(position, state)
        return position

    async def _judge(self, position: Position, state: StreamState) -> None:
        """Find out whether the archive is of this log. While it is not, it is neither read nor written."""
        outages = self._outages
        newest = await self._queries.newest()
        record = await self._log.at(newest.sequence) if newest is not None else None
        self._compared = outages
        found = misfit(position, state, newest, record)
        if found == self._misfit and self._queries.fits == (found is None):
            return
        self._misfit = found
        self._queries.fits = found is None
        metrics.archive_misfit.set(found is not None)
        if found is not None:
            log.error("archive does not fit the log", reason=found, archive=position.sequence, log=state.last)
            self._rooms.forget_all()  # what was read of them may come from that archive
        else:
            self._missing = BEHIND

    async def wipe(self, position: Position, epoch: str) -> bool:
        """Empty the archive and put it at the beginning of the log `epoch`; False when it was not at `position`."""
        async with self._database.begin() as connection:
            if not await _move(connection, position, Position(epoch, 0)):
                return False
            for table in (models.events, models.members, models.removed, models.rooms):
                await connection.execute(delete(table))
        log.info("archive begins anew", epoch=epoch, before=position.sequence)
        return True

    async def begin_anew(self, epoch: str) -> None:
        """Empty the archive, wherever it is, to be made again from the log `epoch`."""
        while not await self.wipe(await self._queries.position(), epoch):
            pass

    async def store(self, position: Position, records: Sequence[Record]) -> bool:
        """Archive `records`, which follow `position`; False when another replica was first."""
        readable: list[tuple[Event, int]] = []
        poison: list[tuple[int, str]] = []
        for record in records:
            try:
                readable.append((event_of(record), record.sequence))
            except Poison as error:
                poison.append((record.sequence, str(error)))
        await self._notices.tell_members([event for event, _ in readable])
        async with self._database.begin() as connection:
            if not await _move(connection, position, Position(position.epoch, records[-1].sequence)):
                return False
            if readable:
                await batches.write(connection, readable)
        for sequence, reason in poison:
            metrics.poison.inc()
            log.error("record of the room log skipped", sequence=sequence, reason=reason)
        return True

    async def _rest(self, seconds: float) -> None:
        """Pause before another attempt; NATS coming back, or a read that waits, ends the pause."""
        self._hurry.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurry.wait(), seconds)

    def _tell_moved(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()

    async def _idle(self) -> None:
        """Wait for news or the next look; then let records gather unless somebody waits for them."""
        try:
            await asyncio.wait_for(self._wake.wait(), self._settings.chat_archive_idle_seconds)
            await asyncio.wait_for(self._hurry.wait(), self._settings.chat_archive_gather_seconds)
        except TimeoutError:
            pass
        self._wake.clear()
        self._hurry.clear()


async def _move(connection: AsyncConnection, before: Position, after: Position) -> bool:
    """Move the position; False when it is not where it was thought to be. Must come first: it takes the write lock."""
    table = models.position
    moved = await connection.execute(
        update(table)
        .where(table.c.epoch == before.epoch, table.c.sequence == before.sequence)
        .values(epoch=after.epoch, sequence=after.sequence)
    )
    return moved.rowcount == 1
