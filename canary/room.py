"""The canary's room: the same one after every restart, so that there is one, not one per start."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Call = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Room:
    """The room, and the offset of its newest event when it was entered."""

    id: str
    offset: int


async def enter(call: Call, name: str) -> Room:
    """Be a member of the room called `name`, and return it; `call` calls an RPC method and raises when it fails.

    Names need not be unique: one that we are in goes before the oldest one, and only where there is none it is made.
    """
    rooms = [room for room in (await call("room.list"))["rooms"] if room["name"] == name]
    known = [room for room in rooms if room["member"]] or rooms
    found = known[0] if known else (await call("room.create", name=name))["room"]
    await call("room.join", room=found["id"])
    newest = (await call("room.history", room=found["id"], limit=1))["events"]
    return Room(found["id"], newest[-1]["offset"])
