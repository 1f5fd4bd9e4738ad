"""Floods of commands, connections and pings: each has a bound with a name, and a bystander is served meanwhile."""

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import websockets

from tests.bench.beside import GatewayBeside
from tests.bench.clients import Frames, eventually, guest
from tests.bench.metrics import metrics_page, total
from tests.bench.ring import Ring
from tests.security.conftest import BURST, STRANGERS, USER_CONNECTIONS

Open = Callable[..., Awaitable[Frames]]
ECHO = {"method": "echo", "data": {"x": 1}}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def ring(guarded_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return guarded_ring


async def test_commands_above_the_rate_are_refused_and_then_end_it(ring: Ring, entered: Open) -> None:
    """A burst is answered; then commands are error 111; who does not stop is closed with 3013, and nobody else."""
    bystander, one = await entered(ring), await entered(ring)
    results = [await one.ask(rpc=ECHO) for _ in range(BURST + 20)]
    codes = [result.get("error", {}).get("code", 0) for result in results]
    assert codes[: BURST - 1] == [0] * (BURST - 1)
    assert 111 in codes
    assert set(codes) == {0, 111}
    assert all(result["error"]["temporary"] for result in results if "error" in result)

    async def hurry() -> None:
        for _ in range(3 * BURST):
            await one.send(one.numbered(rpc=ECHO))

    flood = asyncio.create_task(hurry())
    assert (await one.end())[0] == 3013
    await asyncio.gather(flood, return_exceptions=True)
    assert await bystander.call("echo", x=2) == {"x": 2}


async def test_who_waits_after_a_refusal_goes_on(ring: Ring, entered: Open) -> None:
    """Error 111 is temporary: the same connection is served again when it has waited."""
    one = await entered(ring)
    while "error" not in await one.ask(rpc=ECHO):
        pass

    async def served() -> bool:
        return "rpc" in await one.ask(rpc=ECHO)

    await eventually(served, "it is served again", every=0.3)  # it waits, as the error asks for


async def test_a_user_has_so_many_connections_on_all_gateways(ring: Ring, frames: Open) -> None:
    """Beyond MAX_USER_CONNECTIONS, counted over three processes, the oldest are closed with 4502; others stay."""
    account, other = await guest(ring, "Many"), await guest(ring, "Other")
    url = ring.websocket_url
    nats = f"nats://127.0.0.1:{ring.ports['nats']}"

    def beside() -> GatewayBeside:
        return GatewayBeside(ring, nats, GATEWAY_WORKERS="1").__enter__()

    second = await asyncio.to_thread(beside)
    try:
        bystander = await frames(ring)
        await bystander.enter(other.access)
        opened: list[Frames] = []
        for place in (url, second.websocket_url) * USER_CONNECTIONS:
            ring.websocket_url = place
            one = await frames(ring)
            await one.ask(connect={"token": account.access})
            opened.append(one)
        ring.websocket_url = url
        await eventually(
            lambda: sum(not one.closed for one in opened) == USER_CONNECTIONS, "only as many as allowed are left", 30
        )
        ended = [one for one in opened if one.closed]
        assert {(await one.end())[0] for one in ended} == {4502}
        left = [one for one in opened if not one.closed]
        assert [await one.call("echo", x=3) for one in left] == [{"x": 3}] * USER_CONNECTIONS
        assert opened[-1] in left
        assert opened[0] not in left
        assert await bystander.call("echo", x=4) == {"x": 4}
        page = await metrics_page(ring, "gateway") + await asyncio.to_thread(second.metrics)
        assert total(page, "parley_disconnects_total", code="4502") >= USER_CONNECTIONS
    finally:
        ring.websocket_url = url
        await asyncio.to_thread(second.__exit__, None, None, None)


async def test_strangers_of_one_address_have_so_many_places(ring: Ring, frames: Open) -> None:
    """Who has not said who it is takes a place of its address; who comes from elsewhere, or proves itself, gets in."""
    flood = {"X-Forwarded-For": "198.51.100.7"}
    people = [await guest(ring, f"Stranger {number}") for number in range(3)]

    async def asked(headers: dict[str, str]) -> Frames | websockets.Response:
        try:
            return await frames(ring, additional_headers=headers)
        except websockets.InvalidStatus as refused:
            return refused.response

    async def let_in(headers: dict[str, str]) -> bool:
        return isinstance(await asked(headers), Frames)

    places = STRANGERS * len(ring.worker_pids())
    answers = [await asked(flood) for _ in range(places + 30)]
    inside = [one for one in answers if isinstance(one, Frames)]
    refused = [one for one in answers if not isinstance(one, Frames)]
    assert STRANGERS <= len(inside) <= places
    assert {(one.status_code, one.headers["Retry-After"]) for one in refused} == {(503, "5")}

    assert await let_in({"X-Forwarded-For": "198.51.100.8"})
    assert await let_in(flood | {"Authorization": f"Bearer {people[0].access}"})
    page = await metrics_page(ring, "gateway")
    assert total(page, "parley_connections_refused_total", reason="strangers") >= len(refused)

    for one, account in zip(inside, people, strict=False):
        assert await one.enter(account.access)
    await eventually(lambda: let_in(flood), "those who have said who they are left their places")
    for one in inside:
        await one.close()
    for _ in range(STRANGERS):
        await eventually(lambda: let_in(flood), "those who left have, too")


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def masked(opcode: int, payload: bytes) -> bytes:
    """Return a small frame as a client sends it, with a mask of zeros."""
    return struct.pack("!BB", 0x80 | opcode, 0x80 | len(payload)) + bytes(4) + payload


async def test_pings_of_a_peer_that_never_reads_do_not_fill_the_memory(ring: Ring, entered: Open) -> None:
    """64 MiB of pings, none of whose answers is read: the process keeps its size, and the peer is cut off."""
    bystander = await entered(ring)
    pids = await asyncio.to_thread(ring.worker_pids)
    before = {pid: resident(pid) for pid in pids}
    most = dict(before)
    done = asyncio.Event()

    def flood() -> int:
        with socket.create_connection(("127.0.0.1", ring.ports["gateway"]), 10) as peer:
            peer.sendall(
                b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            assert peer.recv(12) == b"HTTP/1.1 101"
            pings = masked(9, b"p" * 125) * 500
            sent = 0
            try:
                while sent < 64 * MIB:
                    sent += peer.send(pings)
            except OSError:
                pass  # cut off, as it should be
            return sent

    async def watch() -> None:
        while not done.is_set():
            for pid in pids:
                most[pid] = max(most[pid], resident(pid))
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    sent = await asyncio.to_thread(flood)
    done.set()
    await watching
    assert sent > MIB
    assert max(most[pid] - before[pid] for pid in pids) < 16 * MIB
    assert await bystander.call("echo", x=5) == {"x": 5}


UNFINISHED = {
    "nothing": b"",
    "half a head": b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    "half a second head": b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nX",
}


async def test_who_does_not_finish_a_request_is_dropped(ring: Ring) -> None:
    """A connection without a whole head of a request does not stay in any service, and with it its file descriptor."""

    async def dropped(part: str, sent: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", ring.ports[part])
        try:
            writer.write(sent)
            while await reader.read(65536):
                pass
        except ConnectionResetError:
            pass  # the usual end of it
        finally:
            writer.close()

    async with asyncio.timeout(45):
        await asyncio.gather(
            *(dropped(part, sent) for part in ("gateway", "auth", "chat") for sent in UNFINISHED.values())
        )
