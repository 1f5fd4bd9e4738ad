"""The rules of a room. Pure: a command and the room's state go in, an event or a refusal comes out.

Rules for this file: no I/O, no clock, no randomness. A state changes by `apply` alone, with what the log holds, in the
order of the log; a `decide_*` function changes nothing. So every replica that has read the same log has the same state,
and what a retry is answered follows from the log.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

import msgspec

from chat_service.ids import KnownIds
from protocol import codes, events
from protocol.commands import Refusal
from protocol.events import Event, User
from protocol.names import GENERAL_ROOM

SYSTEM = User("system", "Parley")
"""Whoever made what no person made: the room `general`."""


class Member(msgspec.Struct, frozen=True, gc=False):  # without gc: there are many, and each look at them is a pause
    """Someone who is in the room, since the event `joined`."""

    name: str
    joined: int


class Removed(msgspec.Struct, frozen=True, gc=False):
    """Someone whom the room's creator removed, by the event `offset`."""

    name: str
    offset: int


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """What the author of a stored message is told, now and at every retry."""

    offset: int
    number: int
    time: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Recalled:
    """What the archive knows about a message id.

    Its receipt if it has one; how many messages of the room it looked at; the ids of all of these by the same author,
    unless they were not asked for, or are `too_many`.
    """

    receipt: Receipt | None
    through: int
    authored: Sequence[str] | None = None
    too_many: bool = False


class Uncertain(Enum):
    """The id may belong to a message older than the receipts kept here: ask the archive, then decide again."""

    ASK_ARCHIVE = "ask the archive"


UNCERTAIN = Uncertain.ASK_ARCHIVE


def digest(text: str) -> bytes:
    """Return what stands for `text` when a retry is compared with what was stored."""
    return blake2b(text.encode(), digest_size=16).digest()


def receipt(event: Event) -> Receipt:
    """Return the receipt of a message event."""
    return Receipt(event.offset, event.number, event.time, digest(event.text))


@dataclass(slots=True)
class RoomState:
    """What the log of one room amounts to, up to the record `sequence` (its stream sequence; 0: nothing read)."""

    id: str
    receipts_kept: int
    name: str = ""
    created: bool = False
    creator: str = ""
    sequence: int = 0
    offset: int = 0
    number: int = 0
    time: int = 0
    members: dict[str, Member] = field(default_factory=dict)
    removed: dict[str, Removed] = field(default_factory=dict)
    receipts: dict[tuple[str, str], Receipt] = field(default_factory=dict)
    """(user, client message id) of the newest messages, oldest first."""
    ids: KnownIds = field(default_factory=KnownIds)

    @property
    def forgotten(self) -> int:
        """How many of the room's messages, its oldest, have no receipt here."""
        return self.number - len(self.receipts)

    def apply(self, event: Event, sequence: int) -> None:
        """Take in the next event of the log; one that was taken in before changes nothing."""
        if sequence <= self.sequence:
            return
        self.skip(event.offset, sequence)
        self.time = max(self.time, event.time)
        user = event.user.id
        if event.type == events.MESSAGE:
            self.number = max(self.number, event.number)
            self.remember(user, event)
        elif event.type == events.JOINED:
            self.members[user] = Member(event.user.name, event.offset)
            self.removed.pop(user, None)
        elif event.type == events.LEFT:
            self.members.pop(user, None)
            if event.by is not None:
                self.removed[user] = Removed(event.user.name, event.offset)
        elif event.type == events.CREATED:
            self.created = True
            self.name = event.name
            self.creator = user

    def skip(self, offset: int, sequence: int) -> None:
        """Take in a record that cannot be read: it has its place in the log all the same."""
        if sequence > self.sequence:
            self.sequence = sequence
            self.offset = max(self.offset, offset)

    def remember(self, user: str, event: Event) -> None:
        """Keep the receipt of a message, and let the oldest go. The first message with an id is the one that counts."""
        self.ids.add(user, event.id)
        self.receipts.setdefault((user, event.id), receipt(event))
        if len(self.receipts) > self.receipts_kept:
            if self.forgotten <= 0:
                self._learn_all()  # from the next line on only the archive could tell
            del self.receipts[next(iter(self.receipts))]

    def _learn_all(self) -> None:
        """Know every author so far by the receipts, which are those of all messages there are."""
        authored: dict[str, list[str]] = {}
        for author, client_id in self.receipts:
            authored.setdefault(author, []).append(client_id)
        for author, client_ids in authored.items():
            self.ids.learn(author, client_ids)

    def learn(self, user: str, recalled: Recalled) -> None:
        """Remember which ids `user` has used, if the archive and the receipts together know them all."""
        if recalled.too_many:
            self.ids.prolific.add(user)
        if recalled.authored is not None and recalled.through >= self.forgotten:
            recent = [client_id for author, client_id in self.receipts if author == user]
            self.ids.learn(user, [*recalled.authored, *recent])

    def next_event(self, kind: str, user: User, now: int, **fields: object) -> Event:
        """Return the event that would come next; its time never goes back, whatever the clocks of replicas say."""
        return Event(
            v=events.VERSION,
            type=kind,
            room=self.id,
            offset=self.offset + 1,
            user=user,
            time=max(now, self.time),
            **fields,  # type: ignore[arg-type]  # the callers below name fields of Event
        )


def decide_create(state: RoomState, user: User, name: str, now: int) -> Event | Refusal:
    """Let `user` create the room, unless something has the id already."""
    if state.sequence:
        return Refusal.of(codes.CONFLICT, "the room exists")
    return state.next_event(events.CREATED, user, now, name=name)


def decide_join(state: RoomState, user: User, now: int) -> Event | Member | Refusal:
    """Let `user` in: everybody may join every room, but for whom its creator removed.

    Whoever is in already is answered as they stand.
    """
    if not state.created:
        return missing(state)
    if user.id in state.removed:
        return Refusal.of(codes.REMOVED)
    return state.members.get(user.id) or state.next_event(events.JOINED, user, now)


def decide_leave(state: RoomState, user: User, now: int) -> Event | Refusal:
    """Let a member go."""
    return refuse_access(state, user) or state.next_event(events.LEFT, user, now)


def decide_remove(state: RoomState, user: User, target: str, now: int) -> Event | Removed | Refusal:
    """Let the creator remove another member. Whoever was removed already is answered for as they stand."""
    if refusal := _refuse_rule(state, user):
        return refusal
    if target == user.id:
        return Refusal.of(codes.INVALID, "leave the room instead")
    member = state.members.get(target)
    if member is None:
        return state.removed.get(target) or Refusal.of(codes.NOT_A_MEMBER, "the user to be removed")
    return state.next_event(events.LEFT, User(target, member.name), now, by=user)


def decide_readmit(state: RoomState, user: User, target: str, now: int) -> Event | Member | Refusal:
    """Let the creator put back whom they removed. Whoever is a member is answered for as they stand."""
    if refusal := _refuse_rule(state, user):
        return refusal
    removed = state.removed.get(target)
    if removed is None:
        return state.members.get(target) or Refusal.of(codes.INVALID, "the user was not removed")
    return state.next_event(events.JOINED, User(target, removed.name), now, by=user)


def decide_send(
    state: RoomState, user: User, client_id: str, text: str, now: int, recalled: Recalled | None = None
) -> Event | Receipt | Refusal | Uncertain:
    """Let a member speak, once per `client_id`.

    A repeated id is answered before membership is looked at: what was acknowledged stays acknowledged, also for someone
    who left since.
    """
    if not state.created:
        return missing(state)
    earlier = state.receipts.get((user.id, client_id)) or (recalled and recalled.receipt)
    if earlier:
        return earlier if earlier.digest == digest(text) else Refusal.of(codes.CONFLICT)
    if state.forgotten > (recalled.through if recalled else 0) and not state.ids.surely_new(user.id, client_id):
        return UNCERTAIN
    return refuse_access(state, user) or state.next_event(
        events.MESSAGE, user, now, number=state.number + 1, id=client_id, text=text
    )


def refuse_access(state: RoomState, user: User) -> Refusal | None:
    """Return why `user` may not read or speak here; None for a member."""
    if not state.created:
        return missing(state)
    if user.id not in state.members:
        return Refusal.of(codes.NOT_A_MEMBER)
    return None


def _refuse_rule(state: RoomState, user: User) -> Refusal | None:
    """Return why `user` may not decide about other members; None for the creator, while in the room."""
    refusal = refuse_access(state, user)
    if refusal is None and user.id != state.creator:
        return Refusal.of(codes.PERMISSION_DENIED, "only the room's creator may do this")
    return refusal


def missing(state: RoomState) -> Refusal:
    """Refuse what is asked of a room that does not exist. One exists in every deployment: it is about to be made."""
    return Refusal.of(codes.UNAVAILABLE if state.id == GENERAL_ROOM else codes.NO_SUCH_ROOM)
