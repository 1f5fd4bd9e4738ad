"""The rooms this process knows: their states, a lock for each, and what keeps them fresh.

A state is always true of some prefix of the room's log. It is *fresh* while the live subjects have been heard without a
gap since it was read; a state that is not fresh is brought up to date from the log before anything is decided on it.
Freshness saves reading, it is never relied on for what is written (compare-and-set decides there) nor for a "no" (the
log is asked first).
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from chassis import logs
from chassis.bus import Unavailable
from chassis.database import DatabaseUnavailable
from chassis.streams import Record
from chat_service import metrics
from chat_service.log import Log, Poison, event_of, offset_of
from chat_service.room import RoomState

log = logs.get(__name__)

Snapshot = Callable[[str, str], Awaitable[RoomState | None]]
"""Room and epoch -> what the archive has of that room, or None."""


@dataclass(slots=True)
class Room:
    """A room's place in the cache. Whoever appends holds `lock`; `state.apply` needs no lock."""

    state: RoomState
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    loaded: bool = False
    fresh: bool = False


class Rooms:
    """A bounded cache of rooms, the least recently used of which go first."""

    def __init__(self, room_log: Log, snapshot: Snapshot, cached: int, receipts_kept: int) -> None:
        self._log = room_log
        self._snapshot = snapshot
        self._cached = cached
        self._receipts_kept = receipts_kept
        self._rooms: OrderedDict[str, Room] = OrderedDict()
        self.heard = 0
        """Stream sequence of the newest record heard on the live subjects; 0 when none was since the last loss."""

    def get(self, room: str) -> Room:
        """Return the place of `room`, with a state that may know nothing yet."""
        found = self._rooms.get(room)
        if found is None:
            found = self._rooms[room] = Room(RoomState(room, self._receipts_kept))
            self._shrink()
            metrics.rooms_cached.set(len(self._rooms))
        self._rooms.move_to_end(room)
        return found

    def _forget(self, room: Room) -> None:
        room.state = RoomState(room.state.id, self._receipts_kept)
        room.loaded = room.fresh = False

    def keep(self, room: Room) -> None:
        """Have a room that exists from now on in the cache: while it was not, `refresh` took it out."""
        self._rooms.setdefault(room.state.id, room)
        self._shrink()

    def forget_all(self, _epoch: str = "") -> None:
        """Drop every state: the log they were read from is not there any more."""
        self.heard = 0
        for room in self._rooms.values():
            self._forget(room)

    def doubt_all(self) -> None:
        """Let no state count as fresh: something may have been missed."""
        self.heard = 0
        for room in self._rooms.values():
            room.fresh = False

    async def refresh(self, room: Room) -> None:
        """Bring the state up to the end of the log; the caller holds the lock. Cancelled, it keeps what it has read."""
        # Marked before reading: a gap noticed while we read must not be overwritten afterwards.
        room.fresh = True
        try:
            if not room.loaded:
                await self._load(room)
            state = room.state
            async for record in self._log.tail(state.id, state.sequence):
                _take_in(state, record)
        except BaseException:  # also cancellation: the rest of the log has not been read
            room.fresh = False
            raise
        if not room.state.sequence:
            self._rooms.pop(room.state.id, None)  # no such room: must not push real ones out of the cache

    async def replay(self, room: Room) -> None:
        """Read the state anew from the log alone; whoever calls holds the lock."""
        self._forget(room)
        room.loaded = True
        await self.refresh(room)

    async def _load(self, room: Room) -> None:
        """Begin with what the archive has; without it the log alone will do, it only takes longer."""
        metrics.room_loads.inc()
        empty = room.state
        try:
            snapshot = await self._snapshot(empty.id, self._log.epoch)
        except DatabaseUnavailable:
            snapshot = None
        if room.state is not empty:
            raise Unavailable("the room log changed while it was read")
        if snapshot is not None and snapshot.sequence > empty.sequence:
            room.state = snapshot
        room.loaded = True

    def hear(self, record: Record) -> None:
        """Take in a record from the live subjects: every record of the stream passes there, in order."""
        if self.heard and record.sequence > self.heard + 1:
            metrics.gaps.inc()
            log.info("live subjects skipped records", after=self.heard, heard=record.sequence)
            self.doubt_all()
        self.heard = max(self.heard, record.sequence)
        room = self._rooms.get(record.subject.split(".")[1])
        if room is None or record.sequence <= room.state.sequence:
            return
        if room.fresh and offset_of(record) == room.state.offset + 1:
            _take_in(room.state, record)
        else:
            room.fresh = False

    def check(self, last: int) -> None:
        """Compare what was heard with where the log ended a while ago: nothing follows a lost last record."""
        if self.heard < last:
            if self.heard:
                metrics.gaps.inc()
            self.doubt_all()
            self.heard = last

    def _shrink(self) -> None:
        """Drop the least recently used places that nobody is working in."""
        if len(self._rooms) > self._cached:
            for name, room in list(self._rooms.items())[: len(self._rooms) - self._cached]:
                if not room.lock.locked():
                    del self._rooms[name]


def _take_in(state: RoomState, record: Record) -> None:
    try:
        state.apply(event_of(record), record.sequence)
    except Poison:
        state.skip(offset_of(record), record.sequence)
