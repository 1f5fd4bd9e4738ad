"""The methods on a log in memory, whose answers get lost and whose live subjects lag as hypothesis likes."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.bus import Unavailable
from chassis.streams import Conflict, Record, Stored, StreamState
from chat_service.methods import Methods
from chat_service.room import Recalled, RoomState, receipt
from chat_service.rooms import Rooms
from chat_service.settings import Settings
from protocol import codes, commands, events, subjects
from protocol.commands import Refusal
from protocol.events import Event, User

USERS = [User(name, name.title()) for name in ("ada", "bob")]
ROOM = "general"
KEPT = 3


@dataclass
class Store:
    """What NATS has: one log for all replicas, with compare-and-set and a window for message ids."""

    records: list[Record] = field(default_factory=list)
    ids: dict[str, int] = field(default_factory=dict)
    fault: str = ""

    @property
    def events(self) -> list[Event]:
        """The log, decoded."""
        return [events.decode(record.body) for record in self.records]

    def members(self) -> set[str]:
        """Who is in the room by the log."""
        present: set[str] = set()
        for event in self.events:
            if event.type == events.JOINED:
                present.add(event.user.id)
            elif event.type == events.LEFT:
                present.discard(event.user.id)
        return present


class MemoryLog:
    """Stands for `log.Log`: one replica's way to the store."""

    epoch = "e1"

    def __init__(self, store: Store) -> None:
        self.store = store

    async def state(self) -> StreamState:
        """Return where the log ends."""
        return StreamState(self.epoch, 1, len(self.store.records))

    async def append(self, event: Event, client: str, expected_last: int) -> Stored:
        """Store an event, or fail as told: `dropped` on the way there, `lost` on the way back."""
        await asyncio.sleep(0)
        fault, self.store.fault = self.store.fault, ""
        if fault == "dropped":
            raise Unavailable("dropped")
        if expected_last != len(self.store.records):
            raise Conflict("wrong last sequence")
        message_id = f"{event.user.id}.{event.id}"
        if event.type == events.MESSAGE and message_id in self.store.ids:
            return Stored(self.store.ids[message_id], True)
        sequence = expected_last + 1
        headers = {subjects.OFFSET: str(event.offset)}
        self.store.records.append(Record(sequence, subjects.room_log(ROOM), headers, events.encode(event)))
        self.store.ids[message_id] = sequence
        if fault == "lost":
            raise Unavailable("lost")
        return Stored(sequence, False)

    async def tail(self, room: str, after: int) -> AsyncIterator[Record]:
        """Yield what follows `after`."""
        for record in self.store.records[after:] if room == ROOM else []:
            await asyncio.sleep(0)
            yield record

    async def at(self, sequence: int) -> Record | None:
        """Return one record."""
        return self.store.records[sequence - 1]


class MemoryArchive:
    """Stands for the archive and the questions to it: always as far as the log."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.moved = asyncio.Event()

    def wake(self) -> None:
        """Nothing to do."""

    hurry = wake

    async def recall(self, room: str, epoch: str, user: str, client_id: str) -> Recalled:
        """Return what the log says of an id."""
        messages = [event for event in self.store.events if event.type == events.MESSAGE]
        mine = [event for event in messages if event.user.id == user]
        first = next((receipt(event) for event in mine if event.id == client_id), None)
        return Recalled(first, len(messages), None if first else [event.id for event in mine])


class Side:
    """One replica: methods and rooms of its own, on the shared store."""

    def __init__(self, store: Store) -> None:
        async def no_snapshot(_room: str, _epoch: str) -> RoomState | None:
            return None

        log: Any = MemoryLog(store)
        archive: Any = MemoryArchive(store)
        self.store = store
        self.rooms = Rooms(log, no_snapshot, 10, KEPT)
        self.methods = Methods(log, self.rooms, archive, archive, Settings(data_dir=Path()), lambda: 1.0)
        self.heard = 0

    def hear(self, upto: int) -> None:
        """Deliver the live records up to the sequence `upto`."""
        for record in self.store.records[self.heard : upto]:
            self.rooms.hear(record)
        self.heard = max(self.heard, upto)


steps = st.lists(
    st.tuples(
        st.integers(0, 1),  # through which replica
        st.sampled_from(["join", "leave", "send", "send", "send", "access"]),
        st.sampled_from(USERS),
        st.sampled_from([f"id{n}" for n in range(8)]),
        st.sampled_from(["hello", "bye"]),
        st.sampled_from(["", "", "", "lost", "dropped"]),
        st.sampled_from(["live", "late", "skips"]),  # what happens to the live subjects afterwards
        st.booleans(),  # whether NATS forgets its message ids
    ),
    max_size=40,
)


@given(steps)
@settings(max_examples=400, deadline=None)
def test_every_answer_is_true_of_the_log(asked: list[Any]) -> None:
    """Through two replicas, with lost answers and lagging live subjects, what is answered is what the log says."""
    asyncio.run(answers_are_true(asked))


async def answers_are_true(asked: list[Any]) -> None:
    store = Store()
    sides = [Side(store), Side(store)]
    await sides[0].methods.make_general()
    for which, kind, user, client_id, text, fault, live, forget in asked:
        side = sides[which]
        if forget:
            store.ids.clear()
        store.fault = fault
        before = len(store.records)
        try:
            answer = await carry(side.methods, kind, user, client_id, text)
        except Unavailable:
            assert fault
            answer = None
        store.fault = ""
        assert len(store.records) - before <= 1
        check(store, side, kind, user, client_id, text, answer, len(store.records) > before)
        for each in sides:
            if live == "live":
                each.hear(len(store.records))
            elif live == "skips":
                each.heard = len(store.records)
    log = store.events
    messages = [event for event in log if event.type == events.MESSAGE]
    assert [event.offset for event in log] == list(range(1, len(log) + 1))
    assert [event.number for event in messages] == list(range(1, len(messages) + 1))
    assert len({(event.user.id, event.id) for event in messages}) == len(messages)


async def carry(methods: Methods, kind: str, user: User, client_id: str, text: str) -> Any:
    """Carry out one command."""
    if kind == "send":
        return await methods.send_message(user, "c", commands.SendMessage(ROOM, client_id, text))
    carried = {"join": methods.join_room, "leave": methods.leave_room, "access": methods.access}
    return await carried[kind](user, "c", commands.InRoom(ROOM))


def check(
    store: Store, side: Side, kind: str, user: User, client_id: str, text: str, answer: Any, stored: bool
) -> None:
    """Compare one answer with the log as it is after it."""
    log = store.events
    earlier = next((event for event in log if (event.user.id, event.id) == (user.id, client_id)), None)
    member = user.id in store.members()
    if answer is None:
        return
    if isinstance(answer, Refusal):
        assert not stored
        if answer.code == codes.CONFLICT.code:
            assert earlier is not None
            assert earlier.text != text
        else:
            assert answer.code == codes.NOT_A_MEMBER.code
            assert not member
    elif kind == "send":
        assert earlier is not None
        assert earlier.text == text
        assert answer == commands.Sent(earlier.offset, earlier.number, earlier.time)
    elif kind == "join":
        assert member
        assert (log[answer.offset - 1].type, log[answer.offset - 1].user) == (events.JOINED, user)
        assert answer.room.members == len(store.members())
    elif kind == "leave":
        assert not member
        assert answer.offset == len(log)
    elif not member:  # a yes may be as old as what was heard, a no may not
        assert not answer.member or side.heard < len(log) or answer.offset < len(log)
    else:
        assert answer.member


async def test_a_lost_acknowledgement_is_found_by_the_retry() -> None:
    """Stored but unanswered: the retry through either replica finds the message, nothing is stored again."""
    store = Store()
    sides = [Side(store), Side(store)]
    await sides[0].methods.make_general()
    await sides[0].methods.join_room(USERS[0], "c", commands.InRoom(ROOM))
    ask = commands.SendMessage(ROOM, "a", "hello")
    store.fault = "lost"
    with pytest.raises(Unavailable):
        await sides[0].methods.send_message(USERS[0], "c", ask)

    first, second = [await side.methods.send_message(USERS[0], "c", ask) for side in sides]

    assert first == second == commands.Sent(3, 1, 1000)
    assert len(store.records) == 3


async def test_an_id_that_only_nats_knows_gets_its_first_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """When memory and archive have a hole, the record that NATS names decides, by its content."""

    async def knows_nothing(*_: object) -> Recalled:
        return Recalled(None, 1000, [])

    monkeypatch.setattr(MemoryArchive, "recall", knows_nothing)
    store = Store()
    side = Side(store)
    await side.methods.make_general()
    await side.methods.join_room(USERS[0], "c", commands.InRoom(ROOM))
    first = [await carry(side.methods, "send", USERS[0], f"id{n}", "hello") for n in range(KEPT + 2)]
    side.rooms.forget_all()

    assert await carry(side.methods, "send", USERS[0], "id0", "hello") == first[0]
    side.rooms.forget_all()
    assert await carry(side.methods, "send", USERS[0], "id0", "bye") == Refusal.of(codes.CONFLICT)
    assert len(store.records) == 2 + KEPT + 2


async def test_a_cancelled_append_leaves_a_state_that_is_read_again() -> None:
    """A deadline in the middle of an append does not hide what the append stored."""
    store = Store()
    side = Side(store)
    await side.methods.make_general()
    await side.methods.join_room(USERS[0], "c", commands.InRoom(ROOM))
    task = asyncio.create_task(side.methods.send_message(USERS[0], "c", commands.SendMessage(ROOM, "a", "hello")))
    while len(store.records) < 3 and not task.done():
        task_before = len(store.records)
        await asyncio.sleep(0)
        if task_before == 2 and side.rooms.get(ROOM).lock.locked():
            task.cancel()
            break
    await asyncio.gather(task, return_exceptions=True)

    left = await side.methods.leave_room(USERS[0], "c", commands.InRoom(ROOM))

    assert left == commands.Left(len(store.records))


async def test_unknown_rooms_do_not_push_real_ones_out() -> None:
    """Asking for rooms that do not exist leaves the cache as it was."""
    store = Store()
    side = Side(store)
    await side.methods.make_general()
    await side.methods.join_room(USERS[0], "c", commands.InRoom(ROOM))
    known = side.rooms.get(ROOM)
    for n in range(100):
        answer = await side.methods.access(USERS[0], "c", commands.InRoom(f"nowhere{n}"))
        assert answer == Refusal.of(codes.NO_SUCH_ROOM)

    assert side.rooms.get(ROOM) is known
