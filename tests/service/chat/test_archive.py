"""The archive: the log in SQL, and nothing else."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from chassis.bus import Bus
from chassis.streams import Stream
from protocol import codes, events, subjects
from protocol.commands import Refusal
from tests.bench.nats import NatsServer
from tests.service.chat.logbook import archived, checked_log, history, tables
from tests.service.chat.replica import ADA, BOB, GENERAL, Asker, Replica, User, chat_settings

Replicas = Callable[..., Replica]


async def live_in(asker: Asker, messages: int = 30) -> str:
    """Make a room with some life in it; return its id."""
    made = await asker.ask(ADA, "room.create", name="Life")
    room: str = made["room"]["id"]
    for n in range(messages):
        if n % 5 == 0:
            await asker.ask(BOB, "room.join", room=room)
        await asker.send((ADA, BOB)[n % 2], room, f"m{n}", f"line {n}\nwith é and \U0001f680")
        if n % 5 == 3:
            await asker.ask(BOB, "room.leave", room=room)
    return room


async def says(replica: Replica, word: str) -> None:
    """Wait until readiness says `word` about the archive."""
    async with asyncio.timeout(15):
        while word not in replica.missing().get("archive", ""):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("page", [1, 7, 100])
async def test_history_is_the_log_in_pages(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path, page: int
) -> None:
    """Paged forwards and backwards, with any page, history is what the log holds."""
    replicas()
    room = await live_in(asker)
    log = [msgspec.to_builtins(event) for event in (await checked_log(nats, tmp_path))[room]]

    assert await history(asker, ADA, room, page) == log
    assert await history(asker, ADA, room, page, forward=False) == log


async def test_long_messages_come_in_shorter_pages(replicas: Replicas, asker: Asker) -> None:
    """A page of a hundred long messages is more than NATS takes at once: it is cut, and `more` says so."""
    replicas()
    room = await live_in(asker, 0)
    for n in range(60):
        await asker.send(ADA, room, f"long{n}", f"{n} " + "\U0001f680" * 1000)

    page = await asker.ask(ADA, "room.history", room=room, limit=100)
    assert page["more"]
    assert page["events"][-1]["offset"] == 62
    for forward in (True, False):
        found = await history(asker, ADA, room, 100, forward=forward)
        assert [event["offset"] for event in found] == list(range(1, 63))


async def test_what_was_answered_is_in_the_next_read(replicas: Replicas, asker: Asker) -> None:
    """Through whichever of two replicas, reads have what was acknowledged before they were asked."""
    replicas(), replicas()
    for n in range(25):
        made = await asker.ask(ADA, "room.create", name=f"Room {n}")
        room = made["room"]["id"]
        sent = await asker.send(ADA, room, "m")
        found = await asker.ask(ADA, "room.history", room=room, limit=1)
        assert found["events"][0]["offset"] == sent["offset"]
        joined = await asker.ask(BOB, "room.join", room=room)
        assert joined["room"] == {**made["room"], "members": 2, "messages": 1}
        members = await asker.ask(BOB, "room.members", room=room)
        assert members == {"members": [{"id": "ada", "name": "Ada"}, {"id": "bob", "name": "Bob"}], "total": 2}
        listed = await asker.ask(BOB, "room.list")
        assert {**made["room"], "members": 2, "messages": 1} in listed["rooms"]
    assert len(listed["rooms"]) == 26


async def test_a_rebuilt_archive_is_the_same(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str, tmp_path: Path
) -> None:
    """rebuild-archive, which reads the log, makes the tables that were made of what was heard, beside a service."""
    replica = replicas()
    await live_in(asker)
    await archived(replica, nats, tmp_path)
    before = await tables(database)
    assert replica.metric('parley_chat_archive_records_total{source="heard"}') > 30

    replica.run("rebuild-archive")

    assert await tables(database) == before
    assert len(before["chat_events"]) > 30


async def test_two_replicas_archive_each_record_once(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str, tmp_path: Path
) -> None:
    """Two archivers on one database with tiny batches make the same tables as one that reads the log alone."""
    settings = {"CHAT_ARCHIVE_BATCH": "2", "CHAT_ARCHIVE_GATHER_SECONDS": "0"}
    first, second = replicas(**settings), replicas(**settings)
    await asyncio.gather(*(live_in(asker) for _ in range(4)))
    await archived(first, nats, tmp_path)
    await archived(second, nats, tmp_path)
    before = await tables(database)
    lost = first.metric('parley_chat_archive_batches_total{result="lost"}')
    lost += second.metric('parley_chat_archive_batches_total{result="lost"}')
    first.kill()
    second.end()

    second.run("rebuild-archive")

    assert await tables(database) == before
    assert lost > 0, "they never met"


async def test_poison_is_skipped(replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path) -> None:
    """Records that are no events of ours are counted and passed over by rooms and archive alike."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    good = events.Event(v=1, type="message", room=GENERAL, offset=9, user=ADA, time=1, number=1, id="x", text="hi")
    poison = [
        (b"", {}),
        (b"\xff\xfe{", {}),
        (b"[" * 50_000, {}),
        (b'{"v":1}', {subjects.OFFSET: "nonsense"}),
        (events.encode(good), {}),  # the offset header is missing
        (events.encode(msgspec.structs.replace(good, room="other")), {subjects.OFFSET: "9"}),
        (events.encode(msgspec.structs.replace(good, text="a\x00b")), {subjects.OFFSET: "9"}),
        (events.encode(msgspec.structs.replace(good, offset=2**70)), {subjects.OFFSET: str(2**70)}),
    ]
    async with Bus(chat_settings(nats, tmp_path), "chat") as bus:
        for body, headers in poison:
            await Stream(bus, subjects.ROOMS_STREAM).append(subjects.room_log(GENERAL), body, headers)

    sent = await asker.insist(ADA, "message.send", room=GENERAL, id="after", text="still here")
    found = await asker.insist(ADA, "room.history", room=GENERAL)

    assert sent["number"] == 1
    assert found["events"][-1]["id"] == "after"
    assert replica.metric("parley_chat_poison_records_total") == len(poison)
    assert not replica.missing()


async def test_a_new_log_does_not_wipe_the_archive(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str
) -> None:
    """When NATS lost its store, the archive may be the last copy: sends go on, and readiness asks for a decision."""
    replica = replicas()
    await live_in(asker)
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.send(ADA, GENERAL, "m0", "before")
    await asker.insist(ADA, "room.history", room=GENERAL)  # waits until all of it is archived
    before = await tables(database)
    nats.kill()
    shutil.rmtree(nats.directory / "store")
    nats.start()

    joined = await asker.insist(ADA, "room.join", room=GENERAL)
    sent = await asker.insist(ADA, "message.send", room=GENERAL, id="m0", text="after")
    assert (joined["offset"], sent["offset"], sent["number"]) == (2, 3, 1)
    await says(replica, "another log")
    assert isinstance(await asker.ask(ADA, "room.history", room=GENERAL), Refusal)
    assert await tables(database) == before

    replica.run("rebuild-archive")
    replica.wait_until_ready()
    listed = await asker.insist(ADA, "room.list")
    assert [room["id"] for room in listed["rooms"]] == [GENERAL]
    assert [row[1] for row in (await tables(database))["chat_events"]] == [1, 2, 3]


async def test_an_old_copy_of_the_log_that_outgrew_the_archive_is_noticed(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str, tmp_path: Path
) -> None:
    """A log that went another way since its copy was made is told from the archived one also when it is longer: nothing
    is skipped, and the rebuilt archive has what the log has."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.send(ADA, GENERAL, "m0")
    nats.stop()
    shutil.copytree(nats.directory / "store", tmp_path / "backup")
    nats.start()
    for n in range(5):
        await asker.insist(ADA, "message.send", room=GENERAL, id=f"m{n}", text="lost with the disk")
    await archived(replica, nats, tmp_path)
    replica.end()
    nats.stop()
    shutil.rmtree(nats.directory / "store")
    shutil.move(tmp_path / "backup", nats.directory / "store")
    nats.start()
    async with Bus(chat_settings(nats, tmp_path), "chat") as bus:  # what a service with another archive would write
        log = Stream(bus, subjects.ROOMS_STREAM)
        for offset in range(4, 20):
            event = events.Event(
                v=1, type="message", room=GENERAL, offset=offset, user=BOB, time=1, number=offset - 2, id=f"n{offset}"
            )
            await log.append(subjects.room_log(GENERAL), events.encode(event), {subjects.OFFSET: str(offset)})
    replica.launch()

    await says(replica, "differs")
    sent = await asker.insist(ADA, "message.send", room=GENERAL, id="new", text="by the log")
    assert (sent["offset"], sent["number"]) == (20, 18)
    assert isinstance(await asker.ask(ADA, "room.history", room=GENERAL), Refusal)

    replica.run("rebuild-archive")
    replica.wait_until_ready()
    found = await history(asker, ADA, GENERAL, 100)
    assert [event["offset"] for event in found] == list(range(1, 21))


async def test_an_archive_ahead_of_the_log_is_not_wiped(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str, tmp_path: Path
) -> None:
    """With an old copy of the log under a newer archive, sends go by the log, and readiness asks for a decision."""
    replica = replicas(CHAT_RECEIPTS="4")
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.send(ADA, GENERAL, "m0")
    nats.stop()
    shutil.copytree(nats.directory / "store", tmp_path / "backup")
    nats.start()
    for n in range(1, 10):
        await asker.insist(ADA, "message.send", room=GENERAL, id=f"m{n}", text="lost with the disk")
    await archived(replica, nats, tmp_path)
    nats.stop()
    shutil.rmtree(nats.directory / "store")
    shutil.move(tmp_path / "backup", nats.directory / "store")
    nats.start()

    sent = await asker.insist(ADA, "message.send", room=GENERAL, id="new", text="hello")
    assert (sent["offset"], sent["number"]) == (4, 2)
    await says(replica, "ahead")
    assert len((await tables(database))["chat_events"]) == 12
    replica.run("rebuild-archive")
    replica.wait_until_ready()
    assert len((await tables(database))["chat_events"]) == 4


async def test_a_log_that_went_back_under_the_service_is_noticed_first(
    replicas: Replicas, asker: Asker, nats: NatsServer, database: str, tmp_path: Path
) -> None:
    """After an outage nothing is archived before log and archive were compared, however seldom that is done otherwise:
    the log, which went back meanwhile, may be longer than the archive within a moment."""
    replica = replicas(CHAT_ARCHIVE_IDLE_SECONDS="60")
    await asker.ask(ADA, "room.join", room=GENERAL)
    nats.stop()
    shutil.copytree(nats.directory / "store", tmp_path / "backup")
    nats.start()
    for n in range(5):
        await asker.insist(ADA, "message.send", room=GENERAL, id=f"m{n}", text="lost with the disk")
    await archived(replica, nats, tmp_path)
    before = await tables(database)
    nats.stop()
    shutil.rmtree(nats.directory / "store")
    shutil.move(tmp_path / "backup", nats.directory / "store")
    nats.start()

    for n in range(20):
        await asker.insist(ADA, "message.send", room=GENERAL, id=f"new{n}", text="by the log")
    await says(replica, "run rebuild-archive")
    assert await tables(database) == before


async def test_old_ids_wait_for_the_archive(replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path) -> None:
    """With fewer receipts than the archive lags behind, sends wait for it instead of guessing."""
    replica = replicas(CHAT_RECEIPTS="1", CHAT_ARCHIVE_GATHER_SECONDS="0.3")
    crowd = [User(f"user{n}", f"User {n}") for n in range(20)]
    for user in crowd:
        await asker.ask(user, "room.join", room=GENERAL)

    answers = [await asker.insist(user, "message.send", room=GENERAL, id="hi", text="hello") for user in crowd]

    assert [answer["number"] for answer in answers] == list(range(1, 21))
    await checked_log(nats, tmp_path)
    assert replica.metric("parley_chat_poison_records_total") == 0


async def test_history_is_for_members(replicas: Replicas, asker: Asker) -> None:
    """Whoever is not in the room reads neither its history nor its members."""
    replicas()
    room = await live_in(asker, 3)
    stranger = User("eve", "Eve")

    for method in ("room.history", "room.members"):
        answer = await asker.ask(stranger, method, room=room)
        assert isinstance(answer, Refusal)
        assert answer.code == codes.NOT_A_MEMBER.code
