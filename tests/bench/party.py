"""People in one room who talk all the time, repeating what is not acknowledged under the same id, as the docs advise.

In the end the whole history of the room is judged (`history.py`). Imports nothing of ours.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from centrifuge import ReplyError

from tests.bench.clients import eventually
from tests.bench.history import Acknowledged, Event, History, Received
from tests.bench.people import Person, Said, Seat, person
from tests.bench.ring import Ring

SENDERS = 3
LISTENERS = 2


@dataclass
class Party:
    """People in one room, of whom some talk all the time."""

    ring: Ring
    room: str
    people: list[Person]
    seats: list[Seat]
    said: list[Said] = field(default_factory=list)
    talking: list[asyncio.Task[None]] = field(default_factory=list)
    _enough: bool = False

    def start(self) -> None:
        """Have the senders talk until `finish`."""
        self.talking = [asyncio.create_task(self._talk(one)) for one in self.people[:SENDERS]]

    async def _talk(self, sender: Person) -> None:
        number = 0
        while not self._enough:
            number += 1
            self.said.append(await sender.insist(f"{sender.account.name} says {number}", self.room))
            await asyncio.sleep(0.02)  # the speed of the talk, not a wait for anything

    async def hear(self, count: int, what: str, seconds: float = 30) -> None:
        """Return when every sender had `count` more messages acknowledged that were sent after now."""
        since = time.monotonic()
        names = [one.account.name for one in self.people[:SENDERS]]

        def acknowledged(name: str) -> int:
            return sum(one.asked > since and one.text.startswith(f"{name} ") for one in self.said)

        def all_did() -> bool:
            for task in self.talking:
                if task.done():
                    task.result()  # raises what ended it
            return all(acknowledged(name) >= count for name in names)

        await eventually(all_did, f"{count} messages of each sender are acknowledged {what}", seconds)

    async def finish(self) -> list[Event]:
        """Let the senders end, wait until everybody has everything, judge; return the log."""
        self._enough = True
        await asyncio.gather(*self.talking)
        log = await self._log()
        top = log[-1]["offset"]
        for one, seat in zip(self.people, self.seats, strict=True):
            await eventually(
                lambda seat=seat: seat.events and seat.events[-1]["offset"] >= top, f"{one.account.name} has all", 30
            )
        received = [
            Received(one.account.name, position(seat), seat.events)
            for one, seat in zip(self.people, self.seats, strict=True)
        ]
        acknowledged = [Acknowledged(one.id, one.offset, one.asked, one.answered) for one in self.said]
        assert History(log, acknowledged, received).check() == []
        assert len(acknowledged) == sum(event["type"] == "message" for event in log)
        for one in self.people:
            assert one.disconnected == []  # the SDK never gave up
        return log

    async def _log(self) -> list[Event]:
        found: list[Event] = []
        more = True
        while more:
            ask = partial(self._page, len(found))
            page = await eventually(ask, "the archive has caught up")
            found += page["events"]
            more = page["more"]
        return found

    async def _page(self, after: int) -> dict[str, Any] | None:
        """Return the next page of history; None while the answer is "retry"."""
        try:
            page: dict[str, Any] = await self.people[-1].call("room.history", room=self.room, after=after, limit=100)
        except ReplyError as error:
            if not error.temporary:
                raise
            return None
        return page

    @property
    def reconnects(self) -> list[int]:
        """How often each person was connected anew."""
        return [len(one.connected) - 1 for one in self.people]

    def refusals(self) -> list[int]:
        """Codes of all refusals so far; 0 for answers lost with the connection."""
        return [code for one in self.said for code in one.refusals]


def position(seat: Seat) -> int:
    """Return the offset from which a seat was filled."""
    first = seat.subscribed[0].stream_position
    assert first is not None
    return int(first.offset)


@asynccontextmanager
async def talk(*rings: Ring) -> AsyncIterator[Party]:
    """Put five people into a new room, by turns through each of `rings`; the first three have begun to talk."""
    people = [await person(rings[number % len(rings)], f"P{number}") for number in range(SENDERS + LISTENERS)]
    room = await people[0].make_room()
    party = Party(rings[0], room, people, [await one.follow(room) for one in people])
    try:
        party.start()
        await party.hear(5, "before anything happens")
        yield party
    finally:
        for task in party.talking:
            task.cancel()
        await asyncio.gather(*party.talking, return_exceptions=True)
        for one in people:
            await one.leave()
