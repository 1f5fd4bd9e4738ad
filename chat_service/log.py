"""The room log: append with compare-and-set, read back. The only place that writes it.

The stream is opened (made, or found) at the start and again after each loss of NATS. Until that has been done nothing
is decided: a NATS that came back empty has a new epoch, and what is remembered of the old log must go first.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from chassis import failpoints, logs
from chassis.appends import Stored
from chassis.bus import Bus, BusError, Unavailable
from chassis.streams import Record, Stream, StreamState
from chat_service import metrics
from protocol import events, subjects
from protocol.events import Event
from protocol.names import BadName

log = logs.get(__name__)

REOPEN_SECONDS = 0.25
MAX_NUMBER = 2**53
"""Above this JavaScript clients cannot count."""


class Poison(ValueError):
    """A record that is no event of ours; the message says why, without its content."""


def event_of(record: Record) -> Event:
    """Return the event in `record`; raise `Poison` when it is none, or not one that the archive can hold."""
    try:
        event = events.decode(record.body)
        room = subjects.room_of(record.subject)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadName) as error:
        raise Poison(type(error).__name__) from error
    if event.room != room:
        raise Poison("the event belongs to another room")
    if event.offset != offset_of(record) or event.offset < 1:
        raise Poison("header and event differ in offset")
    if not all(0 <= number <= MAX_NUMBER for number in (event.v, event.offset, event.number, event.time)):
        raise Poison("a number is out of range")
    by = (event.by.id, event.by.name) if event.by is not None else ()
    if any("\0" in text for text in (event.user.id, event.user.name, event.id, event.text, event.name, *by)):
        raise Poison("NUL in a text")  # PostgreSQL cannot store it
    return event


def offset_of(record: Record) -> int:
    """Return the offset header of `record`; 0 when it has none that is a number in range."""
    return record.offset if record.offset <= MAX_NUMBER else 0


class Log:
    """The stream of all room logs."""

    def __init__(self, bus: Bus, replicas: int, duplicate_window_seconds: int) -> None:
        self._bus = bus
        self._stream = Stream(bus, subjects.ROOMS_STREAM, metrics.group_offered)
        self._config = {
            "subjects": [subjects.ROOM_LOGS],
            "storage": "file",
            "retention": "limits",
            "discard": "new",
            "num_replicas": replicas,
            "allow_direct": True,
            "allow_atomic": True,
            "duplicate_window": duplicate_window_seconds * 1_000_000_000,
            "republish": {"src": subjects.ROOM_LOGS, "dest": subjects.ROOM_REPUBLISH_TO},
        }
        self._on_epoch: list[Callable[[str], None]] = []
        self._opening = asyncio.Event()
        self._opening.set()
        self.opened = asyncio.Event()
        self.epoch = ""
        bus.on_disconnect(self._lost)
        bus.on_connect(self._opening.set)

    def on_epoch(self, call: Callable[[str], None]) -> None:
        """Have `call` called with each epoch found, before anything is read from that stream."""
        self._on_epoch.append(call)

    async def ready(self) -> str | None:
        """Health check: None when the stream is open."""
        return None if self.opened.is_set() else f"stream {subjects.ROOMS_STREAM} is not open"

    def require(self) -> None:
        """Raise `Unavailable` unless the stream is open."""
        if not self.opened.is_set():
            raise Unavailable("the room log is not open")

    async def keep_open(self, prepare: Callable[[], Awaitable[None]]) -> None:
        """Open the stream now and after each loss of NATS, for ever; `prepare` makes what must be in it."""
        while True:
            await self._opening.wait()
            self._opening.clear()  # before asking: a loss while we ask must make us ask again
            try:
                state = await self.open()
                if self._opening.is_set() or not self._bus.connected:
                    self.opened.clear()
                    continue
                await prepare()
                log.info("room log open", epoch=state.epoch, last_sequence=state.last)
            except BusError as error:
                log.warning("room log not open yet", reason=str(error))
                await asyncio.sleep(REOPEN_SECONDS)
                self._opening.set()

    async def open(self) -> StreamState:
        """Make or find the stream; from then on it can be read and written. Raises `Unavailable`."""
        state = await self._stream.ensure(**self._config)
        self._found(state)
        self.opened.set()
        return state

    def _lost(self) -> None:
        self.opened.clear()

    def _found(self, state: StreamState) -> None:
        if state.epoch != self.epoch:
            self.epoch = state.epoch
            for call in self._on_epoch:
                call(state.epoch)

    async def state(self) -> StreamState:
        """Return epoch and range of the stream as they are now; raise `Unavailable`, also when the stream is gone."""
        self.require()
        state = await self._stream.state()
        if state is None:
            self.opened.clear()
            self._opening.set()
            raise Unavailable("the room log is gone")
        self._found(state)
        return state

    async def append(self, event: Event, client: str, expected_last: int) -> Stored:
        """Store `event` and wait until it is on disk.

        `expected_last` is the sequence of the room's newest record (0: none). Raises `Conflict` when another one was
        stored since, `Unavailable` when it may or may not be stored.
        """
        self.require()
        headers = {
            subjects.OFFSET: str(event.offset),
            subjects.EVENT_TYPE: event.type,
            subjects.USER: event.user.id,
            subjects.TIME: str(event.time),
        }
        if client and event.by is None:  # the client of somebody else is none of the user that the event is about
            headers[subjects.CLIENT] = client
        message_id = f"{event.room}.{event.user.id}.{event.id}" if event.type == events.MESSAGE else None
        started = time.perf_counter()
        stored = await self._stream.append(
            subjects.room_log(event.room),
            events.encode(event),
            headers,
            expected_last=expected_last,
            message_id=message_id,
        )
        failpoints.reach("chat.stored")
        metrics.appended.observe(time.perf_counter() - started)
        return stored

    def tail(self, room: str, after: int) -> AsyncIterator[Record]:
        """Yield the records of `room` behind the sequence `after`."""
        self.require()
        return self._stream.read_all(subjects.room_log(room), after + 1)

    async def at(self, sequence: int) -> Record | None:
        """Return the record with that stream sequence, or None."""
        self.require()
        return await self._stream.at(sequence)

    async def read(self, after: int, limit: int) -> list[Record]:
        """Return up to `limit` records of all rooms behind the sequence `after`, in order."""
        self.require()
        return (await self._stream.read(subjects.ROOM_LOGS, after + 1, limit))[0]
