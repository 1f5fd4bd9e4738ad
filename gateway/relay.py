"""Channels followed here <-> NATS: opens and closes feeds, repairs them, checks their position, reads what was missed.

Losing NATS is a break in continuity: nothing is delivered, and no new subscription is answered, until every followed
channel has been compared with the log again.
"""

import asyncio
import time
from weakref import WeakValueDictionary

from chassis import logs
from chassis.bus import Bus, Unavailable
from chassis.lifecycle import Background
from chassis.streams import BATCH, Stream
from gateway import metrics
from gateway.feed import ContinuityLost, Feed, NoLog
from gateway.hub import Hub
from gateway.publications import publication_push
from gateway.recovery import fresh, is_complete, may_recover, recovered
from gateway.ring import Entry
from gateway.settings import GatewaySettings
from protocol import codes, events, names, subjects
from protocol.client import SubscribeRequest, SubscribeResult

log = logs.get(__name__)

RETRY_SECONDS = 0.25
PARALLEL_REPAIRS = 32


class Relay:
    """The feeds of this process. Broadcasts into the hub."""

    def __init__(self, bus: Bus, hub: Hub, background: Background, settings: GatewaySettings) -> None:
        self._bus = bus
        self._hub = hub
        self._background = background
        self._settings = settings
        self._stream = Stream(bus, subjects.ROOMS_STREAM)
        self._feeds: dict[str, Feed] = {}
        # Weak: a lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._repairs = asyncio.Semaphore(PARALLEL_REPAIRS)
        self._stale = asyncio.Event()
        self._current = False
        self.epoch = ""

    async def ready(self) -> str | None:
        """Health check: None when every followed channel is known to be complete."""
        return None if self._current else "room log not reached yet"

    async def follow(self, room: str) -> Feed:
        """Return the feed of `room`, opened if need be; raise `Unavailable`, or `NoLog` for a room without events."""
        if not self._current:
            raise Unavailable("resynchronising with NATS")
        async with self._lock(room):
            feed = self._feeds.get(room)
            if feed is None:
                feed = self._new_feed(room)
                try:
                    await feed.open()
                except (Unavailable, NoLog):
                    await feed.close()
                    raise
                self._feeds[room] = feed
                metrics.channels.set(len(self._feeds))
            feed.idle_since = time.monotonic()
            return feed

    async def recover(self, feed: Feed, request: SubscribeRequest) -> SubscribeResult:
        """Return what a subscriber is told; the caller adds it to the hub before anything else runs.

        What the ring does not have is read from the log while the ring goes on collecting what arrives meanwhile.
        """
        if not request.recover:
            return fresh(self.epoch, feed.top)
        limit = self._settings.history_limit
        if request.offset > feed.top and request.epoch in ("", self.epoch):
            await self._repair(feed)  # the client saw more than we did: another gateway was faster
        missed: list[Entry] | None = None
        if may_recover(request, self.epoch, feed.top, limit):
            missed = feed.ring.after(request.offset)
            if missed is None:
                upto = feed.top
                missed = await feed.read(request.offset, upto)
                missed += feed.ring.after(upto) or []
        top = feed.top
        if missed is None or not is_complete(missed, request.offset, top):
            metrics.recoveries.labels("not_recovered").inc()
            return fresh(self.epoch, top, was_recovering=True)
        metrics.recoveries.labels("recovered").inc()
        metrics.recovered_publications.inc(len(missed))
        return recovered(request, self.epoch, missed)

    async def range(self, feed: Feed, after: int, upto: int) -> list[Entry]:
        """Return events after+1 .. upto, from the ring when it has them, else from the log; raise `Unavailable`."""
        recent = feed.ring.after(after)
        if recent is not None:
            return [entry for entry in recent if entry.offset <= upto]
        return await feed.read(after, upto)

    async def run(self) -> None:
        """Synchronise at start, after each reconnect, and every `position_check_seconds`. Runs for ever."""
        self._bus.on_disconnect(self._lost)
        self._bus.on_connect(self._stale.set)
        self._stale.set()
        while True:
            try:
                await asyncio.wait_for(self._stale.wait(), self._settings.position_check_seconds)
            except TimeoutError:
                await self._close_idle()
            self._stale.clear()
            try:
                await self._synchronise()
                self._current = self._bus.connected
            except Unavailable as error:
                log.debug("not synchronised", reason=str(error))
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)

    def _lost(self) -> None:
        self._current = False

    async def _synchronise(self) -> None:
        """Compare every feed with the log and repair those that lag."""
        await self._bus.flush()
        state = await self._stream.state()
        if state is None:
            raise Unavailable("the chat service has not made the room log yet")
        if state.epoch != self.epoch:
            # Another log under the same name: no position of before means anything now.
            previous, self.epoch = self.epoch, state.epoch
            if previous:
                await asyncio.gather(*(self._start_over(feed) for feed in list(self._feeds.values())))
        rooms = list(self._feeds)
        for start in range(0, len(rooms), BATCH):
            logs_of = [subjects.room_log(room) for room in rooms[start : start + BATCH]]
            last = await self._stream.last_of_each(logs_of)
            lagging = [
                feed
                for found in last
                if (feed := self._feeds.get(subjects.room_of(found.subject))) is not None
                and (found.offset > feed.top or feed.repairing)
            ]
            await asyncio.gather(*(self._repair(feed) for feed in lagging))

    async def _repair(self, feed: Feed) -> None:
        """Bring one feed up to the log; tell its followers to recover by themselves when that cannot be done."""
        async with self._lock(feed.room), self._repairs:
            try:
                await feed.repair()
            except ContinuityLost as error:
                metrics.gaps.labels("lost").inc()
                log.warning("continuity lost", room=feed.room, reason=str(error))
                await self._start_over(feed)

    async def _start_over(self, feed: Feed) -> None:
        channel = names.room_channel(feed.room)
        for follower in self._hub.followers(channel):
            follower.unsubscribe(channel, codes.UNSUBSCRIBED_INSUFFICIENT)
        try:
            await feed.restart()
        except (Unavailable, NoLog):
            self._feeds.pop(feed.room, None)
            metrics.channels.set(len(self._feeds))
            await feed.close()

    async def _close_idle(self) -> None:
        now = time.monotonic()
        for room, feed in list(self._feeds.items()):
            if self._hub.has_followers(names.room_channel(room)):
                feed.idle_since = now
            elif now - feed.idle_since > self._settings.linger_seconds:
                async with self._lock(room):
                    if now > feed.idle_since:  # nobody came for it while we waited
                        self._feeds.pop(room, None)
                        await feed.close()
        metrics.channels.set(len(self._feeds))

    def _lock(self, room: str) -> asyncio.Lock:
        return self._locks.setdefault(room, asyncio.Lock())

    def _new_feed(self, room: str) -> Feed:
        channel = names.room_channel(room)

        def on_event(entry: Entry, stored_at: float) -> None:
            started = time.perf_counter()
            if entry.type == events.LEFT:
                for follower in self._hub.followers_of_user(channel, entry.user):
                    follower.unsubscribe(channel, codes.UNSUBSCRIBED_BY_SERVER)
            self._hub.broadcast(channel, publication_push(channel, entry))
            metrics.fanout_seconds.observe(time.perf_counter() - started)
            metrics.stage_seconds.labels("fanned_out").observe(max(0.0, time.time() - stored_at))

        def on_gap() -> None:
            self._background.spawn(self._repair(feed))

        feed = Feed(room, self._bus, self._stream, self._settings, on_event, on_gap)
        return feed
