"""Processes killed in the middle of work: nothing acknowledged is lost, nothing is there twice."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from protocol import events
from tests.bench.nats import NatsServer
from tests.service.chat.logbook import archived, checked_log, history
from tests.service.chat.replica import ADA, BOB, GENERAL, Asker, Replica, User

Replicas = Callable[..., Replica]


class Talk:
    """Two users who send as fast as they are answered, retrying each message with its id until it is."""

    def __init__(self, asker: Asker) -> None:
        self.told: dict[str, dict[str, int]] = {}
        self._asker = asker
        self._going = True
        self._tasks = [asyncio.create_task(self._talk(user, n)) for user in (ADA, BOB) for n in range(4)]

    async def reaches(self, count: int) -> None:
        """Wait until `count` messages are acknowledged."""
        async with asyncio.timeout(60):
            while len(self.told) < count:
                await asyncio.sleep(0.01)

    async def end(self) -> None:
        """Stop when each message begun is acknowledged."""
        self._going = False
        await asyncio.gather(*self._tasks)

    async def _talk(self, user: User, thread: int) -> None:
        n = 0
        while self._going:
            id = f"{user.id}-{thread}-{n}"
            n += 1
            self.told[id] = await self._asker.insist(user, "message.send", room=GENERAL, id=id, text=f"text of {id}")


async def check(talk: Talk, asker: Asker, nats: NatsServer, directory: Path) -> None:
    """Compare what was acknowledged with the log, and the log with the history."""
    log = (await checked_log(nats, directory))[GENERAL]
    stored = {e.id: {"offset": e.offset, "number": e.number, "time": e.time} for e in log if e.type == events.MESSAGE}
    assert stored == talk.told
    assert [event["offset"] for event in await history(asker, ADA, GENERAL, 100)] == [event.offset for event in log]


async def test_a_killed_replica_loses_nothing(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """kill -9 of the only replica, three times under load: every acknowledged message is there, each id once."""
    replica = replicas()
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    talk = Talk(asker)
    for kill in range(1, 4):
        await talk.reaches(kill * 60)
        replica.kill()
        replica.start()
    await talk.reaches(240)
    await talk.end()

    await check(talk, asker, nats, tmp_path)


async def test_a_killed_replica_of_two_is_not_missed(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """While one replica is dead the other goes on, and archives what the dead one stored."""
    first, second = replicas(), replicas()
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    talk = Talk(asker)
    await talk.reaches(60)
    first.kill()
    await talk.reaches(len(talk.told) + 60)
    await talk.end()

    await check(talk, asker, nats, tmp_path)
    await archived(second, nats, tmp_path)


async def test_a_killed_nats_loses_nothing(replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path) -> None:
    """kill -9 of nats-server under load, twice: the service goes on by itself, and nothing acknowledged is lost."""
    replica = replicas()
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    talk = Talk(asker)
    for kill in range(1, 3):
        await talk.reaches(kill * 60)
        nats.restart()
    await talk.reaches(180)
    await talk.end()

    assert replica.running
    replica.wait_until_ready()
    await check(talk, asker, nats, tmp_path)


async def test_an_archive_killed_half_way_equals_the_log(
    replicas: Replicas, asker: Asker, nats: NatsServer, tmp_path: Path
) -> None:
    """A replica killed again and again while it archives continues where it was, without a copy or a gap."""
    replica = replicas(CHAT_ARCHIVE_BATCH="7", CHAT_ARCHIVE_GATHER_SECONDS="0")
    for user in (ADA, BOB):
        await asker.ask(user, "room.join", room=GENERAL)
    talk = Talk(asker)
    for kill in range(1, 6):
        await talk.reaches(kill * 25)
        replica.kill()
        replica.start()
    await talk.end()

    await check(talk, asker, nats, tmp_path)
