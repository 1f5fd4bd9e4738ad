"""What a batch of events makes of the archive's tables, as statements that PostgreSQL and SQLite both know.

A batch is written as a whole, so of somebody who came and went in it the end alone counts.
"""

from typing import Any

from sqlalchemy import bindparam, case, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from chat_service import models
from protocol import events
from protocol.events import Event


async def write(connection: AsyncConnection, batch: list[tuple[Event, int]]) -> None:
    """Write the events of one batch, each with its sequence in the log, and what they make of rooms and memberships."""
    insert: Any = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    # A row that is there already stays as it is: nothing in the log can stop the archive.
    rows = [_row(event, sequence) for event, sequence in batch]
    await connection.execute(insert(models.events).on_conflict_do_nothing(), rows)
    created = [_room(event, sequence) for event, sequence in batch if event.type == events.CREATED]
    if created:
        await connection.execute(insert(models.rooms).on_conflict_do_nothing(), created)
    await connection.execute(_ADVANCE, list(_advances(batch).values()))
    await _write_members(connection, insert, batch)


async def _write_members(connection: AsyncConnection, insert: Any, batch: list[tuple[Event, int]]) -> None:
    last: dict[tuple[str, str], Event] = {}
    for event, _ in batch:
        if event.type in (events.JOINED, events.LEFT):
            last[event.room, event.user.id] = event
    joined = [_member(event) for event in last.values() if event.type == events.JOINED]
    left = [_member(event) for event in last.values() if event.type == events.LEFT]
    if joined:
        put = insert(models.members)
        replaced = {"name": put.excluded.name, "joined_offset": put.excluded.joined_offset}
        await connection.execute(put.on_conflict_do_update(index_elements=["room", "user_id"], set_=replaced), joined)
    if left:
        gone = [{"b_room": row["room"], "b_user": row["user_id"]} for row in left]
        await connection.execute(_REMOVE, gone)
    await _write_removed(connection, insert, list(last.values()))
    if last:
        await connection.execute(_COUNT, [{"b_room": room} for room in sorted({room for room, _ in last})])


async def _write_removed(connection: AsyncConnection, insert: Any, last: list[Event]) -> None:
    """Note who may not join again, and who may; `last` has what became of each member of a batch in the end."""
    removed = [event for event in last if event.type == events.LEFT and event.by is not None]
    # Who left by itself is out no more, either: it was back before.
    back = [event for event in last if event.type == events.JOINED or event.by is None]
    if removed:
        put = insert(models.removed)
        replaced = {"name": put.excluded.name, "removed_offset": put.excluded.removed_offset}
        rows = [
            {"room": one.room, "user_id": one.user.id, "name": one.user.name, "removed_offset": one.offset}
            for one in removed
        ]
        await connection.execute(put.on_conflict_do_update(index_elements=["room", "user_id"], set_=replaced), rows)
    if back:
        await connection.execute(_READMIT, [{"b_room": one.room, "b_user": one.user.id} for one in back])


_ADVANCE = (
    update(models.rooms)
    .where(models.rooms.c.id == bindparam("b_room"))
    .values(
        offset=bindparam("b_offset"),
        sequence=bindparam("b_sequence"),
        time=bindparam("b_time"),
        number=case(
            (models.rooms.c.number < bindparam("b_number"), bindparam("b_number")), else_=models.rooms.c.number
        ),
    )
)
_REMOVE = delete(models.members).where(
    models.members.c.room == bindparam("b_room"), models.members.c.user_id == bindparam("b_user")
)
_READMIT = delete(models.removed).where(
    models.removed.c.room == bindparam("b_room"), models.removed.c.user_id == bindparam("b_user")
)
_COUNT = (
    update(models.rooms)
    .where(models.rooms.c.id == bindparam("b_room"))
    .values(
        members=select(func.count())
        .select_from(models.members)
        .where(models.members.c.room == models.rooms.c.id)
        .scalar_subquery()
    )
)


def _advances(batch: list[tuple[Event, int]]) -> dict[str, dict[str, Any]]:
    """Return per room where it stands after `batch`."""
    rooms: dict[str, dict[str, Any]] = {}
    for event, sequence in batch:
        number = max(event.number, rooms.get(event.room, {}).get("b_number", 0))
        rooms[event.room] = {
            "b_room": event.room,
            "b_offset": event.offset,
            "b_sequence": sequence,
            "b_time": event.time,
            "b_number": number,
        }
    return rooms


def _row(event: Event, sequence: int) -> dict[str, Any]:
    return {
        "room": event.room,
        "offset": event.offset,
        "sequence": sequence,
        "v": event.v,
        "type": event.type,
        "user_id": event.user.id,
        "user_name": event.user.name,
        "time": event.time,
        "number": event.number,
        "client_id": event.id,
        "text": event.text,
        "name": event.name,
        "by_id": event.by.id if event.by is not None else None,
        "by_name": event.by.name if event.by is not None else None,
    }


def _room(event: Event, sequence: int) -> dict[str, Any]:
    return {
        "id": event.room,
        "name": event.name,
        "created_by": event.user.id,
        "created_at": event.time,
        "offset": event.offset,
        "sequence": sequence,
        "number": 0,
        "time": event.time,
        "members": 0,
    }


def _member(event: Event) -> dict[str, Any]:
    return {
        "room": event.room,
        "user_id": event.user.id,
        "name": event.user.name,
        "joined_offset": event.offset,
    }
