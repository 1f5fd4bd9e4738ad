"""Reads of the archive.

Each read sees one snapshot of the database, its position included, so that an answer is never put together from before
and after a batch (or a rebuild). A read that needs what the archive has not got yet answers None.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, Select, and_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from chassis.database import Database, DatabaseUnavailable
from chat_service import models
from chat_service.pages import first_that_fit
from chat_service.room import Member, Recalled, Removed, RoomState, receipt
from protocol.commands import History, ReadHistory, Room
from protocol.events import MESSAGE, Event, User

MAX_AUTHORED = 10_000
"""Most ids of one author that are read at once: some 30 ms of work."""

_events = models.events.c
_rooms = models.rooms.c
_members = models.members.c


@dataclass(frozen=True, slots=True)
class Position:
    """How far the archive has come in which log."""

    epoch: str
    sequence: int

    def has(self, epoch: str, sequence: int) -> bool:
        """Tell whether everything up to `sequence` of the log `epoch` is archived."""
        return self.epoch == epoch and self.sequence >= sequence


@dataclass(frozen=True, slots=True)
class Newest:
    """The archived event with the highest stream sequence."""

    event: Event
    sequence: int


class Queries:
    """Questions to the archive. Each raises `DatabaseUnavailable` when the database does not answer."""

    def __init__(self, database: Database, receipts_kept: int) -> None:
        self._database = database
        self._receipts_kept = receipts_kept
        self.migrated = False
        """Whether the tables are there; until then every question counts as asked of a database that is away."""
        self.fits = False
        """Whether the archive was found to be of the log that is there; until then it is not believed."""

    @asynccontextmanager
    async def _snapshot(self) -> AsyncIterator[tuple[AsyncConnection, Position]]:
        """Open a transaction that sees the database as it is at one moment; yield it with the archive's position."""
        if not self.migrated:
            raise DatabaseUnavailable("not migrated yet")
        async with self._database.begin() as connection:
            begin = "BEGIN" if self._database.sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
            await connection.exec_driver_sql(begin)
            row = (await connection.execute(select(models.position))).one()
            yield connection, Position(row.epoch, row.sequence)

    async def position(self) -> Position:
        """Return how far the archive has come."""
        async with self._snapshot() as (_, position):
            return position

    async def newest(self) -> Newest | None:
        """Return the newest event of the archive; None when it has none."""
        asked = select(models.events).order_by(_events.sequence.desc()).limit(1)
        async with self._snapshot() as (connection, _):
            row = (await connection.execute(asked)).mappings().one_or_none()
        return Newest(_event(row), row["sequence"]) if row is not None else None

    async def state(self, room: str, epoch: str) -> RoomState | None:
        """Return the state of `room` as archived from the log `epoch`; None when there is none."""
        async with self._snapshot() as (connection, position):
            if not self.fits or position.epoch != epoch:
                return None
            row = (await connection.execute(select(models.rooms).where(_rooms.id == room))).one_or_none()
            if row is None:
                return None
            state = RoomState(
                room,
                self._receipts_kept,
                row.name,
                True,
                row.created_by,
                row.sequence,
                row.offset,
                row.number,
                row.time,
            )
            there = select(models.members).where(_members.room == room).order_by(_members.joined_offset)
            for member in await connection.execute(there):
                state.members[member.user_id] = Member(member.name, member.joined_offset)
            for one in await connection.execute(select(models.removed).where(models.removed.c.room == room)):
                state.removed[one.user_id] = Removed(one.name, one.removed_offset)
            newest = (
                select(models.events)
                .where(_events.room == room, _events.type == MESSAGE)
                .order_by(_events.number.desc())
                .limit(self._receipts_kept)
            )
            for message in reversed((await connection.execute(newest)).mappings().all()):
                state.remember(message["user_id"], _event(message))
            return state

    async def recall(self, room: str, epoch: str, user: str, client_id: str, *, all_ids: bool = True) -> Recalled:
        """Return what the archive knows of the message id `client_id` of `user` in `room`.

        `all_ids`: of all that user's ids there as well, unless they are too many.
        """
        authored = and_(
            _events.room == room,
            _events.user_id == user,
            _events.type == literal(MESSAGE, literal_execute=True),  # spelled out: the index is partial
        )
        async with self._snapshot() as (connection, position):
            if not self.fits or position.epoch != epoch:
                return Recalled(None, 0)
            through = (await connection.execute(select(_rooms.number).where(_rooms.id == room))).scalar_one_or_none()
            this = select(models.events).where(authored, _events.client_id == client_id)
            row = (await connection.execute(this)).mappings().one_or_none()
            if row is not None:
                return Recalled(receipt(_event(row)), through or 0)
            if not all_ids:
                return Recalled(None, through or 0)
            wanted = select(_events.client_id).where(authored).limit(MAX_AUTHORED + 1)
            ids = (await connection.execute(wanted)).scalars().all()
            too_many = len(ids) > MAX_AUTHORED
            return Recalled(None, through or 0, None if too_many else ids, too_many)

    async def history(self, ask: ReadHistory, epoch: str, sequence: int) -> History | None:
        """Return a page of the events of a room; None while the archive has not reached `sequence`."""
        async with self._snapshot() as (connection, position):
            if not self.fits or not position.has(epoch, sequence):
                return None
            rows = (await connection.execute(_page(ask))).mappings().all()
        found = first_that_fit([_event(row) for row in rows[: ask.limit]])
        if ask.after is None:
            found.reverse()
        return History(found, len(rows) > len(found))

    async def rooms(self, user: str, limit: int, epoch: str, sequence: int) -> list[Room] | None:
        """Return rooms as `user` sees them, own ones first, then the oldest; None as in `history`."""
        is_member = _members.user_id.is_not(None)
        asked = (
            select(models.rooms, is_member.label("member"))
            .select_from(models.rooms.outerjoin(models.members, _own(user)))
            .order_by(is_member.desc(), _rooms.created_at, _rooms.id)
            .limit(limit)
        )
        async with self._snapshot() as (connection, position):
            if not self.fits or not position.has(epoch, sequence):
                return None
            rows = (await connection.execute(asked)).all()
        return first_that_fit([Room(row.id, row.name, bool(row.member), row.members, row.number) for row in rows])

    async def counts(self) -> dict[str, int]:
        """Return how many rows each table of the archive has."""
        tables = (models.rooms, models.members, models.events)
        async with self._snapshot() as (connection, _):
            return {
                table.name: (await connection.execute(select(func.count()).select_from(table))).scalar_one()
                for table in tables
            }


def _own(user: str) -> Any:
    return and_(_members.room == _rooms.id, _members.user_id == user)


def _page(ask: ReadHistory) -> Select[Any]:
    """Select one event more than asked for: it tells whether there are more."""
    page = select(models.events).where(_events.room == ask.room).limit(ask.limit + 1)
    if ask.after is not None:
        return page.where(_events.offset > ask.after).order_by(_events.offset)
    if ask.before is not None:
        page = page.where(_events.offset < ask.before)
    return page.order_by(_events.offset.desc())


def _event(row: RowMapping) -> Event:
    return Event(
        v=row["v"],
        type=row["type"],
        room=row["room"],
        offset=row["offset"],
        user=User(row["user_id"], row["user_name"]),
        time=row["time"],
        number=row["number"],
        id=row["client_id"],
        text=row["text"],
        name=row["name"],
        by=User(row["by_id"], row["by_name"]) if row["by_id"] is not None else None,
    )
