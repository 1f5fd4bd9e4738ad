"""Several processes of the chat service: each room has its own, and any other does when that one is not there."""

import asyncio
import os
import signal
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.bench.clients import Frames, eventually, guest, new_message_id
from tests.bench.fleet import Fleet, Service
from tests.bench.metrics import total
from tests.bench.nats import NatsServer

ROOMS = 20
"""Of two processes neither has none of so many, but for one time in half a million."""


@pytest.fixture
def fleet(tmp_path: Path, nats_server: Callable[..., NatsServer]) -> Iterator[Fleet]:
    """Two chat services and two gateways."""
    nats, archive = nats_server(), f"sqlite:///{tmp_path / 'archive.db'}"
    made = Fleet(tmp_path / "fleet", nats.url, nats.passwords, chats=2, DATABASE_URL=archive)
    try:
        yield made.start()
    finally:
        made.end()


@pytest_asyncio.fixture
async def people(fleet: Fleet) -> AsyncIterator[list[Frames]]:
    """One person at each gateway."""
    async with AsyncExitStack() as stack:
        found = []
        for door in fleet.doors:
            account = await guest(door)  # type: ignore[arg-type]
            one = await stack.enter_async_context(await Frames.open(door))  # type: ignore[arg-type]
            await one.enter(account.access)
            found.append(one)
        yield found


async def page(service: Service) -> str:
    """Return its metrics."""
    async with httpx.AsyncClient(trust_env=False) as client:
        return (await client.get(f"{service.url}/metrics", timeout=10)).text


async def rooms_of_both(people: list[Frames]) -> list[str]:
    """Return rooms that both follow."""
    rooms = [await people[0].make_room(f"Room {number}") for number in range(ROOMS)]
    for one in people:
        for room in rooms:
            await one.follow(room)
    return rooms


async def knows_both(fleet: Fleet, people: list[Frames], room: str) -> None:
    """Return when every gateway has begun to send what is about a room to its process."""
    for gateway, one in zip(fleet.gateways, people, strict=True):

        async def chosen(gateway: Service = gateway, one: Frames = one) -> bool:
            await one.say(room, "does it know")
            return total(await page(gateway), "parley_chat_asked_total", route="own") > 0

        await eventually(chosen, f"{gateway.name} knows both processes")


async def say_everywhere(people: list[Frames], rooms: list[str], times: int) -> None:
    """Have both say something in every room, at the same time; fail when anything is refused."""

    async def say(one: Frames) -> None:
        for number in range(times):
            for room in rooms:
                await one.say(room, f"message {number}")

    await asyncio.gather(*map(say, people))


def offsets(one: Frames, room: str) -> list[int]:
    """Return the offsets of what one of them heard in a room."""
    return [push["pub"]["offset"] for push in one.pushes if push.get("channel") == f"room:{room}" and "pub" in push]


async def all_in_order(people: list[Frames], rooms: list[str]) -> None:
    """Hold that everybody has heard the same, without a gap."""
    for room in rooms:
        top = (await people[0].say(room, "the last word"))[0]
        for one in people:
            await one.until(partial(heard, one, room, top), "the last word is heard")
            found = offsets(one, room)
            assert found == list(range(found[0], top + 1))


def heard(one: Frames, room: str, top: int) -> bool:
    """Tell whether that is the last of what was heard."""
    return offsets(one, room)[-1:] == [top]


async def conflicts(fleet: Fleet) -> float:
    """Return how often one process was faster than another, so far."""
    return sum([total(await page(fleet.services[name]), "parley_chat_conflicts_total") for name in ("chat", "chat-2")])


async def sent_by(service: Service) -> float:
    """Return how many messages a process has taken."""
    return total(await page(service), "parley_chat_commands_total", method="message.send", result="ok")


async def test_a_room_is_one_process_s(fleet: Fleet, people: list[Frames]) -> None:
    """Two people at two gateways talk in the same rooms: both processes work, and none meets the other in a room."""
    rooms = await rooms_of_both(people)
    await knows_both(fleet, people, rooms[0])
    before = await conflicts(fleet)
    await say_everywhere(people, rooms, 10)
    assert await conflicts(fleet) == before
    for name in ("chat", "chat-2"):
        assert await sent_by(fleet.services[name]) > 0
    await all_in_order(people, rooms)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_one_that_ends_is_missed_by_nobody(fleet: Fleet, people: list[Frames], how: signal.Signals) -> None:
    """Killed, or told to: what is said from then on in its rooms is taken by the other, and nothing is refused."""
    rooms = await rooms_of_both(people)
    await knows_both(fleet, people, rooms[0])
    ending = fleet.services["chat-2"]
    if how == signal.SIGTERM:
        os.kill(ending.pid, how)
        await say_everywhere(people, rooms, 5)
        await to_thread(ending.stop)
    else:
        await to_thread(ending.kill)
    await say_everywhere(people, rooms, 2)
    await all_in_order(people, rooms)


async def test_one_that_hangs_is_passed_by(fleet: Fleet, people: list[Frames]) -> None:
    """Halted, it keeps its rooms until it was silent for long enough; then the other has them. It goes on: it may have
    kept messages that were given up, and each is there once."""
    rooms = await rooms_of_both(people)
    await knows_both(fleet, people, rooms[0])
    one, hanging = people[0], fleet.services["chat-2"]
    texts = {room: new_message_id() for room in rooms}

    async def said(room: str) -> dict[str, Any]:
        message = {"room": room, "id": texts[room], "text": texts[room]}
        return await one.ask(rpc={"method": "message.send", "data": message})

    os.kill(hanging.pid, signal.SIGSTOP)
    try:
        refused = 0
        for room in rooms:
            while "rpc" not in (reply := await said(room)):
                assert reply["error"]["temporary"], reply
                refused += 1
                assert refused < ROOMS, "nobody takes over"
    finally:
        os.kill(hanging.pid, signal.SIGCONT)
    for room in rooms:  # again, now that it goes on
        assert "rpc" in await said(room)
    await all_in_order(people, rooms)
    for room in rooms:
        assert one.texts(room).count(texts[room]) == 1
