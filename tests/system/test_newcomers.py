"""A crowd that connects within a moment: everybody comes in, whoever leaves or dawdles holds nobody up."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.bench.clients import Frames, guest
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


async def test_what_is_sent_behind_the_connect_commands_of_a_crowd_is_carried_out_in_order(
    calm_ring: Ring, frames: Callable[..., Awaitable[Frames]]
) -> None:
    """All are shaken hands with and then say who they are at once, with more behind it in the same frame and in the
    next; each is answered in its order. Meanwhile some have no good token and some leave: they end alone."""
    token = (await guest(calm_ring)).access
    crowd = await asyncio.gather(*(frames(calm_ring) for _ in range(CROWD)))
    bad, gone, good = crowd[::10], crowd[1::10], [one for number, one in enumerate(crowd) if number % 10 > 1]

    async def speak(one: Frames) -> None:
        rpc = {"method": "echo", "data": "here"}
        said = "rubbish" if one in bad else token
        await one.send(one.numbered(connect={"token": said}), one.numbered(rpc=rpc), one.numbered(rpc=rpc))
        await one.send(one.numbered(rpc=rpc))
        if one in gone:
            one.socket.transport.abort()

    await asyncio.gather(*map(speak, crowd))
    await asyncio.gather(*(one.reply(4) for one in good))
    assert [one.order for one in good] == [[1, 2, 3, 4]] * len(good)
    assert all("connect" in one.replies[1] and one.replies[4]["rpc"]["data"] == "here" for one in good)
    assert [(await one.end())[0] for one in bad] == [3500] * len(bad)
