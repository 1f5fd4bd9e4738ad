"""One followed channel: its live events made gap-free, with the log to repair from.

Everything here happens in one order: an event is handed out when, and only when, it is the next one. A live event that
is not starts a repair, during which live events wait in a bounded buffer; what the buffer drops, the log still has.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from chassis import logs
from chassis.appends import Conflict
from chassis.bus import Bus, Message, Subscription, Unavailable
from chassis.streams import Record, Stream, record
from gateway import metrics
from gateway.namespaces import Rules
from gateway.ring import Entry, Ring
from gateway.seek import Point, narrow, next_probe
from gateway.settings import GatewaySettings
from protocol import subjects
from protocol.names import new_id
from protocol.subjects import Address

log = logs.get(__name__)

BUFFER = 1024
"""Live events that may wait during a repair; more are read from the log instead."""
RETRY_SECONDS = 0.1
BIRTH = "birth"
"""Type of the record, without an offset, that gives a general channel its epoch."""


class ContinuityLost(Exception):
    """The log no longer has the next event, or cannot be read in time: followers must be told."""


class NoLog(Exception):
    """The channel has no log: nothing ever happened there."""


def entry_of(found: Record) -> Entry:
    """Return the record as an entry; the body stays unparsed."""
    headers = found.headers
    return Entry(
        found.offset,
        found.sequence,
        headers.get(subjects.EVENT_TYPE, ""),
        headers.get(subjects.USER, ""),
        headers.get(subjects.CLIENT, ""),
        found.body,
        found.stored_at if subjects.NATS_TIME in headers else time.time(),
        _decoded(headers.get(subjects.INFO)),
        _decoded(headers.get(subjects.TAGS)),
    )


@lru_cache(maxsize=4096)  # who publishes once does so again
def _decoded(header: str | None) -> bytes:
    try:
        return base64.b64decode(header, validate=True) if header else b""
    except (binascii.Error, ValueError):
        return b""


class Outlet(Protocol):
    """Who takes what feeds have."""

    def passed(self, feed: "Feed", entry: Entry, headers: Mapping[str, str]) -> None:
        """Take the next event, with its headers."""

    def broken(self, feed: "Feed") -> None:
        """Have `repair` run, outside of this call."""


class Feed:
    """The events of one channel, as this process knows them. Every user has one, so it has slots."""

    __slots__ = (
        "_buffer",
        "_bus",
        "_outlet",
        "_seen",
        "_settings",
        "_stream",
        "_subscription",
        "address",
        "base",
        "epoch",
        "history",
        "idle_since",
        "logged",
        "ring",
        "rules",
    )

    def __init__(
        self, address: Address, bus: Bus, stream: Stream, settings: GatewaySettings, rules: Rules, outlet: Outlet
    ) -> None:
        """A channel whose `rules` keep no history has no log and no offsets: what comes is passed on."""
        self.address = address
        self.rules = rules
        self.logged = rules.history_size > 0
        self.history = min(rules.history_size, settings.history_limit) or settings.history_limit
        """How many events may be recovered."""
        self.epoch = ""
        self.base: bytes | None = None
        """The body of the event before, where subscribers may have patches against it."""
        self._bus = bus
        self._stream = stream
        self._settings = settings
        self._outlet = outlet
        self._buffer: list[Record] | None = []  # a list while live events must wait
        self._seen = 0  # highest offset that arrived live
        self._subscription: Subscription | None = None
        self.ring = self._empty_ring(0, 0)
        self.idle_since = time.monotonic()

    @property
    def top(self) -> int:
        """Offset of the newest event handed out."""
        return self.ring.top

    @property
    def repairing(self) -> bool:
        """Whether live events wait."""
        return self._buffer is not None

    async def open(self) -> None:
        """Subscribe, make sure the interest is registered, then read the position; raise `Unavailable` or `NoLog`."""
        receive = self._received if self.logged else self._passed
        self._subscription = await self._bus.subscribe(self.address.live, receive)
        await self._bus.flush()
        if self.logged:
            await self.restart()

    async def restart(self) -> None:
        """Take the log's end as the position, forgetting what was before; raise `Unavailable` or `NoLog`."""
        self._hold()
        last = await self._stream.last(self.address.log)
        if last is None and self.address.stream == subjects.CHANNELS_STREAM:
            last = await self._give_birth()
        if last is not None and not last.offset and self.address.stream == subjects.ROOMS_STREAM:
            last = await self._last_event(last)
        if last is None:
            if self.address.stream == subjects.ROOMS_STREAM:
                raise NoLog(self.address.channel)
            last = Record(0, self.address.log, {}, b"")  # a user to whom nothing happened yet
        self.epoch = last.headers.get(subjects.EPOCH, "") or self._stream.epoch
        self.ring = self._empty_ring(last.offset, last.sequence)
        self._seen = 0
        self._release()
        if self._buffer is not None:
            self._outlet.broken(self)

    def expect(self, offset: int) -> None:
        """Take note that somebody has seen the event of that offset: `repair` is not done before it is handed out."""
        self._seen = max(self._seen, offset)

    async def lags(self) -> bool:
        """Tell whether the log holds more than was handed out; raise `Unavailable`."""
        last = await self._stream.last(self.address.log)
        return last is not None and last.sequence > self.ring.sequence

    async def close(self) -> None:
        """Stop following."""
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)

    async def repair(self) -> None:
        """Hand out what the log has beyond our position, then what waited, in order.

        Done when everything seen live was handed out: a direct get may be answered by a replica that is behind. Tries
        for `repair_seconds`, then raises `ContinuityLost`; at once when an event is missing in the log itself.
        """
        deadline = time.monotonic() + self._settings.repair_seconds
        while True:
            self._hold()
            try:
                await self._read_on()
                self._release()
                reason = f"offset {self.top + 1} did not appear"
            except Unavailable as error:
                reason = str(error)
            if self._buffer is None and self.top >= self._seen:
                break
            if time.monotonic() > deadline:
                raise ContinuityLost(reason)
            await asyncio.sleep(RETRY_SECONDS)
        metrics.gaps.labels("repaired").inc()

    async def read(self, after: int, upto: int) -> list[Entry]:
        """Return events after+1 .. upto from the log (fewer when it lacks some); raise `Unavailable`."""
        oldest = self.ring.oldest
        high = Point(oldest.offset, oldest.sequence) if oldest else Point(self.ring.top, self.ring.sequence)
        if after + 1 >= high.offset:
            high = Point(self.ring.top, self.ring.sequence)
        low = await self._seek(Point(0, 0), high, after + 1)
        found: list[Entry] = []
        sequence, more = low.sequence + 1, True
        while more and (not found or found[-1].offset < upto):
            records, more = await self._stream.read(self.address.log, sequence)
            if not records:
                break
            sequence = records[-1].sequence + 1
            found += [entry_of(one) for one in records if after < one.offset <= upto]
            if records[-1].offset >= upto:
                break
        return found

    async def _last_event(self, last: Record) -> Record | None:
        """Return the newest event, when the newest record is none (nobody of ours writes such): looked for backwards,
        each time twice as far."""
        back = 1
        while True:
            start = max(1, last.sequence - back)
            async for one in self._stream.read_all(self.address.log, start):
                last = one if one.offset or not last.offset else last
            if last.offset or start == 1:
                return last if last.offset else None
            back *= 2

    async def _seek(self, low: Point, high: Point, target: int) -> Point:
        probes = 0
        while (probe := next_probe(low, high, target, probes)) is not None:
            at = await self._stream.next(self.address.log, probe)
            while at is not None and not at.offset:  # no event of ours: it has no place in the order
                at = await self._stream.next(self.address.log, at.sequence + 1)
            point = Point(at.offset, at.sequence) if at is not None else None
            low, high = narrow(low, high, target, probe, point)
            probes += 1
        return low

    async def _read_on(self) -> None:
        more = True
        while more:
            records, more = await self._stream.read(self.address.log, self.ring.sequence + 1)
            for one in records:
                if one.headers.get(subjects.EPOCH, self.epoch) != self.epoch:
                    raise ContinuityLost("the channel began anew")
                if one.offset > self.top + 1:
                    raise ContinuityLost(f"offset {self.top + 1} is not in the log")
                self._advance(one)
                if not one.offset:
                    self.ring.sequence = one.sequence  # no event, and read in order: nothing is behind it
            more = more and bool(records)

    async def _give_birth(self) -> Record | None:
        """Give an empty general channel its epoch, by a record that no subscriber sees. Of several, one counts."""
        headers = {subjects.OFFSET: "0", subjects.EVENT_TYPE: BIRTH, subjects.EPOCH: new_id()}
        try:
            await self._stream.append(self.address.log, b"", headers, expected_last=0)
        except Conflict:
            log.debug("born elsewhere", channel=self.address.channel)
        return await self._stream.last(self.address.log)

    def _passed(self, message: Message) -> None:
        self._outlet.passed(self, entry_of(Record(0, message.subject, message.headers, message.body)), message.headers)

    def _received(self, message: Message) -> None:
        if subjects.NATS_SEQUENCE not in message.headers:
            self._passed(message)  # published past the history: it has no place in the order
            return
        try:
            found = record(message)
            following = found.offset
        except ValueError:
            log.warning("live message without a position")
            return
        if found.headers.get(subjects.EPOCH, self.epoch) != self.epoch and self._buffer is None:
            self._buffer = [found]  # another life of the channel: repair finds that continuity is lost
            self._outlet.broken(self)
            return
        self._seen = max(self._seen, following)
        if self._buffer is not None:
            if len(self._buffer) < BUFFER:
                self._buffer.append(found)
            else:
                metrics.overflows.labels("repair").inc()
        elif following > self.top + 1:
            self._buffer = [found]
            metrics.gaps.labels("seen").inc()
            self._outlet.broken(self)
        else:
            self._advance(found)

    def _advance(self, found: Record) -> None:
        """Hand out `found` if it is the next event; one at or below the position was handed out before."""
        if found.offset == self.top + 1:
            entry = entry_of(found)
            self.ring.append(entry)
            self._outlet.passed(self, entry, found.headers)

    def _hold(self) -> None:
        if self._buffer is None:
            self._buffer = []

    def _release(self) -> None:
        """Hand out what waited; stay holding (emptied) when there is a gap in it, so that the log is read again."""
        waiting, self._buffer = self._buffer or [], None
        for found in waiting:
            if found.offset > self.top + 1:
                self._buffer = []
                return
            self._advance(found)

    def _empty_ring(self, top: int, sequence: int) -> Ring:
        return Ring(top, sequence, most=self.history, most_bytes=self._settings.ring_bytes)
