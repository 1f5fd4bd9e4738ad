"""Channels followed here <-> NATS: opens and closes feeds, repairs them, checks their position, reads what was missed.

Losing NATS is a break in continuity: nothing is delivered, and no new subscription is answered, until every followed
channel has been compared with the log again.
"""

import asyncio
import time
from collections.abc import Mapping
from weakref import WeakValueDictionary

from chassis import failpoints, logs, traces
from chassis.bus import Bus, Unavailable
from chassis.lifecycle import Background
from chassis.streams import BATCH, Stream
from gateway import metrics
from gateway.delivery import Delivery, fan_out_span
from gateway.feed import ContinuityLost, Feed, NoLog
from gateway.hub import Hub
from gateway.namespaces import Namespaces
from gateway.publications import PublicationPush
from gateway.ring import Entry
from gateway.settings import GatewaySettings
from protocol import codes, events, subjects
from protocol.client import SubscribeRequest
from protocol.subjects import Address

log = logs.get(__name__)

RETRY_SECONDS = 0.25
PARALLEL_REPAIRS = 32


class Relay:
    """The feeds of this process. Broadcasts into the hub."""

    def __init__(
        self,
        bus: Bus,
        hub: Hub,
        background: Background,
        settings: GatewaySettings,
        namespaces: Namespaces,
    ) -> None:
        self._bus = bus
        self._hub = hub
        self._background = background
        self._settings = settings
        self._namespaces = namespaces
        self._streams = {
            name: Stream(bus, name) for name in (subjects.ROOMS_STREAM, subjects.USERS_STREAM, subjects.CHANNELS_STREAM)
        }
        self._epochs: dict[str, str] = {}
        self._feeds: dict[str, Feed] = {}
        # Weak: a lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._repairs = asyncio.Semaphore(PARALLEL_REPAIRS)
        self._stale = asyncio.Event()
        self._current = False

    async def ready(self) -> str | None:
        """Health check: None when every followed channel is known to be complete."""
        return None if self._current else "room log not reached yet"

    def stream_of(self, address: Address) -> Stream:
        """Return the stream that holds a channel's log."""
        return self._streams[address.stream]

    def feed(self, channel: str) -> Feed | None:
        """Return the feed of `channel` if it is followed here."""
        return self._feeds.get(channel)

    async def follow(self, channel: str) -> Feed:
        """Return the feed of `channel`, opened if need be; raise `Unavailable`, or `NoLog` for no room."""
        if not self._current:
            raise Unavailable("resynchronising with NATS")
        async with self._lock(channel):
            feed = self._feeds.get(channel)
            if feed is None:
                feed = self._new_feed(subjects.address(channel))
                try:
                    await feed.open()
                except (Unavailable, NoLog):
                    await feed.close()
                    raise
                self._feeds[channel] = feed
                metrics.channels.set(len(self._feeds))
            feed.idle_since = time.monotonic()
            return feed

    async def read_missed(self, feed: Feed, request: SubscribeRequest) -> list[Entry] | None:
        """Return what a subscriber missed up to the feed's top of some moment, or None when it cannot be recovered.

        While the log is read the ring goes on collecting; `recovery.completed` adds that, in one turn with the reply.
        """
        if request.offset > feed.top and request.epoch in ("", feed.epoch):
            await self._repair(feed)  # the client saw more than we did: another gateway was faster
        if request.epoch not in ("", feed.epoch) or not 0 <= feed.top - request.offset <= feed.history:
            return None
        missed = feed.ring.after(request.offset)
        return missed if missed is not None else await feed.read(request.offset, feed.top)

    async def catch_up(self, feed: Feed) -> None:
        """Have `feed` hold all that was stored until now, also what was lost on its way here; raise `Unavailable`."""
        if feed.logged and await feed.lags():
            await self._repair(feed)

    async def reach(self, feed: Feed, offset: int) -> None:
        """Have `feed` hold the event of that offset, which somebody has seen: it is on its way here, or lost, or the
        replica that told where the log ends was behind. Not for sure: a feed that began anew may stand elsewhere."""
        if feed.top < offset:
            feed.expect(offset)
            await self._repair(feed)

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
        channels = self._streams[subjects.CHANNELS_STREAM]
        await channels.ensure(**channels_config(self._settings, self._namespaces))
        await channels.widen(self._namespaces.largest_history)
        for name, stream in self._streams.items():
            await self._synchronise_stream(name, stream)

    async def _synchronise_stream(self, name: str, stream: Stream) -> None:
        state = await stream.state()
        if state is None:
            raise Unavailable(f"stream {name} is not there yet")
        feeds = {f.address.log: f for f in self._feeds.values() if f.logged and f.address.stream == name}
        if state.epoch != self._epochs.get(name):
            # Another log under the same name: no position of before means anything now.
            previous, self._epochs[name] = self._epochs.get(name), state.epoch
            if previous:
                await asyncio.gather(*(self._start_over(feed) for feed in feeds.values()))
        names = list(feeds)
        for start in range(0, len(names), BATCH):
            last = await stream.last_of_each(names[start : start + BATCH])
            lagging = [
                feed
                for found in last
                if (feed := feeds.get(found.subject)) is not None
                and (found.sequence > feed.ring.sequence or feed.repairing)
            ]
            await asyncio.gather(*(self._repair(feed) for feed in lagging))

    async def _repair(self, feed: Feed) -> None:
        """Bring one feed up to the log; tell its followers to recover by themselves when that cannot be done."""
        async with self._lock(feed.address.channel), self._repairs:
            try:
                await feed.repair()
            except ContinuityLost as error:
                metrics.gaps.labels("lost").inc()
                log.warning("continuity lost", namespace=feed.address.namespace, reason=str(error))
                await self._start_over(feed)

    async def _start_over(self, feed: Feed) -> None:
        channel = feed.address.channel
        for follower in self._hub.followers(channel):
            follower.unsubscribe(channel, codes.UNSUBSCRIBED_INSUFFICIENT)
        try:
            await feed.restart()
        except (Unavailable, NoLog):
            self._feeds.pop(channel, None)
            metrics.channels.set(len(self._feeds))
            await feed.close()

    async def _close_idle(self) -> None:
        now = time.monotonic()
        for channel, feed in list(self._feeds.items()):
            if self._hub.has_followers(channel):
                feed.idle_since = now
            elif now - feed.idle_since > self._settings.linger_seconds:
                async with self._lock(channel):
                    if now > feed.idle_since and not self._hub.has_followers(channel):
                        self._feeds.pop(channel, None)
                        await feed.close()
        metrics.channels.set(len(self._feeds))

    def _lock(self, channel: str) -> asyncio.Lock:
        return self._locks.setdefault(channel, asyncio.Lock())

    def _new_feed(self, address: Address) -> Feed:
        rules = self._namespaces.rules(address.channel)
        assert rules is not None, "nobody follows a channel without a namespace"
        return Feed(address, self._bus, self._streams[address.stream], self._settings, rules, self)

    # For the feeds.

    def passed(self, feed: Feed, entry: Entry, headers: Mapping[str, str]) -> None:
        """Hand the next event of a feed to its followers here."""
        began = time.time_ns()
        failpoints.reach("gateway.fan_out")
        address = feed.address
        channel = address.channel
        if entry.type == events.LEFT and address.stream == subjects.ROOMS_STREAM:
            self._let_go(channel, entry, headers)
        # One past the history is no base for patches, nor is one made against it: recovery does not know it.
        unplaced = feed.logged and not entry.offset
        push = PublicationPush(channel, entry, None if unplaced else feed.base)
        followers = self._hub.broadcast(channel, push)
        feed.base = entry.body if feed.rules.delta and not unplaced else None
        if followers:
            span = fan_out_span(headers, address, began, followers) if traces.PARENT in headers else traces.OFF
            push.on_sockets = Delivery(entry, headers, span).measure

    def _let_go(self, channel: str, left: Entry, headers: Mapping[str, str]) -> None:
        """Unsubscribe whoever is no member any more, before the event is handed out, and measure how long it took."""
        theirs = list(self._hub.followers_of_user(channel, left.user))
        for follower in theirs:
            follower.unsubscribe(channel, codes.UNSUBSCRIBED_BY_SERVER)
        since = headers.get(subjects.TIME, "")
        if theirs and since.isdigit():
            metrics.revocation_seconds.observe(max(0.0, time.time() - int(since) / 1000))

    def broken(self, feed: Feed) -> None:
        """Have a feed repaired, in which a gap was seen."""
        self._background.spawn(self._repair(feed))


def channels_config(settings: GatewaySettings, namespaces: Namespaces) -> dict[str, object]:
    """Return the configuration of the stream of general channels; it keeps as much as the namespace that keeps most."""
    return {
        "subjects": [subjects.CHANNEL_LOGS],
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": max(1, namespaces.largest_history),
        "max_age": settings.channel_idle_days * 86400 * 1_000_000_000,
        "allow_direct": True,
        "num_replicas": settings.nats_replicas,
        "duplicate_window": 120 * 1_000_000_000,
        "republish": {"src": subjects.CHANNEL_LOGS, "dest": subjects.CHANNEL_REPUBLISH_TO},
    }
