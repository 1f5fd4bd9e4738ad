"""Who is subscribed where, across all gateways, without ghosts (ADR 0004).

Each subscription is one entry in the memory stream PRESENCE, under the id of the process that holds it. The process
renews one lease for all of its entries; entries of a process whose lease has expired do not count, and the first
gateway that notices removes them and announces the leave. Nothing here is needed to deliver messages.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from chassis import logs
from chassis.appends import Conflict
from chassis.bus import Bus, Message, Subscription, Unavailable
from chassis.streams import Record, Stream
from gateway import metrics
from gateway.hub import Hub
from gateway.publications import Shared
from gateway.settings import GatewaySettings
from protocol import subjects
from protocol.client import ClientInfo, Join, Leave, Push, Reply
from protocol.subjects import Address

log = logs.get(__name__)

MAX_WAITING = 100_000
"""Changes that may wait to be written; beyond it they are dropped, and the next renewal of all entries mends it."""
TOMBSTONE_SECONDS = 5
SLICE = 200
"""Entries written in one turn of the event loop, some 2 ms of work: writing waits for nothing, so nobody else would
get a turn before the last one."""


class TooMany(Exception):
    """More clients are present than one answer may list."""


class _Announcement(msgspec.Struct):
    joined: bool
    info: ClientInfo


class _Entry(msgspec.Struct):
    channel: str
    info: ClientInfo


_decoder = msgspec.json.Decoder(_Entry)


class Presence:
    """The presence of this process's clients, and the view of everybody's."""

    def __init__(
        self, gateway: str, bus: Bus, hub: Hub, settings: GatewaySettings, tell: Callable[[], bytes] = bytes
    ) -> None:
        """`tell` gives what the other processes are to know of this one; it goes with the lease."""
        self._gateway = gateway
        self._bus = bus
        self._hub = hub
        self._settings = settings
        self._stream = Stream(bus, subjects.PRESENCE_STREAM)
        self._mine: dict[tuple[str, str], ClientInfo] = {}
        self._alive: set[str] = set()
        self._tell = tell
        self._told: dict[str, bytes] = {}
        self._told_at = time.monotonic()
        self._waiting: deque[tuple[str, ClientInfo, bool]] = deque()
        self._work = asyncio.Event()
        self._watched: dict[str, Subscription] = {}
        self._watching = asyncio.Lock()
        self._idle: set[str] = set()
        self._renew_all = True

    def joined(self, channel: str, info: ClientInfo) -> None:
        """Take note that a client subscribed; written and announced in the background, in order."""
        self._mine[channel, info.client] = info
        self._change(channel, info, True)

    def left(self, channel: str, client: str) -> None:
        """Take note that a client's subscription ended."""
        info = self._mine.pop((channel, client), None)
        if info is not None:
            self._change(channel, info, False)

    async def of_channel(self, channel: str) -> dict[str, ClientInfo]:
        """Return client id to client for everybody in `channel`; raise `TooMany` or `Unavailable`."""
        found: dict[str, ClientInfo] = {}
        records = [one async for one in self._stream.read_all(subjects.presence_of_channel(subjects.address(channel)))]
        holders = {_holder(one) for one in records}
        if not holders <= self._alive | {self._gateway}:
            self._alive = await self._leases()  # a gateway that started since our last look
        for one in records:
            if subjects.GONE in one.headers or _holder(one) == self._gateway or _holder(one) not in self._alive:
                continue
            if (entry := _entry(one)) is not None:
                found[entry.info.client] = entry.info
        # What we hold ourselves is known here better than in the stream.
        found.update({client: info for (where, client), info in self._mine.items() if where == channel})
        if len(found) > self._settings.max_presence:
            raise TooMany(str(len(found)))
        return found

    async def watch(self, address: Address) -> None:
        """Receive join and leave of a channel, for followers that asked for them; raise `Unavailable`."""
        channel = address.channel

        def received(message: Message) -> None:
            self._announced(channel, message)

        async with self._watching:
            if channel not in self._watched:
                self._watched[channel] = await self._bus.subscribe(address.presence, received)

    def loads(self, seconds: float) -> dict[str, bytes]:
        """Return process to what it told with its lease; nothing when that was read more than `seconds` ago."""
        return dict(self._told) if time.monotonic() - self._told_at <= seconds else {}

    async def run(self) -> None:
        """Keep the lease, write changes, sweep after gateways that died. Runs for ever."""
        self._bus.on_connect(self._reconnected)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._write_changes())
            tasks.create_task(self._keep_lease())

    async def withdraw(self) -> None:
        """Give up the lease, so that what this process held is gone at once."""
        try:
            await self._put(subjects.lease(self._gateway), b"", {subjects.GONE: "1", subjects.NATS_TTL: "1s"})
        except Unavailable as error:
            log.debug("lease left to expire", reason=str(error))

    def _reconnected(self) -> None:
        # The stream is in memory: it may have gone with the NATS server.
        self._renew_all = True
        self._work.set()

    def _change(self, channel: str, info: ClientInfo, joined: bool) -> None:
        if len(self._waiting) >= MAX_WAITING:
            metrics.overflows.labels("presence").inc()
            self._renew_all = True
            return
        self._waiting.append((channel, info, joined))
        self._work.set()

    async def _write_changes(self) -> None:
        while True:
            await self._work.wait()
            self._work.clear()
            while self._waiting:
                try:
                    for _ in range(min(SLICE, len(self._waiting))):
                        await self._write(*self._waiting[0])
                        self._waiting.popleft()
                except Unavailable:
                    # Whatever was lost meanwhile is written again after the reconnect.
                    self._renew_all = True
                    self._waiting.clear()
                await asyncio.sleep(0)

    async def _write(self, channel: str, info: ClientInfo, joined: bool) -> None:
        address = subjects.address(channel)
        entry = subjects.presence_entry(address, self._gateway, info.client)
        headers = {} if joined else {subjects.GONE: "1", subjects.NATS_TTL: f"{TOMBSTONE_SECONDS}s"}
        await self._put(entry, msgspec.json.encode(_Entry(channel, info)), headers)
        await self._announce(address, info, joined)

    async def _put(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        self._bus.send(subject, body, headers)

    async def _announce(self, address: Address, info: ClientInfo, joined: bool) -> None:
        self._bus.send(address.presence, msgspec.json.encode(_Announcement(joined, info)))

    def _announced(self, channel: str, message: Message) -> None:
        try:
            change = msgspec.json.decode(message.body, type=_Announcement)
        except msgspec.DecodeError:
            log.warning("presence announcement not understood")
            return
        if change.joined:
            push = Push(channel=channel, join=Join(change.info))
        else:
            push = Push(channel=channel, leave=Leave(change.info))
        shared = Shared(Reply(push=push))
        for follower in self._hub.followers(channel):
            if follower.wants_join_leave(channel):
                follower.deliver(shared)

    async def _keep_lease(self) -> None:
        every = self._settings.lease_seconds / 3
        ttl = {subjects.NATS_TTL: f"{self._settings.lease_seconds}s"}
        while True:
            try:
                if self._renew_all:
                    self._renew_all = False
                    await self._stream.ensure(**_config(self._settings))
                    await self._renew()
                await self._put(subjects.lease(self._gateway), self._tell(), ttl)
                before, self._alive = self._alive, await self._leases()
                if before - self._alive or not before:
                    await self._sweep()
                await self._stop_watching_idle()
            except Unavailable as error:
                self._renew_all = True
                log.debug("presence not kept", reason=str(error))
            await asyncio.sleep(every)

    async def _renew(self) -> None:
        for number, ((channel, client), info) in enumerate(list(self._mine.items())):
            if (channel, client) in self._mine:
                entry = subjects.presence_entry(subjects.address(channel), self._gateway, client)
                await self._put(entry, msgspec.json.encode(_Entry(channel, info)), {})
            if number % SLICE == SLICE - 1:
                await asyncio.sleep(0)

    async def _leases(self) -> set[str]:
        records = [one async for one in self._stream.read_all(subjects.PRESENCE_LEASES)]
        self._told = {one.subject.rpartition(".")[2]: one.body for one in records if subjects.GONE not in one.headers}
        self._told_at = time.monotonic()
        return self._told.keys() | {self._gateway}

    async def _sweep(self) -> None:
        """Remove what gateways without a lease left behind; of several sweepers one wins each entry."""
        async for one in self._stream.read_all(subjects.PRESENCE_ENTRIES):
            if subjects.GONE in one.headers or _holder(one) in self._alive:
                continue
            headers = {subjects.GONE: "1", subjects.NATS_TTL: f"{TOMBSTONE_SECONDS}s"}
            try:
                await self._stream.append(one.subject, one.body, headers, expected_last=one.sequence)
            except Conflict:
                continue
            metrics.presence_swept.inc()
            if (entry := _entry(one)) is not None:
                await self._announce(subjects.address(entry.channel), entry.info, False)

    async def _stop_watching_idle(self) -> None:
        idle = {channel for channel in self._watched if not self._hub.has_followers(channel)}
        # Twice in a row, so that a subscription being made right now does not lose its watch.
        for channel in idle & self._idle:
            await self._bus.unsubscribe(self._watched.pop(channel))
        self._idle = idle


def _holder(entry: Record) -> str:
    return entry.subject.split(".")[3]


def _entry(found: Record) -> _Entry | None:
    try:
        return _decoder.decode(found.body)
    except msgspec.DecodeError:
        log.warning("presence entry not understood", sequence=found.sequence)
        return None


def _config(settings: GatewaySettings) -> dict[str, Any]:
    return {
        "subjects": [subjects.PRESENCE_ALL],
        "storage": "memory",
        "retention": "limits",
        "discard": "old",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "allow_msg_ttl": True,
        "num_replicas": settings.nats_replicas,
    }
