"""The room log and the archive as a test reads them, and the promises every log has to keep."""

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import select

from chassis.bus import Bus
from chassis.database import Database, database_url
from chassis.streams import Record, Stream
from chat_service import models
from protocol import events, subjects
from protocol.events import Event
from tests.bench.nats import NatsServer
from tests.service.chat.replica import Asker, Replica, User, chat_settings

ROOMS = {
    "subjects": [subjects.ROOM_LOGS],
    "storage": "file",
    "allow_direct": True,
    "republish": {"src": subjects.ROOM_LOGS, "dest": subjects.ROOM_REPUBLISH_TO},
}


async def records(nats: NatsServer, directory: Path) -> list[Record]:
    """Return every record of the room log."""
    async with Bus(chat_settings(nats, directory), "chat") as bus:
        return [record async for record in Stream(bus, subjects.ROOMS_STREAM).read_all(subjects.ROOM_LOGS)]


async def checked_log(nats: NatsServer, directory: Path) -> dict[str, list[Event]]:
    """Return the events of each room; fail unless offsets and numbers have no gaps and each id is there once."""
    rooms: dict[str, list[Event]] = defaultdict(list)
    for record in await records(nats, directory):
        event = events.decode(record.body)
        assert record.offset == event.offset
        rooms[event.room].append(event)
    for found in rooms.values():
        messages = [event for event in found if event.type == events.MESSAGE]
        assert [event.offset for event in found] == list(range(1, len(found) + 1))
        assert [event.number for event in messages] == list(range(1, len(messages) + 1))
        assert len({(event.user.id, event.id) for event in messages}) == len(messages)
        assert [event.time for event in found] == sorted(event.time for event in found)
    return rooms


async def tables(url: str) -> dict[str, list[Any]]:
    """Return the rows of every table of the archive, in order."""
    database = Database(database_url(url, Path(), "chat"))
    try:
        async with database.begin() as connection:
            found = {}
            for table in models.metadata.sorted_tables:
                rows = await connection.execute(select(table).order_by(*table.primary_key))
                found[table.name] = [tuple(row) for row in rows]
            return found
    finally:
        await database.close()


async def archived(replica: Replica, nats: NatsServer, directory: Path, seconds: float = 20) -> None:
    """Return when the replica has archived the whole log."""
    last = len(await records(nats, directory))
    async with asyncio.timeout(seconds):
        while replica.metric("parley_chat_archive_position") < last:
            await asyncio.sleep(0.05)


async def history(asker: Asker, user: User, room: str, page: int, forward: bool = True) -> list[Any]:
    """Return a room's whole history, read in pages of `page` events."""
    found: list[Any] = []
    place: dict[str, int] = {"after": 0} if forward else {}
    more = True
    while more:
        answer = await asker.insist(user, "room.history", room=room, limit=page, **place)
        more = answer["more"]
        if not answer["events"]:
            break
        # Full, or the last, or cut because its events are long.
        assert len(answer["events"]) == page or not more or len(msgspec.json.encode(answer)) > 64 * 1024
        if forward:
            found += answer["events"]
            place = {"after": found[-1]["offset"]}
        else:
            found = answer["events"] + found
            place = {"before": found[0]["offset"]}
    return found
