"""Clients by the thousand are cut off at once; others never read."""

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.metrics import total
from tests.faults.conftest import Enter
from tests.faults.flock import Flock
from tests.faults.light import allow_files
from tests.faults.rows import Row
from tests.faults.stage import Stage

BACK = 30.0
UNTOUCHED = 1.0
"""Seconds within which 99 of 100 sends of those are acknowledged whom the fault does not concern."""
FLOCK_ROOMS = 20
"""Rooms that the ten thousand follow."""
NOT_CROWDED = 24
"""Rooms at most of those others: 48 who talk, about 100 messages a second, so that they wait for the storm alone."""
DROPPED = 10.0
SLOW = 3008

pytestmark = [pytest.mark.timeout(1800), pytest.mark.short]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A system whose processes may open as many files as it takes, with pings as they are by default."""
    allow_files(12_000)
    with Stage(tmp_path_factory.mktemp("stage"), PING_SECONDS="25", PONG_SECONDS="8") as made:
        yield made


@pytest.mark.parametrize("how", ["cut", "killed"])
async def test_storm(row: Row, stage: Stage, enter: Enter, how: str) -> None:
    """Ten thousand clients of a gateway are cut off at once, by their network or since the gateway is killed: all come
    back by themselves, within moments, to whichever gateway takes them, and have what they missed. Others talk on."""
    count = 500 if row.short else 10_000
    speakers = await enter(stage, doors=stage.fleet.doors[1:], rooms=FLOCK_ROOMS)
    tokens = [(people[0].account.access, room) for room, people in speakers.rooms.items()]
    crowd = await enter(stage, doors=stage.fleet.doors[1:], rooms=min(row.rooms, NOT_CROWDED))
    messages = row.messages()
    async with Flock(stage.fleet.doors, tokens) as flock:
        began = time.monotonic()
        await flock.gather(count, door=0)
        row.figure("clients", count)
        row.figure("gathered in (s)", time.monotonic() - began)
        crowd.pause = 0.4
        crowd.send()
        await crowd.hear(20, "before")
        cut = time.monotonic()
        if how == "killed":
            await asyncio.to_thread(stage.service("gateway-1").kill)
            stage.service("gateway-1").start()
        else:
            await flock.cut()
        tops = {}
        for room, people in speakers.rooms.items():
            await people[0].say("missed")
            tops[room] = (await people[0].say("missed too")).offset
        found = await flock.back(cut, tops)
        row.bar("all back, with all they missed, after (s)", time.monotonic() - cut, BACK)
        row.bar("others' sends, 99 of 100 within (s)", crowd.within(0.99, cut), UNTOUCHED)
        row.figure("attempts in the busiest second", found["busiest"])
        row.bar("recoveries not granted, events out of turn", float(found["refused"] + found["gaps"]), 0)
        row.bar("others' sockets lost", float(crowd.lost), 0)
        crowd.pause = 0.0
        await crowd.until(messages)
        row.judge(await crowd.finish(), messages)
        row.judge(await speakers.finish(), 2 * FLOCK_ROOMS)
    await asyncio.to_thread(stage.service("gateway-1").wait_until_ready)


async def test_readers_that_do_not_read(row: Row, stage: Stage, enter: Enter) -> None:
    """Clients that never read are dropped within seconds, with everything that waited for them; who is in the same room
    as they notices nothing."""
    count = 20 if row.short else 200
    door = stage.fleet.doors[0]
    crowd = await enter(stage, doors=stage.fleet.doors[:1], rooms=4)
    room = next(iter(crowd.rooms))
    account = await guest(door, "Slow")  # type: ignore[arg-type]
    slow = []
    for _ in range(count):
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", stage.service("gateway-1").port))
        one = await Frames.open(door, sock=narrow)  # type: ignore[arg-type]
        await one.enter(account.access)
        await one.follow(room)
        one.socket.transport.pause_reading()
        slow.append(one)

    async def dropped() -> float:
        page = (await http("GET", f"{stage.service('gateway-1').url}/metrics")).text
        return total(page, "parley_disconnects_total", code=str(SLOW))

    before = await dropped()
    messages = row.messages(short=1_000)
    crowd.text, crowd.pause = "x" * 3_500, 0.01
    began = time.monotonic()
    crowd.send()

    async def all_dropped() -> bool:
        return await dropped() >= before + count

    await eventually(all_dropped, "they are dropped", 60, 0.1)
    row.bar("dropped after (s)", time.monotonic() - began, DROPPED)
    await crowd.until(1_000)
    await crowd.said()
    row.bar("others' sends, 99 of 100 within (s)", crowd.within(0.99, began), UNTOUCHED)
    row.bar("others' sockets lost", float(crowd.lost), 0)
    for one in slow:
        one.socket.transport.abort()
        await one.close()
    row.judge(await crowd.finish(), 1_000)
    if messages > row.acknowledged:
        many = await enter(stage)
        many.send(messages - row.acknowledged)
        row.judge(await many.finish(), 1)
