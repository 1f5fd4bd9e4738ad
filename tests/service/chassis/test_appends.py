"""Many records with one sync: each asker is told what became of its own, whatever is wrong with the others."""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from chassis.appends import AT_ONCE, MOST_TOGETHER, MOST_WAITING, Conflict, Stored, Tell
from chassis.bus import Bus, TooLarge, Unavailable
from chassis.settings import Settings
from chassis.streams import Stream
from tests.bench.clients import eventually
from tests.bench.nats import NatsServer
from tests.bench.ring import ROOT

MANY = AT_ONCE + 3 * MOST_TOGETHER
CONFIG: dict[str, Any] = {
    "subjects": ["room.*.log"],
    "storage": "file",
    "allow_direct": True,
    "allow_atomic": True,
    "duplicate_window": 120_000_000_000,
}


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    """A real NATS."""
    return nats_server()


@pytest.fixture
async def bus(server: NatsServer, tmp_path: Path) -> AsyncIterator[Bus]:
    """The connection of a chat service to it."""
    made = Settings(data_dir=tmp_path, nats_url=server.url, nats_password=server.passwords["chat"])  # type: ignore[arg-type]
    async with Bus(made, "chat") as connected:
        yield connected


@pytest.fixture
def groups() -> Counter[str]:
    """How many groups had which result."""
    return Counter()


@pytest.fixture
def tell(groups: Counter[str]) -> Tell:
    """What counts them."""
    return lambda result, _: groups.update([result])


@pytest.fixture
async def stream(bus: Bus, tell: Tell) -> Stream:
    """A stream that takes batches."""
    made = Stream(bus, "ROOMS", tell)
    await made.ensure(**CONFIG)
    return made


def append(stream: Stream, number: int, *, expected: int = 0, body: bytes = b"") -> asyncio.Task[Stored]:
    """Begin to append a record of its own to a subject of its own."""
    return asyncio.create_task(
        stream.append(
            f"room.r{number}.log",
            body or f"body {number}".encode(),
            {"Number": str(number)},
            expected_last=expected,
            message_id=f"id{number}",
        )
    )


async def told(asked: list[asyncio.Task[Stored]]) -> list[Stored | BaseException]:
    """Return what each was told."""
    return await asyncio.gather(*asked, return_exceptions=True)


async def assert_stored(stream: Stream, number: int, found: Stored | BaseException) -> None:
    """Assert that what an asker was told is where its record is, and that it is there once."""
    assert isinstance(found, Stored)
    assert not found.duplicate
    record = await stream.at(found.sequence)
    assert record is not None
    assert (record.subject, record.body) == (f"room.r{number}.log", f"body {number}".encode())
    assert record.headers["Number"] == str(number)
    assert [one.sequence for one in (await stream.read(record.subject, 1))[0]] == [found.sequence]


async def test_each_is_told_its_own_place(stream: Stream, groups: Counter[str]) -> None:
    """Hundreds at once are stored in few groups, in the order in which they came, each once."""

    found = await told([append(stream, number) for number in range(MANY)])

    for number, one in enumerate(found):
        await assert_stored(stream, number, one)
    assert 1 <= groups["stored"] <= 10
    sequences = [one.sequence for one in found[AT_ONCE:] if isinstance(one, Stored)]
    assert sequences == sorted(sequences)


async def test_few_go_by_themselves(stream: Stream, groups: Counter[str]) -> None:
    """What comes while little is under way waits for nobody."""

    found = await told([append(stream, number) for number in range(AT_ONCE)])

    for number, one in enumerate(found):
        await assert_stored(stream, number, one)
    assert not groups["stored"]


async def test_a_conflict_is_nobody_elses(stream: Stream, groups: Counter[str]) -> None:
    """Of a group with one that others were faster than, that one alone is told so; the others are stored once."""
    await append(stream, 100)

    found = await told([append(stream, number) for number in range(200)])

    assert groups["refused"]
    assert isinstance(found[100], Conflict)
    for number, one in enumerate(found):
        if number != 100:
            await assert_stored(stream, number, one)


async def test_a_duplicate_is_nobody_elses(stream: Stream) -> None:
    """Of a group with one that was stored before, that one alone is told so, and where."""
    first = await append(stream, 100)

    found = await told([append(stream, number, expected=(number == 100) * first.sequence) for number in range(200)])

    assert found[100] == Stored(first.sequence, True)
    for number, one in enumerate(found):
        if number != 100:
            await assert_stored(stream, number, one)


async def test_what_nats_does_not_take_is_nobody_elses(stream: Stream) -> None:
    """A record that is too large ends neither the connection nor the group."""
    found = await told([append(stream, number, body=b"x" * 2**21 * (number == 100)) for number in range(200)])

    assert isinstance(found[100], TooLarge)
    for number, one in enumerate(found):
        if number != 100:
            await assert_stored(stream, number, one)


async def test_who_gives_up_in_time_stores_nothing(stream: Stream) -> None:
    """An append that is cancelled while it waits is not made; those around it are."""
    asked = [append(stream, number) for number in range(200)]
    await asyncio.sleep(0)  # all of them have begun; nothing has been sent
    for one in asked[150:]:
        one.cancel()

    found = await told(asked)

    for number, one in enumerate(found[:150]):
        await assert_stored(stream, number, one)
    assert all(isinstance(one, asyncio.CancelledError) for one in found[150:])
    assert (await stream.read("room.r150.log", 1))[0] == []


async def test_a_stream_without_batches_stores_one_by_one(bus: Bus, tell: Tell, groups: Counter[str]) -> None:
    """A stream that was made by an earlier version takes all of it, as before."""
    stream = Stream(bus, "ROOMS", tell)
    await stream.ensure(**{**CONFIG, "allow_atomic": False})

    for turn in range(2):
        found = await told([append(stream, number) for number in range(200 * turn, 200 * turn + 200)])
        for number, one in enumerate(found, 200 * turn):
            await assert_stored(stream, number, one)

    assert not groups["stored"]


async def test_more_than_may_wait_is_refused_at_once(stream: Stream) -> None:
    """The queue has an end, and who comes after it is told so."""
    over = 20

    found = await told([append(stream, number) for number in range(AT_ONCE + MOST_WAITING + over)])

    assert [isinstance(one, Unavailable) for one in found[-over:]] == [True] * over
    assert isinstance(found[-over - 1], Stored)


async def test_an_operator_has_an_old_stream_take_batches(
    bus: Bus, server: NatsServer, tell: Tell, groups: Counter[str], tmp_path: Path
) -> None:
    """After `python -m deploy.streams batches` a service that starts anew stores together; what was there stays."""
    old = Stream(bus, "ROOMS", tell)
    await old.ensure(**{**CONFIG, "allow_atomic": False, "metadata": {"epoch": "e"}})
    kept = await append(old, 1000)

    command = [sys.executable, "-m", "deploy.streams", "batches"]
    given = {"NATS_URL": server.url, "NATS_PASSWORD": server.passwords["operator"], "DATA_DIR": str(tmp_path)}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env=os.environ | given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("streams: ROOMS: ")

    new = Stream(bus, "ROOMS", tell)
    found = await told([append(new, number) for number in range(200)])

    assert groups["stored"]
    for number, one in enumerate(found):
        await assert_stored(new, number, one)
    await assert_stored(new, 1000, kept)


async def test_who_has_no_answer_is_told_so_and_may_ask_again(server: NatsServer, bus: Bus, stream: Stream) -> None:
    """NATS is killed while hundreds are under way: each is told in time; repeated, each is there once."""
    asked = [append(stream, number) for number in range(MANY)]
    await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    server.kill()  # in this turn, so that no more is answered meanwhile

    async with asyncio.timeout(10):
        found = await told(asked)
    assert {type(one) for one in found} <= {Stored, Unavailable}
    assert any(isinstance(one, Unavailable) for one in found)

    await asyncio.to_thread(server.start)
    await eventually(lambda: bus.connected, "NATS is there again", 10)
    await eventually(stream.state, "the stream is there again", 10)
    again = await told([append(stream, number) for number in range(MANY)])
    assert {type(one) for one in again} <= {Stored, Conflict}  # in conflict: it was stored the first time
    for number, one in enumerate(found):
        there, _ = await stream.read(f"room.r{number}.log", 1)
        assert len(there) == 1
        if isinstance(one, Stored):
            assert there[0].sequence == one.sequence
