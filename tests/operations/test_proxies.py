"""Clients behind real reverse proxies with the configurations of docs/proxies/: idle times, reloads, no stickiness.

Pings and idle timeouts are both about ten times shorter than by default (tests/bench/proxies.py).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.fleet import Fleet
from tests.bench.metrics import total
from tests.bench.nats import NatsServer
from tests.bench.party import talk
from tests.bench.people import person
from tests.bench.proxies import IDLE_SECONDS, NAMES, Proxy
from tests.bench.streamed import Streamed

PING_SECONDS = 2
SILENT_END = ("nginx", "haproxy", "envoy")
"""Proxies that end a connection on which nothing passes."""

Proxies = Callable[..., Proxy]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two gateways with short pings, for all proxies."""
    directory = tmp_path_factory.mktemp("proxies")
    server = NatsServer(directory / "nats").start()
    made = Fleet(
        directory / "fleet",
        server.url,
        server.passwords,
        PING_SECONDS=str(PING_SECONDS),
        PONG_SECONDS="3.5",
        ALLOWED_ORIGINS="http://127.0.0.1",
    )
    try:
        yield made.start()
    finally:
        made.end()
        server.stop()


@pytest.fixture
def proxies(fleet: Fleet, tmp_path: Path) -> Iterator[Proxies]:
    """Make running proxies: `proxies("nginx")`."""
    made: list[Proxy] = []

    def make(name: str, silent: int = 0) -> Proxy:
        made.append(Proxy(name, tmp_path / f"{name}{len(made)}", fleet, silent))
        return made[-1].start()

    yield make
    for proxy in made:
        proxy.stop()


@asynccontextmanager
async def streamed(proxy: Proxy, form: str) -> AsyncIterator[Streamed]:
    """Connect over HTTP through `proxy`, and follow the general room."""
    one = Streamed(proxy.door(), form)
    try:
        await one.open(token=(await guest(proxy.door())).access)
        assert await one.entered()
        await one.call("room.join", room="general")
        await one.follow("general")
        yield one
    finally:
        await one.leave()


@pytest.mark.parametrize("name", NAMES)
async def test_idle_clients_stay(proxies: Proxies, name: str) -> None:
    """A WebSocket, an HTTP stream and an event stream live longer than the proxy's idle timeout, on pings alone; frames
    of the streams need no stickiness; then a message reaches all."""
    proxy = proxies(name)
    official = await person(proxy.door(), "Ann")
    seat = await official.follow()
    async with streamed(proxy, "lines") as lines, streamed(proxy, "events") as events:
        async with await Frames.open(proxy.door()) as frames:
            await frames.enter((await guest(proxy.door())).access)
            began = time.monotonic()
            pings = IDLE_SECONDS * 2 // PING_SECONDS
            for ping in (lambda: len(frames.pings), lambda: lines.pings, lambda: events.pings):
                await eventually(lambda ping=ping: ping() >= pings, "pings for two idle timeouts", 60)
            assert time.monotonic() - began > IDLE_SECONDS * 1.5
            assert not frames.closed
        said = [await official.insist(f"awake {number}") for number in range(10)]
        texts = [one.text for one in said]
        await lines.until(lambda: lines.texts[-10:] == texts, "the stream has all")
        await events.until(lambda: events.texts[-10:] == texts, "the event stream has all")
        await eventually(lambda: seat.texts[-10:] == texts, "the socket has all")
        assert (len(official.connected), official.disconnected) == (1, [])
    await official.leave()


@pytest.mark.parametrize("name", SILENT_END)
async def test_what_is_silent_is_ended(proxies: Proxies, name: str) -> None:
    """Without pings each of these proxies does end the connection: the test above is about something."""
    waiting = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        )
        await writer.drain()
        waiting.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as silent:
        proxy = proxies(name, silent.sockets[0].getsockname()[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(
            b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        await asyncio.wait_for(waiting.wait(), 5)
        assert await asyncio.wait_for(reader.read(), IDLE_SECONDS * 3) == b""
        writer.close()


@pytest.mark.parametrize("name", NAMES)
async def test_a_reload_and_a_restart_cost_no_message(proxies: Proxies, fleet: Fleet, name: str) -> None:
    """While people talk, some through the proxy, it takes its configuration anew and is then killed and started: who
    was cut off comes back and recovers exactly."""
    proxy = proxies(name)
    async with talk(proxy.door(), fleet.doors[1]) as party:
        proxy.renew()
        await party.hear(5, "after the reload")
        proxy.restart()
        await party.hear(5, "after the restart")
        await party.finish()
        through = party.reconnects[::2]
        assert all(count >= 1 for count in through), party.reconnects
        assert party.reconnects[1::2] == [0, 0]


@pytest.mark.parametrize("name", NAMES)
async def test_both_gateways_are_used_and_nothing_internal_is_reached(
    proxies: Proxies, fleet: Fleet, name: str
) -> None:
    """Connections spread over both gateways; health and metrics end at the proxy."""
    proxy = proxies(name)
    crowd = [await Frames.open(proxy.door()) for _ in range(12)]
    for one in crowd:
        await one.enter((await guest(proxy.door())).access)
    pages = [(await http("GET", f"{gateway.url}/metrics")).text for gateway in fleet.gateways]
    held = [total(page, "parley_connections") for page in pages]
    assert min(held) >= 3, held
    for path in ("/metrics", "/health/ready", "/health/live"):
        assert (await http("GET", f"{proxy.door().gateway_url}{path}")).status_code == 404
    for one in crowd:
        await one.close()
