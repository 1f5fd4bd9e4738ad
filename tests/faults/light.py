"""Clients by the ten thousand: each follows one room in plain frames, and comes back with its position when cut off.

No task, no library, no event kept: what a client costs here is a socket. Imports nothing of ours.
"""

import asyncio
import json
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tests.bench.clients import eventually
from tests.bench.fleet import Door

FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
"""Seconds before coming back: a random part of the first, doubled with each attempt that fails; as SDKs do it."""
AT_ONCE = 100
"""Connections begun together while the flock gathers; coming back is bounded by nothing but chance."""
_decode = msgspec.json.Decoder().decode


@dataclass
class Flock:
    """All of them."""

    doors: Sequence[Door]
    tokens: Sequence[tuple[str, str]]
    """Token and room of each account; clients share them."""
    lights: list["Light"] = field(default_factory=list)
    closes: Counter[int] = field(default_factory=Counter)
    attempts: list[float] = field(default_factory=list)
    """When somebody tried to connect."""
    refused: int = 0
    """Recoveries that were not granted."""
    gaps: int = 0
    """Events that did not follow the one before."""
    gone: bool = False

    async def gather(self, count: int, door: int) -> None:
        """Have so many come in at one door."""
        for number in range(count):
            token, room = self.tokens[number % len(self.tokens)]
            self.lights.append(Light(self, token, room, door))
            self.lights[-1].connect()
            if number % AT_ONCE == AT_ONCE - 1:
                await eventually(lambda: self.up >= len(self.lights) - AT_ONCE, "those before are in", 60)
        await eventually(lambda: self.up == count, "all of them follow their room", 60)

    @property
    def up(self) -> int:
        """How many follow their room."""
        return sum(one.up for one in self.lights)

    def behind(self, tops: dict[str, int]) -> int:
        """Return how many do not have everything."""
        return sum(not one.up or one.offset < tops[one.room] for one in self.lights)

    def later(self, seconds: float, call: "Light") -> None:
        """Have a client connect again after a while, unless all leave."""
        if not self.gone:
            asyncio.get_running_loop().call_later(seconds, call.connect)

    async def leave(self) -> None:
        """Have nobody left."""
        self.gone = True
        for one in self.lights:
            one.abort()
        await eventually(lambda: not any(one.open for one in self.lights), "all are gone", 30)


class Light(asyncio.Protocol):
    """One of them."""

    __slots__ = ("_buffer", "_epoch", "_flock", "_token", "_transport", "_tries", "_turn", "offset", "room", "up")

    def __init__(self, flock: Flock, token: str, room: str, turn: int) -> None:
        self._flock, self._token, self.room, self._turn = flock, token, room, turn
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._epoch = ""
        self._tries = 0
        self.offset = -1
        self.up = False

    @property
    def open(self) -> bool:
        """Whether there is a socket."""
        return self._transport is not None

    def connect(self) -> None:
        """Begin to connect."""
        if self._flock.gone:
            return
        self._flock.attempts.append(time.monotonic())
        asyncio.ensure_future(self._connect())  # noqa: RUF006 - it ends by itself, within the kernel's connect

    async def _connect(self) -> None:
        door = self._flock.doors[self._turn % len(self._flock.doors)]
        port = int(door.gateway_url.rpartition(":")[2])
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
        except OSError:
            self._again()

    def abort(self) -> None:
        """Break off."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._buffer = transport, b""
        transport.write(
            b"GET /connection/websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.up = False
        self._again()

    def _again(self) -> None:
        self._turn += 1
        wait = random.random() * min(LONGEST_WAIT, FIRST_WAIT * 2**self._tries)
        self._tries += 1
        self._flock.later(wait, self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._buffer.startswith(b"HTTP/"):
            head, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                self.abort()
                return
            self._buffer = rest
            self._greet()
        while (frame := self._next_frame()) is not None:
            opcode, payload = frame
            if opcode == 8:
                self._flock.closes[int.from_bytes(payload[:2], "big")] += 1
                self.abort()
                return
            for line in payload.split(b"\n"):
                self._take(_decode(line))

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        length, start = buffer[1] & 127, 2
        if length >= 126:
            start = 4 if length == 126 else 10
            length = int.from_bytes(buffer[2:start], "big")
        if len(buffer) < start + length:
            return None
        self._buffer = buffer[start + length :]
        return buffer[0] & 15, buffer[start : start + length]

    def _greet(self) -> None:
        ask: dict[str, object] = {"channel": f"room:{self.room}", "recoverable": True}
        if self.offset >= 0:
            ask |= {"recover": True, "offset": self.offset, "epoch": self._epoch}
        self._send(
            json.dumps({"id": 1, "connect": {"token": self._token}}) + "\n" + json.dumps({"id": 2, "subscribe": ask})
        )

    def _send(self, text: str) -> None:
        assert self._transport is not None
        data, mask = text.encode(), os.urandom(4)
        size = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
        repeated = (mask * (len(data) // 4 + 1))[: len(data)]
        masked = (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(data), "big")
        self._transport.write(b"\x81" + size + mask + masked)

    def _take(self, reply: dict[str, dict[str, object]]) -> None:
        if not reply:
            self._send("{}")
        elif "error" in reply:
            self.abort()
        elif "subscribe" in reply:
            self._followed(reply["subscribe"])
        elif "push" in reply and reply["push"].get("channel") == f"room:{self.room}" and "pub" in reply["push"]:
            self._got(reply["push"]["pub"]["offset"])  # type: ignore[index]

    def _followed(self, result: dict[str, object]) -> None:
        if self.offset >= 0 and not result.get("recovered"):
            self._flock.refused += 1
            self.offset = int(result.get("offset", 0))  # type: ignore[call-overload]
        elif self.offset < 0:
            self.offset = int(result.get("offset", 0))  # type: ignore[call-overload]
        for one in result.get("publications", ()):  # type: ignore[attr-defined]
            self._got(one["offset"])
        self._epoch = str(result["epoch"])
        self._tries = 0
        self.up = True

    def _got(self, offset: int) -> None:
        if offset != self.offset + 1:
            self._flock.gaps += 1
        self.offset = offset


def allow_files(count: int) -> None:
    """Let this process, and those it starts from now on, open that many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= count, f"the hard limit of open files is {hard}; raise it with ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
