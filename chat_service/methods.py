"""What each method does: the rules of `room.py` carried out on the log, and reads of the archive.

A command that changes a room is decided on the room's state and appended with compare-and-set: when somebody else was
first, the log is read and the command decided again, for its author may have been removed meanwhile.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from chassis import logs
from chassis.appends import Conflict
from chassis.bus import Unavailable
from chat_service import metrics, room, text
from chat_service.archive import Archive
from chat_service.log import Log, Poison, event_of
from chat_service.notices import Notices
from chat_service.pages import first_that_fit
from chat_service.queries import Queries
from chat_service.room import UNCERTAIN, Member, Recalled, Receipt, Removed, RoomState, Uncertain
from chat_service.rooms import Room, Rooms
from chat_service.settings import Settings
from protocol import codes, commands
from protocol.commands import Refusal
from protocol.events import Event, User
from protocol.names import GENERAL_ROOM, is_client_message_id, is_id, new_id

log = logs.get(__name__)

MAX_PAGE = 100
"""Longest page of room.history; part of the client protocol."""
MAX_OFFSET = 2**53
LAG_SECONDS = 0.01
"""How long a replica of the stream that lags is given before it is asked again."""

Decision = Event | Member | Receipt | Refusal | Removed | Uncertain
Decide = Callable[[RoomState], Decision]
Result = TypeVar("Result")


class Methods:
    """The chat methods. Each takes who asks, through which client, and the decoded request."""

    def __init__(
        self,
        room_log: Log,
        rooms: Rooms,
        queries: Queries,
        archive: Archive,
        notices: Notices,
        settings: Settings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._log = room_log
        self._rooms = rooms
        self._queries = queries
        self._archive = archive
        self._notices = notices
        self._settings = settings
        self._now = now

    async def create_room(self, user: User, client: str, ask: commands.CreateRoom) -> commands.RoomResult | Refusal:
        """room.create: a new room, with its creator in it."""
        try:
            name = text.room_name(ask.name)
        except text.BadText as error:
            return Refusal.of(codes.INVALID, str(error))
        ask_join = commands.InRoom(new_id())
        await self._decide(ask_join.room, client, lambda state: room.decide_create(state, user, name, self._time()))
        return await self.join_room(user, client, ask_join)

    async def make_general(self) -> None:
        """Create the room that exists in every deployment; nothing to do when it is there."""
        await self._decide(
            GENERAL_ROOM, "", lambda state: room.decide_create(state, room.SYSTEM, GENERAL_ROOM, self._time())
        )

    async def join_room(self, user: User, client: str, ask: commands.InRoom) -> commands.RoomResult | Refusal:
        """room.join: twice is as good as once, and answered with the first `joined`."""
        if not is_id(ask.room):
            return BAD_ROOM
        decision, state = await self._decide(
            ask.room, client, lambda state: room.decide_join(state, user, self._time())
        )
        if isinstance(decision, Refusal):
            return decision
        assert isinstance(decision, Event | Member), "decide_join returns no other"
        seen = commands.Room(state.id, state.name, True, len(state.members), state.number)
        return commands.RoomResult(seen, decision.offset if isinstance(decision, Event) else decision.joined)

    async def leave_room(self, user: User, client: str, ask: commands.InRoom) -> commands.Left | Refusal:
        """room.leave"""
        if not is_id(ask.room):
            return BAD_ROOM
        decision, _ = await self._decide(ask.room, client, lambda state: room.decide_leave(state, user, self._time()))
        if isinstance(decision, Refusal):
            return decision
        assert isinstance(decision, Event), "decide_leave returns no other"
        return commands.Left(decision.offset)

    async def remove_member(self, user: User, client: str, ask: commands.MemberOfRoom) -> commands.Left | Refusal:
        """room.remove: the creator removes another; twice is as good as once."""
        decision = await self._decide_about(
            ask, client, lambda state: room.decide_remove(state, user, ask.user, self._time())
        )
        if isinstance(decision, Refusal):
            return decision
        assert isinstance(decision, Event | Removed), "decide_remove returns no other"
        return commands.Left(decision.offset)

    async def readmit_member(
        self, user: User, client: str, ask: commands.MemberOfRoom
    ) -> commands.Readmitted | Refusal:
        """room.readmit: the creator puts back whom they removed; twice is as good as once."""
        decision = await self._decide_about(
            ask, client, lambda state: room.decide_readmit(state, user, ask.user, self._time())
        )
        if isinstance(decision, Refusal):
            return decision
        assert isinstance(decision, Event | Member), "decide_readmit returns no other"
        return commands.Readmitted(decision.offset if isinstance(decision, Event) else decision.joined)

    async def send_message(self, user: User, client: str, ask: commands.SendMessage) -> commands.Sent | Refusal:
        """message.send: acknowledged when on disk; the same id again gets the same answer, whenever it comes."""
        if not is_id(ask.room):
            return BAD_ROOM
        if not is_client_message_id(ask.id):
            return Refusal.of(codes.INVALID, "id is 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
        try:
            written = text.message_text(ask.text)
        except text.TextTooLong:
            return Refusal.of(codes.TEXT_TOO_LONG)
        except text.BadText as error:
            return Refusal.of(codes.INVALID, str(error))
        recalled: Recalled | None = None

        def decide(state: RoomState) -> Decision:
            return room.decide_send(state, user, ask.id, written, self._time(), recalled)

        decision: Decision = UNCERTAIN
        if decide(self._rooms.get(ask.room).state) is not UNCERTAIN:
            decision, _ = await self._decide(ask.room, client, decide)
        while decision is UNCERTAIN:
            recalled = await self._recall(ask, user)
            decision, _ = await self._decide(ask.room, client, decide)
        if isinstance(decision, Refusal):
            return decision
        assert isinstance(decision, Event | Receipt), "decide_send returns no other"
        if isinstance(decision, Receipt):
            metrics.duplicates.labels("archive" if recalled and recalled.receipt else "memory").inc()
        return commands.Sent(decision.offset, decision.number, decision.time)

    async def mark_read(self, user: User, _: str, ask: commands.MarkRead) -> commands.Nothing | Refusal:
        """room.read: tells the user's other devices, on the user's channel, up to which message the room was read."""
        state = await self._read_room(ask.room)
        if refusal := room.refuse_access(state, user):
            return refusal
        if not 0 <= ask.number <= state.number:
            return Refusal.of(codes.INVALID, "number is that of a message of the room")
        await self._notices.tell_read(user.id, ask.room, ask.number, self._time())
        return commands.Nothing()

    async def list_members(self, user: User, _: str, ask: commands.InRoom) -> commands.Members | Refusal:
        """room.members, those who joined first first."""
        if not is_id(ask.room):
            return BAD_ROOM
        state = await self._read_room(ask.room)
        if refusal := room.refuse_access(state, user):
            return refusal
        there = [User(id, member.name) for id, member in state.members.items()]
        return commands.Members(first_that_fit(there[: self._settings.chat_members_listed]), len(there))

    async def list_rooms(self, user: User, _: str, __: commands.Nothing) -> commands.Rooms | Refusal:
        """room.list, with all that was stored anywhere before it was asked."""
        last = (await self._log.state()).last
        limit = self._settings.chat_rooms_listed
        return commands.Rooms(await self._archived(lambda: self._queries.rooms(user.id, limit, self._log.epoch, last)))

    async def read_history(self, user: User, _: str, ask: commands.ReadHistory) -> commands.History | Refusal:
        """room.history, with all that was stored in the room before it was asked."""
        if not is_id(ask.room):
            return BAD_ROOM
        if not 1 <= ask.limit <= MAX_PAGE:
            return Refusal.of(codes.INVALID, f"limit is 1 to {MAX_PAGE}")
        if ask.before is not None and ask.after is not None:
            return Refusal.of(codes.INVALID, "before and after exclude each other")
        if not all(0 <= offset <= MAX_OFFSET for offset in (ask.before, ask.after) if offset is not None):
            return Refusal.of(codes.INVALID, "an offset is not below 0")
        state = await self._read_room(ask.room)
        if refusal := room.refuse_access(state, user):
            return refusal
        sequence = state.sequence
        return await self._archived(lambda: self._queries.history(ask, self._log.epoch, sequence))

    async def access(self, user: User, _: str, ask: commands.InRoom) -> commands.Access | Refusal:
        """room.access: a yes from memory; a no only after the log was asked, which may know of a later `joined`."""
        if not is_id(ask.room):
            return BAD_ROOM
        known = self._rooms.get(ask.room)
        if known.fresh and user.id in known.state.members:
            return commands.Access(True, known.state.offset)
        state = await self._read_room(ask.room)
        if not state.created:
            return room.missing(state)
        return commands.Access(user.id in state.members, state.offset)

    def _time(self) -> int:
        return int(self._now() * 1000)

    async def _read_room(self, name: str) -> RoomState:
        """Return the state of a room at the end of the log as it is now."""
        known = self._rooms.get(name)
        async with known.lock:
            await self._rooms.refresh(known)
            return known.state

    async def _recall(self, ask: commands.SendMessage, user: User) -> Recalled:
        """Ask the archive for a message id, once it has every message that has no receipt in memory.

        While the database is away this fails, and with it the send: else an old message could be stored twice.
        """
        while True:
            moved = self._archive.moved
            state = self._rooms.get(ask.room).state
            few = user.id not in state.ids.prolific
            recalled = await self._queries.recall(ask.room, self._log.epoch, user.id, ask.id, all_ids=few)
            state = self._rooms.get(ask.room).state
            if recalled.receipt or recalled.through >= state.forgotten:
                state.learn(user.id, recalled)
                return recalled
            self._archive.hurry()
            await moved.wait()

    async def _archived(self, ask: Callable[[], Awaitable[Result | None]]) -> Result:
        """Return what `ask` finds, as soon as the archive has what it needs."""
        try:
            async with asyncio.timeout(self._settings.chat_catch_up_seconds):
                while True:
                    moved = self._archive.moved
                    found = await ask()
                    if found is not None:
                        return found
                    self._archive.hurry()
                    await moved.wait()
        except TimeoutError:
            raise Unavailable("the archive is behind the log") from None

    async def _decide_about(self, ask: commands.MemberOfRoom, client: str, decide: Decide) -> Decision:
        if not (is_id(ask.room) and is_id(ask.user)):
            return BAD_MEMBER
        decision, _ = await self._decide(ask.room, client, decide)
        return decision

    async def _decide(self, name: str, client: str, decide: Decide) -> tuple[Decision, RoomState]:
        """Have `decide` decide on the room's state, and append the event it wants; return both, as they are then.

        A decision that appends nothing is not checked by NATS. Unless it is about what can never change (a receipt), it
        is made on the end of the log as it was after the command came.
        """
        known = self._rooms.get(name)
        async with known.lock:
            verified = False
            fruitless = 0
            for _ in range(self._settings.chat_append_attempts):
                if not (verified or known.fresh):
                    await self._rooms.refresh(known)
                    verified = True
                state = known.state
                decision = decide(state)
                if isinstance(decision, Event):
                    before = state.sequence
                    stored = await self._append(known, decision, client)
                    if stored is not None:
                        return stored, state
                    verified = known.fresh and known.state.sequence > before
                    if not verified:
                        fruitless += await self._catch_up(known, before, fruitless)
                        verified = True
                elif verified or isinstance(decision, Receipt | Uncertain):
                    return decision, state
                else:
                    known.fresh = False
        raise Unavailable("others were faster each time")

    async def _catch_up(self, known: Room, before: int, fruitless: int) -> int:
        """Read what made an append conflict; return 1 when the log shows nothing behind `before`.

        Then a replica of the stream may lag by a moment. Or what we know is of another log, or of an archive that is
        ahead of it: from the second time on, the room is read anew from the log alone.
        """
        if fruitless > 1:
            log.warning("room read anew from the log", room=known.state.id, sequence=before)
            await self._rooms.replay(known)
        else:
            await self._rooms.refresh(known)
        if known.state.sequence != before:
            return 0
        await asyncio.sleep(LAG_SECONDS)
        return 1

    async def _append(self, known: Room, event: Event, client: str) -> Event | Receipt | Refusal | None:
        """Append `event` behind the state it was decided on; None when something else came first."""
        state = known.state
        try:
            stored = await self._log.append(event, client, state.sequence)
        except Conflict:
            metrics.conflicts.inc()
            return None
        except BaseException:  # no answer, or cancelled by the deadline: it may be in the log or come there yet
            known.fresh = False
            raise
        if stored.duplicate:
            known.fresh = False
            return await self._first(stored.sequence, event)
        state.apply(event, stored.sequence)
        self._rooms.keep(known)  # read back at once, a replica of the log that lags would not have it yet
        self._archive.wake()
        return event

    async def _first(self, sequence: int, event: Event) -> Receipt | Refusal:
        """Return the receipt of the message that had the id of `event` before, which is stored at `sequence`."""
        record = await self._log.at(sequence)
        try:
            first = event_of(record) if record else None
        except Poison:
            first = None
        if first is None or (first.room, first.user.id, first.id) != (event.room, event.user.id, event.id):
            raise Unavailable("NATS knows the id but not the message")
        metrics.duplicates.labels("nats").inc()
        return room.receipt(first) if first.text == event.text else Refusal.of(codes.CONFLICT)


BAD_ROOM = Refusal.of(codes.INVALID, "room is an id")
BAD_MEMBER = Refusal.of(codes.INVALID, "room and user are ids")
