"""Writing to general channels: an offset without a gap, by compare-and-set, from whichever gateway.

Rooms are written by the chat service alone; this file never sees them. What is acknowledged is on disk. A channel
without history is passed on over core NATS, without an offset and at most once.
"""

import asyncio
import base64
import time
from collections import OrderedDict
from dataclasses import dataclass
from weakref import WeakValueDictionary

import msgspec

from chassis.appends import Conflict
from chassis.bus import Bus, Unavailable
from gateway.namespaces import Rules
from gateway.relay import Relay
from protocol import subjects
from protocol.client import ClientInfo
from protocol.client_json import compact, is_json
from protocol.names import new_id
from protocol.subjects import Address

TAILS_KEPT = 10_000
TRIES = 32


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a channel's log."""

    offset: int
    sequence: int
    epoch: str


class Publisher:
    """Publishes into general channels."""

    def __init__(self, bus: Bus, relay: Relay) -> None:
        self._bus = bus
        self._relay = relay
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def publish(
        self,
        channel: str,
        rules: Rules,
        data: bytes,
        info: ClientInfo | None = None,
        tags: dict[str, str] | None = None,
        key: str = "",
    ) -> Tail:
        """Publish `data`; return its position (offset 0 without history). Raises `Unavailable`, or `TooLarge`.

        `key` makes a repeated publication within two minutes count once.
        """
        address = subjects.address(channel)
        data, headers = _written(data, info, tags)
        if not rules.history_size:
            self._bus.send(address.live, data, headers)
            return Tail(0, 0, "")
        async with self._locks.setdefault(channel, asyncio.Lock()):
            return await self._append(address, data, headers, key)

    def pass_on(self, channel: str, data: bytes, info: ClientInfo) -> None:
        """Publish `data` to a channel without history, in this turn. Raises `Unavailable`, or `TooLarge`."""
        data, headers = _written(data, info, None)
        self._bus.send(subjects.address(channel).live, data, headers)

    async def _append(self, address: Address, data: bytes, headers: dict[str, str], key: str) -> Tail:
        stream = self._relay.stream_of(address)
        tail = self._known(address.channel) or await self._read(address)
        for _ in range(TRIES):
            headers |= {subjects.OFFSET: str(tail.offset + 1), subjects.EPOCH: tail.epoch}
            try:
                stored = await stream.append(
                    address.log,
                    data,
                    headers,
                    expected_last=tail.sequence,
                    message_id=f"{address.log}.{key}" if key else None,
                )
            except Conflict:
                self._tails.pop(address.channel, None)
                tail = await self._read(address)
                continue
            except BaseException:  # no answer: it may be stored, so what we know of the end may be wrong
                self._tails.pop(address.channel, None)
                raise
            if stored.duplicate:
                first = await stream.at(stored.sequence)
                return Tail(first.offset if first else 0, stored.sequence, tail.epoch)
            tail = Tail(tail.offset + 1, stored.sequence, tail.epoch)
            self._tails[address.channel] = tail
            self._tails.move_to_end(address.channel)
            if len(self._tails) > TAILS_KEPT:
                self._tails.popitem(last=False)
            return tail
        raise Unavailable("others were faster each time")

    def _known(self, channel: str) -> Tail | None:
        """Return the end as far as it is known here; too old a view costs one conflict."""
        tail = self._tails.get(channel)
        feed = self._relay.feed(channel)
        if feed is not None and feed.epoch and (tail is None or feed.ring.sequence > tail.sequence):
            return Tail(feed.top, feed.ring.sequence, feed.epoch)
        return tail

    async def _read(self, address: Address) -> Tail:
        last = await self._relay.stream_of(address).last(address.log)
        if last is None:
            return Tail(0, 0, new_id())
        return Tail(last.offset, last.sequence, last.headers.get(subjects.EPOCH, ""))


def _written(data: bytes, info: ClientInfo | None, tags: dict[str, str] | None) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a publication."""
    if b"\n" in data and is_json(data):
        data = compact(data)  # a raw newline would cut the lines that JSON clients read
    headers = {subjects.EVENT_TYPE: "publication", subjects.TIME: str(int(time.time() * 1000))}
    if info is not None:
        headers[subjects.INFO] = base64.b64encode(msgspec.json.encode(info)).decode()
    if tags:
        headers[subjects.TAGS] = base64.b64encode(msgspec.json.encode(tags)).decode()
    return data, headers
