"""What makes a cached room fresh, and what makes it doubtful."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chassis.bus import Unavailable
from chassis.database import DatabaseUnavailable
from chassis.streams import Record
from chat_service.room import RoomState
from chat_service.rooms import Room, Rooms
from protocol import events, subjects
from protocol.events import Event, User

ADA = User("ada", "Ada")


def record(room: str, offset: int, sequence: int) -> Record:
    """Return a record: `created` first, joins of other users after it."""
    kind = events.JOINED if offset > 1 else events.CREATED
    event = Event(v=1, type=kind, room=room, offset=offset, user=User(f"u{offset}", "U"), time=offset)
    return Record(sequence, subjects.room_log(room), {subjects.OFFSET: str(offset)}, events.encode(event))


class MemoryLog:
    """Stands for `log.Log`; breaks off before the record `broken_at`."""

    epoch = "e1"

    def __init__(self, *records: Record) -> None:
        self.records = list(records)
        self.broken_at = 0
        self.read = 0

    async def tail(self, room: str, after: int) -> AsyncIterator[Record]:
        """Yield the records of `room` behind `after`."""
        for found in self.records:
            if found.subject == subjects.room_log(room) and found.sequence > after:
                if found.sequence == self.broken_at:
                    raise Unavailable("broken")
                self.read += 1
                yield found


def rooms_on(log: MemoryLog, cached: int = 10, snapshot: RoomState | None = None, away: bool = False) -> Rooms:
    """Return a cache over `log`, with an archive that has `snapshot`, or that is away."""

    async def ask(_room: str, _epoch: str) -> RoomState | None:
        await asyncio.sleep(0)
        if away:
            raise DatabaseUnavailable("away")
        return snapshot

    any_log: Any = log
    return Rooms(any_log, ask, cached, 4)


async def loaded(rooms: Rooms, name: str) -> Room:
    """Return a room that has been read."""
    room = rooms.get(name)
    await rooms.refresh(room)
    return room


async def test_a_record_heard_in_order_keeps_the_room_fresh() -> None:
    """The next record of a room is taken from the live subjects, without reading the log."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1)))
    room = await loaded(rooms, "a")

    rooms.hear(record("a", 2, 2))

    assert (room.fresh, room.state.offset) == (True, 2)


async def test_a_gap_makes_every_room_doubtful() -> None:
    """A skipped sequence may have been of any room."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1), record("b", 1, 2)))
    a, b = await loaded(rooms, "a"), await loaded(rooms, "b")
    rooms.hear(record("b", 1, 2))

    rooms.hear(record("c", 1, 4))

    assert (a.fresh, b.fresh) == (False, False)


async def test_a_missed_offset_makes_the_room_doubtful() -> None:
    """An event that is not the next one is not taken in."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1)))
    room = await loaded(rooms, "a")

    rooms.hear(record("a", 3, 9))

    assert (room.fresh, room.state.offset) == (False, 1)


async def test_a_lost_last_record_is_found_by_the_check() -> None:
    """Nothing follows it on the live subjects; the log's end shows it."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1)))
    room = await loaded(rooms, "a")
    rooms.hear(record("a", 1, 1))
    rooms.check(1)
    assert room.fresh

    rooms.check(2)

    assert not room.fresh


async def test_a_reading_that_breaks_off_is_continued() -> None:
    """What was read stays, the room does not count as fresh, and the next reading begins where this one ended."""
    log = MemoryLog(*(record("a", n, n) for n in range(1, 6)))
    log.broken_at = 4
    rooms = rooms_on(log)
    room = rooms.get("a")
    with pytest.raises(Unavailable):
        await rooms.refresh(room)
    assert (room.fresh, room.state.offset) == (False, 3)
    log.broken_at = 0

    await rooms.refresh(room)

    assert (room.fresh, room.state.offset, log.read) == (True, 5, 5)


async def test_a_gap_noticed_while_reading_is_not_forgotten() -> None:
    """The room is read to the end and still counts as doubtful."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1)))
    room = rooms.get("a")
    reading = asyncio.create_task(rooms.refresh(room))
    await asyncio.sleep(0)
    rooms.doubt_all()
    await reading

    assert not room.fresh


async def test_a_log_that_is_gone_takes_its_rooms_with_it() -> None:
    """With a new epoch states begin empty; a snapshot of the old log that arrives late is not used."""
    old = RoomState("a", 4, "Old", True, 9, 9)
    rooms = rooms_on(MemoryLog(record("a", 1, 1)), snapshot=old)
    room = rooms.get("a")
    reading = asyncio.create_task(rooms.refresh(room))
    await asyncio.sleep(0)
    rooms.forget_all()

    with pytest.raises(Unavailable):
        await reading
    assert (room.fresh, room.loaded, room.state.sequence) == (False, False, 0)


async def test_without_the_archive_the_log_will_do() -> None:
    """A room is read from its beginning while the database is away."""
    rooms = rooms_on(MemoryLog(record("a", 1, 1), record("a", 2, 2)), away=True)

    assert (await loaded(rooms, "a")).state.offset == 2


async def test_a_snapshot_saves_reading() -> None:
    """Only what follows the archive is read from the log."""
    log = MemoryLog(*(record("a", n, n) for n in range(1, 6)))
    rooms = rooms_on(log, snapshot=RoomState("a", 4, "A", True, 4, 4))

    assert (await loaded(rooms, "a")).state.offset == 5
    assert log.read == 1


async def test_the_least_used_room_goes_first() -> None:
    """The cache is bounded; a room in which somebody works stays."""
    rooms = rooms_on(MemoryLog(*(record(name, 1, n) for n, name in enumerate("abcd", 1))), cached=2)
    a, b = await loaded(rooms, "a"), await loaded(rooms, "b")
    async with a.lock:
        await loaded(rooms, "c")
        assert rooms.get("a") is a
    await loaded(rooms, "d")

    assert rooms.get("b") is not b
