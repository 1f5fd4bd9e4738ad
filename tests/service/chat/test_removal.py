"""Removal of a member by another: who may, what is in the log, and that it outlives caches, replicas and archives."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from protocol import codes, events, subjects
from protocol.commands import Refusal
from tests.bench.nats import NatsServer
from tests.service.chat.logbook import archived, checked_log, history, tables
from tests.service.chat.replica import ADA, BOB, GENERAL, Asker, Replica, User

Replicas = Callable[..., Replica]
CYD = User("cyd", "Cyd")


async def hosted(asker: Asker, *guests: User) -> str:
    """Make a room of Ada's with these members besides; return its id."""
    room: str = (await asker.ask(ADA, "room.create", name="Ada's"))["room"]["id"]
    for guest in guests:
        await asker.ask(guest, "room.join", room=room)
    return room


async def code(asker: Asker, user: User, method: str, /, **fields: Any) -> int:
    """Return the code with which a command is refused."""
    answer = await asker.ask(user, method, **fields)
    assert isinstance(answer, Refusal), answer
    return answer.code


async def test_a_member_is_removed_and_readmitted(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path, database: str
) -> None:
    """The creator removes: at every replica the member is out at once and stays out, also over restarts, until back."""
    first, second = replicas(), replicas()
    room = await hosted(asker, BOB, CYD)
    removed = await asker.ask(ADA, "room.remove", room=room, user="bob")
    assert await asker.ask(ADA, "room.remove", room=room, user="bob") == removed == {"offset": 5}
    for _ in range(2):
        refused = await asyncio.gather(
            *(code(asker, BOB, "message.send", room=room, id=f"m{n}", text="hello") for n in range(4)),
            *(code(asker, BOB, "room.history", room=room) for _ in range(4)),
        )
        assert set(refused) == {codes.NOT_A_MEMBER.code}
        joins = await asyncio.gather(*(code(asker, BOB, "room.join", room=room) for _ in range(4)))
        assert set(joins) == {codes.REMOVED.code}
        access = await asyncio.gather(*(asker.ask(BOB, "room.access", room=room) for _ in range(4)))
        assert not any(one["member"] for one in access)
        await archived(first, nats, tmp_path)
        for one in (first, second):
            one.kill()
        await asyncio.gather(*(asyncio.to_thread(one.start) for one in (first, second)))  # what they knew is gone

    log = (await checked_log(nats, tmp_path))[room]
    assert [(event.type, event.user, event.by) for event in log[-1:]] == [(events.LEFT, BOB, ADA)]
    assert await history(asker, ADA, room, 2) == [msgspec.to_builtins(event) for event in log]
    assert (await tables(database))["chat_removed"] == [(room, "bob", "Bob", 5)]

    back = await asker.insist(ADA, "room.readmit", room=room, user="bob")
    assert await asker.ask(ADA, "room.readmit", room=room, user="bob") == back == {"offset": 6}
    assert "offset" in await asker.send(BOB, room, "again")
    await archived(first, nats, tmp_path)
    assert (await tables(database))["chat_removed"] == []


async def test_who_may_not(replicas: Replicas, asker: Asker) -> None:
    """Only the creator, only while a member, and nobody in `general`; ids outside the grammar are refused."""
    replicas()
    room = await hosted(asker, BOB, CYD)
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.ask(BOB, "room.join", room=GENERAL)
    denied = codes.PERMISSION_DENIED.code
    assert await code(asker, BOB, "room.remove", room=room, user="cyd") == denied
    assert await code(asker, BOB, "room.readmit", room=room, user="cyd") == denied
    assert await code(asker, ADA, "room.remove", room=GENERAL, user="bob") == denied
    assert await code(asker, ADA, "room.remove", room=room, user="dan") == codes.NOT_A_MEMBER.code
    assert await code(asker, ADA, "room.remove", room=room, user="ada") == codes.INVALID.code
    assert await code(asker, ADA, "room.remove", room="nowhere", user="bob") == codes.NO_SUCH_ROOM.code
    for bad in ("", ".", "*", "a b", "x" * 33):
        assert await code(asker, ADA, "room.remove", room=room, user=bad) == codes.INVALID.code
        assert await code(asker, ADA, "room.readmit", room=bad, user="bob") == codes.INVALID.code
    await asker.ask(ADA, "room.leave", room=room)
    assert await code(asker, ADA, "room.remove", room=room, user="bob") == codes.NOT_A_MEMBER.code


async def test_the_archive_made_anew_knows_who_is_out(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path, database: str
) -> None:
    """Removals are in the log, so an archive that is made again from it has them too."""
    replica = replicas()
    room = await hosted(asker, BOB, CYD)
    for user in ("bob", "cyd"):
        await asker.ask(ADA, "room.remove", room=room, user=user)
    await asker.ask(ADA, "room.readmit", room=room, user="cyd")
    await archived(replica, nats, tmp_path)
    before = await tables(database)
    await asyncio.to_thread(replica.run, "rebuild-archive")
    assert await tables(database) == before
    assert [row[1] for row in before["chat_removed"]] == ["bob"]


async def test_who_came_back_and_left_in_one_batch_may_join_again(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path, database: str
) -> None:
    """The archive takes many events at once: one who is readmitted and leaves by itself is not out any more."""
    first = replicas(CHAT_ARCHIVE_GATHER_SECONDS="2")
    room = await hosted(asker, BOB)
    await asker.ask(ADA, "room.remove", room=room, user="bob")
    await archived(first, nats, tmp_path)
    assert [row[1] for row in (await tables(database))["chat_removed"]] == ["bob"]
    await asker.ask(ADA, "room.readmit", room=room, user="bob")
    await asker.ask(BOB, "room.leave", room=room)
    await archived(first, nats, tmp_path)
    assert (await tables(database))["chat_removed"] == []
    first.kill()
    await asyncio.to_thread(first.start)  # what it knew is gone
    assert "offset" in await asker.insist(BOB, "room.join", room=room)


async def test_a_removal_and_a_message_race(replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path) -> None:
    """Whatever comes between: in the log there is nothing of the removed one after the removal."""
    replicas(), replicas()
    for turn in range(10):
        room = await hosted(asker, BOB)
        sends = [asker.ask(BOB, "message.send", room=room, id=f"{turn}x{n}", text="hello") for n in range(8)]
        *_, removed = await asyncio.gather(*sends, asker.ask(ADA, "room.remove", room=room, user="bob"))
        log = (await checked_log(nats, tmp_path))[room]
        assert [event.by for event in log if event.offset == removed["offset"]] == [ADA]
        assert not [event for event in log if event.user == BOB and event.offset > removed["offset"]]


async def test_no_client_of_the_remover_is_taken_for_the_removed(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """The record names the removed user and no client: gateways tell clients both as one."""
    replicas()
    room = await hosted(asker, BOB)
    heard: list[dict[str, str]] = []
    await asker.bus.subscribe(subjects.room_live(room), lambda message: heard.append(message.headers))
    await asker.bus.flush()
    await asker.ask(ADA, "room.remove", room=room, user="bob")
    async with asyncio.timeout(10):
        while not heard:
            await asyncio.sleep(0.02)
    assert (heard[0][subjects.USER], heard[0][subjects.EVENT_TYPE]) == ("bob", events.LEFT)
    assert subjects.CLIENT not in heard[0]
