"""Many rooms full of talkers: the load of a row, and in the end the whole history of every room, judged.

A row sends its messages in parts: `said` returns when so many more are acknowledged, and faults happen between or
meanwhile. `finish` waits until everybody has everything. Imports nothing of ours.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import pairwise, takewhile
from typing import Any, TypeVar

import msgspec

from tests.bench.clients import Account, Frames, eventually, guest
from tests.bench.fleet import Door
from tests.bench.history import Acknowledged, Event, History
from tests.bench.roomlog import RoomLogs
from tests.bench.stays import Fault, totals
from tests.faults.talker import Talker

FORCE_RECONNECT = 3011
"""Code with which a gateway sends clients to another one that has fewer."""
SENDERS = 2
LISTENERS = 1
PAGES = {100: 1000, 7: 4, 1: 2}
"""Length of a page to the number of rooms that are read in such pages: by 100 all of them. A room of a whole row has
about 800 events, and reading one by one takes a call for each."""
MOST_PAGES = 2_000
"""Of one room; a length that would take more is left out."""
SETTLED_SECONDS = 60
"""Within which everybody has everything; then the judge says who lacks what."""
AT_ONCE = 16
"""Rooms that are made, and judged, together."""
T = TypeVar("T")


@dataclass
class Verdict:
    """What came of a row."""

    acknowledged: int
    faults: list[Fault]
    counted: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.counted = totals(self.faults)


class Crowd:
    """Talkers in `rooms` rooms, spread over `doors`. Enter with `await Crowd(...).enter()`, and `leave` in any case."""

    def __init__(
        self, doors: Sequence[Door], logs: Callable[[], RoomLogs], rooms: int, *, sticky: bool = False
    ) -> None:
        """`sticky`: each keeps to one gateway, whatever becomes of it, so that its faults go on having somebody."""
        self.doors = list(doors)
        self._logs = logs
        self._count = rooms
        self._sticky = sticky
        self.rooms: dict[str, list[Talker]] = {}
        self.enough = False
        """Whether to send no more, however much was to be sent."""
        self.pause = 0.0
        """Seconds each sender waits between two messages."""
        self.text = ""
        """What everybody says; empty: something short that differs."""
        self._due: Counter[str] = Counter()
        """User to how many messages that one is still to send."""
        self._sending: list[asyncio.Task[None]] = []

    @property
    def people(self) -> list[Talker]:
        """Everybody."""
        return [one for talkers in self.rooms.values() for one in talkers]

    @property
    def senders(self) -> list[Talker]:
        """Those who talk."""
        return [one for talkers in self.rooms.values() for one in talkers[:SENDERS]]

    @property
    def acknowledged(self) -> int:
        """Messages whose senders were told that they are stored."""
        return sum(len(one.acknowledged) for one in self.senders)

    async def enter(self) -> "Crowd":
        """Make the rooms and have everybody follow one."""
        await _some_at_once([partial(self._make, number) for number in range(self._count)])
        await self.all_up("everybody follows a room", 60)
        return self

    async def _make(self, number: int) -> None:
        names = [f"R{number}{'SL'[place >= SENDERS]}{place}" for place in range(SENDERS + LISTENERS)]
        accounts = [await guest(self.doors[0], name) for name in names]  # type: ignore[arg-type]
        people = [self._talker(one, number + place) for place, one in enumerate(accounts)]
        room = await _new_room(people[0])
        self.rooms[room] = people
        for one in people:
            one.enter(room)

    def _talker(self, account: Account, turn: int) -> Talker:
        doors = [self.doors[turn % len(self.doors)]] if self._sticky else self.doors
        return Talker(account, doors, turn)

    async def leave(self) -> None:
        """Have nobody left."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await asyncio.gather(*(one.leave() for one in self.people), return_exceptions=True)

    def send(self, messages: int = 10_000_000) -> None:
        """Have so many messages more sent, as many by each sender; by default until `until` says enough."""
        each, more = divmod(messages, len(self.senders))
        self._sending = [task for task in self._sending if not task.done() or task.result()]
        busy = {task.get_name() for task in self._sending}
        for number, one in enumerate(self.senders):
            self._due[one.account.id] += each + (number < more)
            if one.account.id not in busy:  # nobody says two things at once: the second would wait for the first
                self._sending.append(asyncio.create_task(self._talk(one), name=one.account.id))

    async def said(self, seconds: float = 900) -> None:
        """Return when all that was to be sent is acknowledged."""
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self._sending)

    async def until(self, messages: int, seconds: float = 1800) -> None:
        """Return when so many are acknowledged in all; then nobody begins another one."""
        await eventually(lambda: self.acknowledged >= messages, f"{messages} messages are acknowledged", seconds)
        self.enough = True

    async def hear(self, count: int, what: str, seconds: float = 60) -> float:
        """Return when `count` messages that were asked for from now on are acknowledged: the seconds it took."""
        since = time.monotonic()

        def heard() -> bool:
            for task in self._sending:
                if task.done():
                    task.result()  # raises what ended it
            return sum(1 for one in self.senders for _ in takewhile(after, reversed(one.acknowledged))) >= count

        def after(said: Acknowledged) -> bool:
            return said.asked >= since

        await eventually(heard, f"{count} messages are acknowledged {what}", seconds)
        return time.monotonic() - since

    async def more(self, messages: int, what: str, seconds: float = 900) -> None:
        """Return when so many more are acknowledged than are now."""
        due = self.acknowledged + messages
        await eventually(lambda: self.acknowledged >= due, f"{messages} messages more are acknowledged {what}", seconds)

    async def all_up(self, what: str, seconds: float = 60) -> None:
        """Return when everybody follows their room."""
        await eventually(lambda: all(one.up for one in self.people), what, seconds)

    async def finish(self) -> Verdict:
        """Wait until all is said and everybody has everything; judge every room."""
        await self.said()
        async with self._logs() as logs:
            judges = [partial(self._judge, logs, number, room) for number, room in enumerate(self.rooms)]
            found = await _some_at_once(judges)
        return Verdict(self.acknowledged, [fault for faults in found for fault in faults])

    async def _judge(self, logs: RoomLogs, number: int, room: str) -> list[Fault]:
        people = self.rooms[room]
        log = await self._settled(logs, room, people)
        pages = {
            size: await _paged(people[-1], size)
            for size, most in PAGES.items()
            if number < most and len(log) < size * MOST_PAGES
        }
        event = cache(msgspec.json.decode)  # most are held by everybody in the room
        history = History(
            log,
            [said for one in people for said in one.acknowledged],
            [one.received(event) for one in people],
            frozenset(key for one in people for key in one.offered),
            pages,
        )
        return history.check()

    async def stored(self) -> int:
        """Return how many of the acknowledged messages the logs have, read past the services."""
        count = 0
        async with self._logs() as logs:
            logs.may_be_gone = True
            for room, people in self.rooms.items():
                there = {event.get("id") for event in await logs.of_room(room)}
                count += sum(said.id in there for one in people for said in one.acknowledged)
        return count

    async def _settled(self, logs: RoomLogs, room: str, people: list[Talker]) -> list[Event]:
        """Return the log once everybody has all of it, or after a minute: then the judge says who lacks what."""
        log: list[Event] = []
        end = time.monotonic() + SETTLED_SECONDS
        while time.monotonic() < end:
            more = await logs.more_of_room(room)
            log += more
            if log and not more and all(one.offset >= len(log) for one in people):
                break
            await asyncio.sleep(0.05)
        return log

    async def _talk(self, one: Talker) -> None:
        name = one.account.id
        while self._due[name] > 0 and not self.enough:
            self._due[name] -= 1
            await one.say(self.text)
            if self.pause:
                await asyncio.sleep(self.pause)

    # What a row tells of it.

    def stall(self, since: float) -> float:
        """Return the longest time since then in which nothing was acknowledged, in seconds."""
        answered = sorted(said.answered for one in self.senders for said in one.acknowledged if said.answered > since)
        return max((after - before for before, after in pairwise([since, *answered])), default=0.0)

    def within(self, share: float, since: float = 0) -> float:
        """Return the seconds within which that share of the sends was acknowledged, repetitions included."""
        took = sorted(
            said.answered - said.asked for one in self.senders for said in one.acknowledged if said.answered > since
        )
        return took[min(len(took) - 1, int(len(took) * share))]

    def slowest(self, since: float = 0) -> float:
        """Return the most seconds from asking to acknowledgement, repetitions included."""
        return self.within(1.0, since)

    def closes(self) -> Counter[int]:
        """Return how connections ended: code to number."""
        return sum((one.closes for one in self.people), Counter())

    @property
    def losses(self) -> Counter[int]:
        """How connections on which a room was followed were lost, by code; being sent to another gateway is none."""
        found = sum((one.lost for one in self.people), Counter[int]())
        found.pop(FORCE_RECONNECT, None)
        return found

    @property
    def lost(self) -> int:
        """How many they were."""
        return self.losses.total()

    def refusals(self) -> Counter[int]:
        """Return how often sends were refused, by code; 0 for answers that never came."""
        return sum((one.refusals for one in self.people), Counter())


async def _some_at_once(work: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
    """Do all of it, `AT_ONCE` together; return what each gave, in order. The first that fails ends the others."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(do: Callable[[], Awaitable[T]]) -> T:
        async with free:
            return await do()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(do)) for do in work]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def _new_room(one: Talker) -> str:
    """Return the id of a new room, which `one` has made through a connection of its own."""
    async with await Frames.open(one.doors[0]) as frames:  # type: ignore[arg-type]
        await frames.enter(one.account.access)

        async def made() -> str:
            """Return its id; nothing while the streams of a system that just began have no leader yet."""
            reply = await frames.ask(rpc={"method": "room.create", "data": {"name": "A room"}})
            assert "rpc" in reply or reply["error"].get("temporary"), reply
            room: str = reply["rpc"]["data"]["room"]["id"] if "rpc" in reply else ""
            return room

        room: str = await eventually(made, "a room is made", 30, 0.1)
        return room


async def _paged(one: Talker, size: int) -> list[Event]:
    """Return all events of the room as its history pages give them."""
    found: list[Event] = []
    more = True
    while more:
        page: Any = await one.insist("room.history", room=one.room, after=len(found), limit=size)
        found += page["events"]
        more = page["more"]
    return found
