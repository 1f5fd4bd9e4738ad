"""Starting and going on while NATS or the database is away."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from protocol import codes
from protocol.commands import Refusal
from tests.bench.nats import NatsServer
from tests.bench.ports import wait_until
from tests.bench.postgres import Postgres
from tests.service.chat.logbook import checked_log
from tests.service.chat.replica import ADA, BOB, GENERAL, Asker, Replica

Replicas = Callable[..., Replica]


@pytest.fixture
def cluster() -> Iterator[Postgres]:
    """A PostgreSQL of this test alone, which it may kill."""
    cluster = Postgres()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def database(cluster: Postgres) -> str:
    """A database in it."""
    return cluster.url()


async def test_it_starts_before_nats_and_database(
    cluster: Postgres, database: str, nats: NatsServer, tmp_path: Path
) -> None:
    """The HTTP side lives at once and says what is missing; when all is there it is ready by itself."""
    nats.stop()
    cluster.stop()
    replica = Replica(tmp_path / "chat", nats, {"DATABASE_URL": database})
    try:
        replica.launch()
        wait_until(lambda: replica.page("/health/live")[0] == 200, "it lives")
        assert set(replica.missing()) == {"nats", "database", "log", "archive"}
        nats.start()
        wait_until(lambda: set(replica.missing()) == {"database", "archive"}, "NATS is found")
        cluster.start()
        replica.wait_until_ready()
    finally:
        replica.end()


async def test_a_database_outage_stops_reads_and_nothing_else(
    replicas: Replicas, asker: Asker, cluster: Postgres, nats: NatsServer, tmp_path: Path
) -> None:
    """Without PostgreSQL messages are stored, history is answered 503; after it the archive has everything."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.send(ADA, GENERAL, "before")
    cluster.kill()

    sent = [await asker.send(ADA, GENERAL, f"without{n}") for n in range(20)]
    read = await asker.ask(ADA, "room.history", room=GENERAL)
    assert [answer["number"] for answer in sent] == list(range(2, 22))
    assert isinstance(read, Refusal)
    assert read.code == codes.UNAVAILABLE.code
    wait_until(lambda: "database" in replica.missing(), "it says that the database is away")
    cluster.start()
    found = await asker.insist(ADA, "room.history", room=GENERAL, limit=100)
    assert [e["id"] for e in found["events"] if e["type"] == "message"][1:] == [f"without{n}" for n in range(20)]
    replica.wait_until_ready()
    assert "Traceback" not in replica.log.read_text()
    await checked_log(nats, tmp_path)


async def test_without_a_database_no_old_id_is_guessed(
    replicas: Replicas, asker: Asker, cluster: Postgres, nats: NatsServer, tmp_path: Path
) -> None:
    """Authors whose ids are known go on; others, and retries too old for memory, are told to come again."""
    replicas(CHAT_RECEIPTS="4")
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    first = [await asker.send(ADA, GENERAL, f"m{n}") for n in range(10)]
    cluster.kill()

    assert "offset" in await asker.send(ADA, GENERAL, "new")
    for user, id in ((ADA, "m0"), (BOB, "new")):
        answer = await asker.send(user, GENERAL, id)
        assert isinstance(answer, Refusal)
        assert answer.code == codes.UNAVAILABLE.code
    cluster.start()
    assert await asker.insist(ADA, "message.send", room=GENERAL, id="m0", text="hello") == first[0]
    assert "offset" in await asker.insist(BOB, "message.send", room=GENERAL, id="new", text="hello")
    await checked_log(nats, tmp_path)


async def test_a_nats_outage_is_answered_in_time(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """While NATS is away readiness says so; when it is back the same process goes on within seconds."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    nats.kill()
    wait_until(lambda: {"nats", "log"} <= set(replica.missing()), "it says that NATS is away")
    nats.start()
    async with asyncio.timeout(10):
        sent = await asker.insist(ADA, "message.send", room=GENERAL, id="m", text="hello")
    assert sent["offset"] == 3
    replica.wait_until_ready()
    await checked_log(nats, tmp_path)


async def test_sigterm_finishes_what_was_taken(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """A stopped replica leaves no answered message out of the log, and its sibling takes over."""
    first, _second = replicas(), replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    sends = [
        asyncio.create_task(asker.insist(ADA, "message.send", room=GENERAL, id=f"m{n}", text="hello"))
        for n in range(50)
    ]
    await asyncio.wait(sends, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(first.end)

    answers = await asyncio.gather(*sends)

    log = (await checked_log(nats, tmp_path))[GENERAL]
    assert {answer["offset"] for answer in answers} == {event.offset for event in log[2:]}
