"""A client that stops reading harms only itself: it is closed, and nobody else notices."""

import asyncio
import json
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.clients import Frames, eventually, guest
from tests.bench.metrics import metric
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
TEXT = "x" * 3000
MESSAGES = 300


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


class Deaf:
    """A client by hand, on a socket with the smallest receive buffer. It reads what it has to, then nothing more."""

    def __init__(self, ring: Ring) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(10)
        self._socket.connect(("127.0.0.1", ring.ports["gateway"]))
        self._socket.sendall(
            b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " in self._read_past(b"\r\n\r\n")

    def ask(self, number: int, **request: object) -> None:
        """Send a command and read until its reply is there."""
        body = json.dumps({"id": number, **request}).encode()
        mask = os.urandom(4)
        length = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0xFE, *divmod(len(body), 256)])
        self._socket.sendall(b"\x81" + length + mask + bytes(one ^ mask[i % 4] for i, one in enumerate(body)))
        self._read_past(b'"id":%d,' % number)

    def is_cut(self) -> bool:
        """Tell whether nothing can be sent any more, without reading."""
        try:
            self._socket.send(b"\x8a\x80\x00\x00\x00\x00")  # an unasked WebSocket pong, which means nothing
        except OSError:
            return True
        return False

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def _read_past(self, mark: bytes) -> bytes:
        read = b""
        while mark not in read:
            piece = self._socket.recv(4096)
            assert piece, read
            read += piece
        return read


@pytest.fixture
def deaf(ring: Ring) -> Iterator[Deaf]:
    """A client that will not read."""
    one = Deaf(ring)
    yield one
    one.close()


def resident(pid: int) -> int:
    """Return the resident memory of a process, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024


async def test_who_does_not_read_is_closed_and_nobody_notices(ring: Ring, frames: Open, deaf: Deaf) -> None:
    """It is cut within 10 s of its socket being full; the others get every message in order, and memory stays."""
    account = await guest(ring)
    speaker = await frames(ring)
    await speaker.enter(account.access)
    room = await speaker.make_room()
    await speaker.follow(room)
    listeners = [await frames(ring) for _ in range(4)]
    for one in listeners:
        await one.enter((await guest(ring)).access)
        await one.follow(room)
    await speaker.say(room, *[f"warm up {number}" for number in range(50)])
    deaf.ask(1, connect={"token": account.access})
    deaf.ask(2, subscribe={"channel": f"room:{room}"})

    async def cut() -> float:
        return await metric(ring, "parley_disconnects_total", cause="slow") + await metric(
            ring, "parley_disconnects_total", cause="network"
        )

    cut_before, stalls_before = await cut(), await metric(ring, "parley_stalls_total")
    connections = await metric(ring, "parley_connections")
    memory = {pid: resident(pid) for pid in ring.worker_pids()}
    most = dict(memory)

    async def talk() -> None:
        for number in range(MESSAGES):
            await speaker.say(room, f"{number} {TEXT}")
            most.update({pid: max(most[pid], resident(pid)) for pid in most})

    talking = asyncio.create_task(talk())

    async def stalled() -> bool:
        return await metric(ring, "parley_stalls_total") > stalls_before

    await eventually(stalled, "the deaf client's socket is full", 30)
    full = time.monotonic()

    async def gone() -> bool:
        return await cut() == cut_before + 1 and await metric(ring, "parley_connections") == connections - 1

    await eventually(gone, "the deaf client is cut", 10, 0.1)
    assert time.monotonic() - full < 10
    await eventually(deaf.is_cut, "its socket is closed", 5)
    await talking
    expected = [f"warm up {number}" for number in range(50)] + [f"{number} {TEXT}" for number in range(MESSAGES)]
    for one in (speaker, *listeners):
        await one.until(lambda one=one: len(one.texts(room)) >= len(expected), "every message arrives")
        assert one.texts(room) == expected
    for pid, before in memory.items():
        assert most[pid] - before < 20 * 1024 * 1024
    # It came, was cut, and is not thought to be present.
    stats = await speaker.ask(presence_stats={"channel": f"room:{room}"})
    assert stats["presence_stats"]["num_clients"] == 5
