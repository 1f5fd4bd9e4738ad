"""One receiver: a subscription to the room that tells the ledger what comes, and reads what it is told to reload."""

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from centrifuge import CentrifugeError, SubscriptionEventHandler, SubscriptionState  # type: ignore[import-untyped]  # ships no types

from canary import metrics
from canary.connection import LEFT, NOT_IN, Connection, Failed
from canary.ledger import Ledger, Verdict
from canary.note import Note
from canary.room import Room
from canary.settings import Settings
from chassis import logs
from protocol.names import room_channel

log = logs.get(__name__)

PAGE = 100
"""Longest page of room.history (docs/protocol.md)."""
ANOTHER_LOG = 1000
"""How many of the newest events are read when the epoch changed: the log is another one, offsets say nothing."""
PARTS_KEPT = 16
"""Reloads that may wait; further ones are joined with the last."""
PROOFS = 4
"""How often, in the time after which a message is lost, a silent connection has to prove that it lives."""
COUNTERS = {
    Verdict.DUPLICATED: metrics.duplicated,
    Verdict.REORDERED: metrics.reordered,
    Verdict.LATE: metrics.late,
}


@dataclass(slots=True)
class Part:
    """A part of the room's log to be read: the offsets after `after`, up to `upto`."""

    room: str
    after: int
    upto: int


class Receiver(SubscriptionEventHandler):  # type: ignore[misc]  # ships no types
    """What one connection sees of the room."""

    def __init__(self, connection: Connection, settings: Settings, ledger: Ledger, run: str) -> None:
        self.connection = connection
        self._settings = settings
        self._ledger = ledger
        self.heard_at = float("-inf")
        """When one of our messages last came, on the monotonic clock."""
        self._run = run
        self._room = ""
        self._epoch = ""
        self._offset = 0
        self._subscription: Any = None
        self._parts: deque[Part] = deque()
        self._to_reload = asyncio.Event()
        self._returns = False
        """Whether it comes back from an absence that was meant."""

    @property
    def name(self) -> str:
        """Its name, in the ledger and in logs."""
        return self.connection.name

    @property
    def out(self) -> bool:
        """Whether its subscription was ended for good: it has to be made anew."""
        return self._subscription is None or self._subscription.state is SubscriptionState.UNSUBSCRIBED

    @property
    def listens(self) -> bool:
        """Whether what is published now reaches it."""
        state = None if self._subscription is None else self._subscription.state
        return self.connection.connected and state is SubscriptionState.SUBSCRIBED

    async def follow(self, room: Room) -> None:
        """Subscribe to the channel of `room`; nothing to do when that is so."""
        if room.id == self._room and not self.out:
            return
        client = self.connection.client
        if self._subscription is not None:
            await self._subscription.unsubscribe()
            client.remove_subscription(self._subscription)
        if room.id != self._room:
            self._room, self._epoch, self._offset = room.id, "", room.offset
        self._subscription = client.new_subscription(room_channel(room.id), self, recoverable=True, positioned=True)
        await self._subscription.subscribe()

    async def ready(self, seconds: float) -> None:
        """Return when it is subscribed, or after `seconds`."""
        try:
            await self._subscription.ready(seconds)
        except CentrifugeError:
            pass  # too late, or refused: `listens` and `out` tell

    async def come_and_go(self, first: float) -> None:
        """Go away for a moment, after `first` seconds and then time and again; for ever."""
        wait = first
        while True:
            await asyncio.sleep(wait)
            if self.listens:
                self._returns = True
                await self.connection.leave()
                await asyncio.sleep(self._settings.away_seconds)
                await self.connection.enter()
            wait = self._settings.canary_reconnect_seconds

    async def prove(self) -> None:
        """Ask something when nothing was received for a while: is it the silence of a dead connection? For ever."""
        pause = self._settings.canary_lost_after_seconds / PROOFS
        while True:
            await asyncio.sleep(pause)
            if self.listens and time.monotonic() - self.heard_at > pause:
                try:
                    await self.connection.call("echo")
                except Failed as failed:
                    log.info("no sign of life", connection=self.name, reason=failed.reason)
                else:
                    self._ledger.prove(self.name, time.monotonic())

    async def reload(self) -> None:
        """Read what the server says it did not give; for ever."""
        while True:
            await self._to_reload.wait()
            part = self._parts[0]
            try:
                await self._read(part)
            except Failed as failed:
                # Refused because we are not in: the run sees to it, with this room or another one.
                if not failed.final or (failed.reason == NOT_IN and part.room == self._room):
                    await asyncio.sleep(self._settings.canary_retry_seconds)
                    continue
                log.warning("history refused", connection=self.name, code=failed.code)
            self._parts.popleft()
            if not self._parts:
                self._to_reload.clear()
                self._attend()

    async def on_subscribed(self, ctx: Any) -> None:
        """Note whether what was missed comes now, or is to be read."""
        position = ctx.stream_position
        if self._returns:
            self._returns = False
            self._ledger.excuse(self.name, time.monotonic())
        if ctx.recovered:
            metrics.resumptions.labels("recovered").inc()
        else:
            another = self._epoch not in ("", position.epoch)
            after = max(0, position.offset - ANOTHER_LOG) if another else self._offset
            self._reload_later(Part(self._room, after, position.offset))
            self._offset = position.offset
        self._epoch = position.epoch
        self._attend()

    async def on_subscribing(self, _: Any) -> None:
        """Note that nothing comes for now."""
        self._attend()

    async def on_unsubscribed(self, ctx: Any) -> None:
        """Note that nothing comes any more; the run sees to it."""
        if ctx.code != LEFT:
            log.warning("subscription ended", connection=self.name, code=ctx.code)
        self._attend()

    async def on_publication(self, ctx: Any) -> None:
        """Have the ledger judge it, if it is one of ours."""
        self._offset = max(self._offset, ctx.pub.offset)
        event = self.connection.decoded(ctx.pub.data)
        for number in self._numbers([event]):
            self._judge(number)

    def _judge(self, number: int) -> None:
        self.heard_at = time.monotonic()
        reception = self._ledger.receive(self.name, number, self.heard_at)
        verdict = reception.verdict
        metrics.last_received.set_to_current_time()
        if verdict not in (Verdict.DUPLICATED, Verdict.IGNORED):
            metrics.received.inc()
        if reception.latency is not None:
            metrics.latency.observe(reception.latency)
        if verdict in COUNTERS:
            COUNTERS[verdict].inc()
            log.error("a promise is broken", broken=verdict.value, connection=self.name, run=self._run, number=number)

    def _numbers(self, events: list[Any]) -> Iterator[int]:
        """Yield the numbers of this run; others write in the room, too, and other canaries."""
        for event in events:
            if event.get("type") == "message" and event["user"]["id"] in self.connection.users:
                note = Note.read(event.get("text"))
                if note is not None and note.run == self._run:
                    yield note.number

    def _attend(self) -> None:
        self._ledger.attend(self.name, self.listens and not self._parts, time.monotonic())

    def _reload_later(self, part: Part) -> None:
        if part.upto <= part.after:
            return
        metrics.resumptions.labels("reloaded").inc()
        log.info("told to reload", connection=self.name, room=part.room, after=part.after, upto=part.upto)
        last = self._parts[-1] if self._parts else None
        if last is not None and len(self._parts) >= PARTS_KEPT and last.room == part.room:
            last.upto = part.upto
        else:
            self._parts.append(part)
        self._to_reload.set()

    async def _read(self, part: Part) -> None:
        while part.after < part.upto:
            page = await self.connection.call("room.history", room=part.room, after=part.after, limit=PAGE)
            events = [event for event in page["events"] if event["offset"] <= part.upto]
            metrics.reloaded.inc(self._ledger.reload(self.name, self._numbers(events)))
            part.after = events[-1]["offset"] if events else part.upto
