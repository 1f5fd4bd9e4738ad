"""A crowd that connects within a moment: everybody comes in, whoever leaves or dawdles holds nobody up."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.bench.clients import Frames
from tests.bench.ring import Ring

CROWD = 150
"""More than a process hears in some turns of its event loop (`gateway/turnstile.py`)."""
HANDSHAKE = (
    b"GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
IN = b"HTTP/1.1 101"
Socket = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def arrive(ring: Ring, said: bytes) -> Socket:
    """Connect, and say something at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ring.ports["gateway"])
    writer.write(said)
    return reader, writer


async def leave(sockets: list[Socket]) -> None:
    """Close from our side, whatever is unread."""
    for _, writer in sockets:
        writer.transport.abort()


async def test_everybody_of_a_crowd_comes_in(calm_ring: Ring) -> None:
    """Many speak within one turn of the gateway's event loop, and each is answered."""
    crowd = await asyncio.gather(*(arrive(calm_ring, HANDSHAKE) for _ in range(CROWD)))
    try:
        async with asyncio.timeout(20):
            heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in crowd))
        assert [head[: len(IN)] for head in heads] == [IN] * CROWD
    finally:
        await leave(crowd)


async def test_who_left_while_waiting_is_forgotten(calm_ring: Ring) -> None:
    """Most of a crowd break off as soon as they have spoken; the others come in, and the gateway is as before."""
    crowd = await asyncio.gather(*(arrive(calm_ring, HANDSHAKE) for _ in range(CROWD)))
    stayed = crowd[::4]
    try:
        await leave([one for one in crowd if one not in stayed])
        async with asyncio.timeout(20):
            heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in stayed))
        assert [head[: len(IN)] for head in heads] == [IN] * len(stayed)
    finally:
        await leave(stayed)


async def test_who_says_rubbish_holds_nobody_up(calm_ring: Ring, entered: Callable[..., Awaitable[Frames]]) -> None:
    """Half a head, no HTTP, nothing more: who comes behind them waits for none of it."""
    rubbish = [b"GET /", b"\x00" * 64, b"\r\n\r\n", b"POST /emulation HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"]
    crowd = await asyncio.gather(*(arrive(calm_ring, rubbish[i % len(rubbish)]) for i in range(CROWD)))
    try:
        async with asyncio.timeout(5):  # below the 10 s that a head may take
            one = await entered(calm_ring)
            assert (await one.ask(rpc={"method": "echo", "data": "here"}))["rpc"]["data"] == "here"
    finally:
        await leave(crowd)
