"""Rounds of load: everybody in one room and one general channel, faults at every so many messages, then the judgement.

A round has a room and a channel of its own, so that its history can be judged whole and then forgotten. Senders wait
for subscribers that are far behind, so that nobody ever misses more than can be recovered, and no recovery may fail.
"""

import asyncio
import itertools
import random
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from centrifuge import StreamPosition

from tests.bench.stays import Event, Fault, History, Send, judge
from tests.soak.people import Guest, Seat, Sender, Subscriber
from tests.soak.stage import NAMESPACE, Stage

WINDOW = 200
"""Messages that a subscriber may be behind before senders wait; fewer than the 300 that can be recovered."""
STUCK_SECONDS = 60.0
PAGE = 100


@dataclass(frozen=True)
class Plan:
    """How much load, and how many faults. A fault `every` so many acknowledged messages; 0: never."""

    subscribers: int = 20
    senders: int = 4
    """For the room, and as many for the general channel."""
    events: int = 3000
    """Messages of one round in each of the two."""
    cut_every: int = 15
    kill_every: int = 1500
    cut_nats_every: int = 2000
    seed: int = 1


@dataclass
class Channel:
    """One channel of a round: who sent what into it, who sits in it."""

    name: str
    room: str
    """Empty for the general channel."""
    sends: list[Send] = field(default_factory=list)
    seats: dict[str, Seat] = field(default_factory=dict)
    top: int = 0
    """Offset of the newest event, as far as the senders know."""

    @property
    def behind(self) -> int:
        """How far the slowest subscriber is behind."""
        return max((self.top - seat.position for seat in self.seats.values()), default=0)

    def note(self, send: Send) -> None:
        """Take note of what a sender did; publications are not told their offset, so these are counted."""
        self.sends.append(send)
        self.top = max(self.top, send.offset) if self.room else self.top + (send.acknowledged is not None)


@dataclass
class Verdict:
    """What came of a round."""

    faults: list[Fault]
    room: Channel
    channel: Channel
    log: list[Event]
    """Of the general channel."""


class Load:
    """People on a stage. `channels` are those of the round that runs."""

    def __init__(self, stage: Stage, plan: Plan, say: Callable[[str], None]) -> None:
        self.stage = stage
        self.plan = plan
        self.say = say
        self.subscribers: list[Subscriber] = []
        self.channels: list[Channel] = []
        self.cuts = 0
        self.acknowledged = 0
        self.sent = 0
        self.rounds = 0
        self.delivered_before = 0
        """By the rounds that are over; so with the next two."""
        self.repeated_before = 0
        self.missed_before = 0
        self._chance = random.Random(plan.seed)
        self._room_senders: list[Sender] = []
        self._publishers: list[Sender] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            urls = self.stage.urls()
            ring = self.stage.ring
            for number in range(self.plan.subscribers):
                one = await Subscriber.enter(ring, next(urls), f"Reader {number}", use_protobuf=number % 4 > 1)
                self._stack.push_async_callback(one.leave)
                self.subscribers.append(one)
            for number in range(self.plan.senders):
                # Messages have ids, so their senders may lose connections and insist; publications have none.
                self._room_senders.append(await Sender.enter(ring, next(urls), f"Sender {number}"))
                publisher = await Sender.enter(ring, ring.websocket_url, f"Publisher {number}", bool(number % 2))
                self._publishers.append(publisher)
            for sender in self._room_senders + self._publishers:
                self._stack.push_async_callback(sender.leave)
        except BaseException:  # whatever went wrong, nobody stays
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # Figures.

    @property
    def delivered(self) -> int:
        """Events handed to subscribers."""
        return self.delivered_before + sum(seat.delivered for seat in self._seats)

    @property
    def repeated(self) -> int:
        """Events handed to a subscriber again."""
        return self.repeated_before + sum(seat.repeated for seat in self._seats)

    @property
    def missed(self) -> int:
        """Events that a subscriber was not handed when it was their turn."""
        return self.missed_before + sum(seat.missed for seat in self._seats)

    @property
    def _seats(self) -> list[Seat]:
        return [seat for channel in self.channels for seat in channel.seats.values()]

    # One round.

    async def round(self, until: float = float("inf")) -> Verdict:
        """Send and break until the planned messages are acknowledged, or the time `until` (monotonic); then judge."""
        await self._open()
        async with asyncio.TaskGroup() as tasks:
            room, channel = self.channels
            room_numbers = itertools.count()
            for sender in self._room_senders:
                tasks.create_task(self._send(sender, room, room_numbers, until))
            numbers = itertools.count()
            for sender in self._publishers:
                tasks.create_task(self._send(sender, channel, numbers, until))
        verdict = await self._judge()
        self.rounds += 1
        self.delivered_before, self.repeated_before, self.missed_before = self.delivered, self.repeated, self.missed
        for one in self.channels:
            await asyncio.gather(*(subscriber.stand_up(one.name) for subscriber in self.subscribers))
        self.channels = []
        return verdict

    async def _open(self) -> None:
        someone = self._room_senders[0]
        room = (await someone.insist(lambda: someone.call("room.create", name="Load")))["room"]["id"]
        people: list[Guest] = [*self.subscribers, *self._room_senders]
        await asyncio.gather(*(_join(one, room) for one in people))
        found = [Channel(f"room:{room}", room), Channel(f"{NAMESPACE}:{uuid.uuid4().hex[:8]}", "")]
        for channel in found:
            seats = await asyncio.gather(*(one.sit(channel.name) for one in self.subscribers))
            channel.seats = {f"reader {number}": seat for number, seat in enumerate(seats)}
        self.channels = found

    async def _send(self, sender: Sender, channel: Channel, numbers: "itertools.count[int]", until: float) -> None:
        while time.monotonic() < until and next(numbers) < self.plan.events:
            await self._not_too_far(channel)
            self.sent += 1
            key = f"m{self.sent}"
            send = await (sender.say(channel.room, key) if channel.room else sender.publish(channel.name, key))
            channel.note(send)
            if send.acknowledged is not None:
                self.acknowledged += 1
                self._break()
            else:
                await sender.client.ready(STUCK_SECONDS)

    async def _not_too_far(self, channel: Channel) -> None:
        end = time.monotonic() + STUCK_SECONDS
        while channel.behind > WINDOW:
            assert time.monotonic() < end, f"stuck: {self._laggards(channel)}"
            await asyncio.sleep(0.01)

    def _break(self) -> None:
        """Have the faults that are due."""
        plan, count = self.plan, self.acknowledged
        if plan.cut_every and count % plan.cut_every == 0:
            self.cuts += self._chance.choice(self.subscribers).cut()
        if plan.cut_every and count % (10 * plan.cut_every) == 0:
            self._chance.choice(self._room_senders).cut()
        if plan.kill_every and count % plan.kill_every == 0:
            killed = self.stage.kill_worker()
            self.say(f"after {count} messages: " + ("kill -9 of a worker" if killed else "no worker to kill"))
        if plan.cut_nats_every and count % plan.cut_nats_every == 0:
            self.stage.cut_nats()
            self.say(f"after {count} messages: a gateway's connections with NATS cut")

    async def _all_there(self, channel: Channel) -> None:
        """Wait until every subscriber has everything."""
        end = time.monotonic() + STUCK_SECONDS
        while channel.behind > 0 or not all(seat.stays[-1].present for seat in channel.seats.values()):
            assert time.monotonic() < end, f"never arrived: {self._laggards(channel)}"
            await asyncio.sleep(0.02)

    def _laggards(self, channel: Channel) -> str:
        late = {name: seat for name, seat in channel.seats.items() if seat.position < channel.top}
        return f"{channel.name} is at {channel.top}; " + "; ".join(
            f"{name} ({'protobuf' if seat.owner.use_protobuf else 'json'}) at {seat.position}, "
            f"{seat.owner.client.state}, problems {seat.problems[-3:]}, endings {seat.owner.endings}"
            for name, seat in late.items()
        )

    async def _judge(self) -> Verdict:
        room, channel = self.channels
        room_log = await self._settled(room, partial(self._room_log, room.room))
        channel_log = await self._settled(channel, partial(self._channel_log, channel.name))
        faults: list[Fault] = []
        for one, log in ((room, room_log), (channel, channel_log)):
            readers = {name: seat.stays for name, seat in one.seats.items()}
            faults += judge(History(log, one.sends, readers))
        return Verdict(faults, room, channel, channel_log)

    async def _settled(self, channel: Channel, read: Callable[[], Awaitable[list[Event]]]) -> list[Event]:
        """Return the log once it stands still and everybody has it: what was not answered may be stored late."""
        while True:
            await self._all_there(channel)
            log = await read()
            if len(log) == channel.top:
                return log
            assert len(log) > channel.top, f"{channel.name} is at {channel.top}, its log ends at {len(log)}"
            channel.top = len(log)

    async def _room_log(self, room: str) -> list[Event]:
        reader = self._room_senders[0]
        log: list[Event] = []
        more = True
        while more:
            ask = partial(reader.call, "room.history", room=room, after=log[-1][0] if log else 0, limit=PAGE)
            page = await reader.insist(ask)
            log += [(event["offset"], event.get("id", "")) for event in page["events"]]
            more = page["more"]
        return log

    async def _channel_log(self, channel: str) -> list[Event]:
        reader = self._publishers[0]
        log: list[Event] = []
        while True:
            since = StreamPosition(log[-1][0] if log else 0, "")
            page = await reader.client.history(channel, limit=PAGE, since=since)
            log += [(one.offset, reader.decoded(one.data)["id"]) for one in page.publications]
            if not page.publications:
                return log


async def _join(one: Guest, room: str) -> None:
    await one.insist(lambda: one.call("room.join", room=room))
