"""The rules of a room, tried on every sequence of commands that hypothesis thinks of."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from chat_service import room
from chat_service.ids import KnownIds
from chat_service.room import UNCERTAIN, Member, Recalled, Receipt, RoomState, digest, receipt
from protocol import codes, events
from protocol.commands import Refusal
from protocol.events import Event, User
from protocol.names import GENERAL_ROOM

ADA = User("ada", "Ada")
USERS = [User(name, name.title()) for name in ("ada", "bob", "cyd")]
KEPT = 4


@dataclass
class World:
    """A log and the state folded from it, as a replica has them."""

    kept: int = KEPT
    creator: User = room.SYSTEM
    log: list[Event] = field(default_factory=list)
    state: RoomState = field(init=False)

    def __post_init__(self) -> None:
        self.state = self.fold()
        self.append(room.decide_create(self.state, self.creator, "Room", 1))

    def append(self, decision: object) -> object:
        """Store an event as the log does; sequences have gaps, since other rooms share the stream."""
        if isinstance(decision, Event):
            self.log.append(decision)
            self.state.apply(decision, 3 * len(self.log))
        return decision

    def fold(self) -> RoomState:
        """Return the state read anew from the log."""
        state = RoomState("general", self.kept)
        for place, event in enumerate(self.log, 1):
            state.apply(event, 3 * place)
        return state

    def read_back(self) -> RoomState:
        """Return the state as it is read from the archive: the newest receipts, and nobody's older ids."""
        state = self.fold()
        state.ids = KnownIds()
        return state

    def recall(self, user: str, client_id: str, through: int | None = None) -> Recalled:
        """Answer as the archive does that has looked at the first `through` messages."""
        seen = [e for e in self.log if e.type == events.MESSAGE][: self.state.number if through is None else through]
        mine = [e for e in seen if e.user.id == user]
        first = next((receipt(e) for e in mine if e.id == client_id), None)
        return Recalled(first, len(seen), None if first else [e.id for e in mine])

    def send(self, user: User, client_id: str, text: str, now: int = 0) -> object:
        """Send as `methods.py` does: ask the archive when the rules say so, and learn from it."""
        decision = room.decide_send(self.state, user, client_id, text, now)
        if decision is UNCERTAIN:
            recalled = self.recall(user.id, client_id)
            self.state.learn(user.id, recalled)
            decision = room.decide_send(self.state, user, client_id, text, now, recalled)
            assert decision is not UNCERTAIN
        return self.append(decision)


commands = st.lists(
    st.tuples(
        st.sampled_from(["join", "leave", "send", "send", "send"]),
        st.sampled_from(USERS),
        st.sampled_from([f"id{n}" for n in range(12)]),
        st.sampled_from(["hello", "bye"]),
        st.integers(0, 10**13),
    ),
    max_size=80,
)


def lived_in(asked: list[tuple[str, User, str, str, int]]) -> World:
    """Return a world in which all have joined, and then done what `asked` says."""
    world = World()
    for user in USERS:
        world.append(room.decide_join(world.state, user, 0))
    for command in asked:
        run(world, *command)
    return world


def run(world: World, kind: str, user: User, client_id: str, text: str, now: int) -> object:
    """Carry out one command."""
    if kind == "join":
        return world.append(room.decide_join(world.state, user, now))
    if kind == "leave":
        return world.append(room.decide_leave(world.state, user, now))
    return world.send(user, client_id, text, now)


@given(commands)
@settings(max_examples=300)
def test_whatever_is_asked_the_log_keeps_its_promises(asked: list[tuple[str, User, str, str, int]]) -> None:
    """Offsets have no gaps, numbers count messages, time never goes back, ids are unique, only members speak."""
    world = World()
    for command in asked:
        run(world, *command)

    messages = [event for event in world.log if event.type == events.MESSAGE]
    assert [event.offset for event in world.log] == list(range(1, len(world.log) + 1))
    assert [event.number for event in messages] == list(range(1, len(messages) + 1))
    assert all(event.number == 0 for event in world.log if event.type != events.MESSAGE)
    assert [event.time for event in world.log] == sorted(event.time for event in world.log)
    assert len({(event.user.id, event.id) for event in messages}) == len(messages)
    present: set[str] = set()
    for event in world.log:
        if event.type == events.JOINED:
            assert event.user.id not in present
            present.add(event.user.id)
        elif event.type in (events.LEFT, events.MESSAGE):
            assert event.user.id in present
            present -= {event.user.id} if event.type == events.LEFT else set()
    assert set(world.state.members) == present


@given(commands)
def test_a_retry_gets_the_first_answer_however_late(asked: list[tuple[str, User, str, str, int]]) -> None:
    """Each id that was ever stored gets its own receipt, or a conflict with another text; never another event."""
    world = lived_in(asked)
    before = list(world.log)

    for event in before:
        if event.type == events.MESSAGE:
            assert world.send(event.user, event.id, event.text) == receipt(event)
            assert world.send(event.user, event.id, event.text + "!") == Refusal.of(codes.CONFLICT)
    assert world.log == before


@given(commands, st.data())
def test_a_state_does_not_depend_on_how_the_log_was_read(
    asked: list[tuple[str, User, str, str, int]], choose: st.DataObject
) -> None:
    """Applying events again, in any overlap, changes nothing; folding anew gives the same state."""
    world = lived_in(asked)
    again = choose.draw(st.integers(0, len(world.log)))
    folded = world.fold()
    for place, event in list(enumerate(world.log, 1))[again:]:
        folded.apply(event, 3 * place)

    for name in ("name", "created", "sequence", "offset", "number", "time", "members", "receipts"):
        assert getattr(folded, name) == getattr(world.state, name)


@given(commands, st.integers(0, 80))
def test_an_id_is_new_only_when_everything_was_looked_at(
    asked: list[tuple[str, User, str, str, int]], through: int
) -> None:
    """While archive and receipts leave a message out between them, nothing is stored."""
    world = lived_in(asked)
    state = world.read_back()
    recalled = world.recall("ada", "never-used", through)

    decision = room.decide_send(state, USERS[0], "never-used", "hello", 0, recalled)

    assert (decision is UNCERTAIN) == (recalled.through < state.forgotten)
    assert isinstance(decision, Event) or decision is UNCERTAIN or "ada" not in state.members


@given(commands)
def test_a_room_followed_from_its_beginning_knows_its_first_authors(
    asked: list[tuple[str, User, str, str, int]],
) -> None:
    """Who spoke before the first receipt was let go is not looked up for a new id, and no used id is called new."""
    world = lived_in(asked)
    spoken = [event for event in world.log if event.type == events.MESSAGE]

    for first in spoken[:KEPT]:
        assert world.state.ids.surely_new(first.user.id, "never-used") == (len(spoken) > KEPT)
    for message in spoken:
        assert not world.state.ids.surely_new(message.user.id, message.id)


def test_an_old_event_does_not_come_back() -> None:
    """An acknowledgement that is read after later events were heard changes nothing."""
    world = World()
    joined = world.append(room.decide_join(world.state, USERS[0], 0))
    place = world.state.sequence
    world.append(room.decide_leave(world.state, USERS[0], 0))
    assert isinstance(joined, Event)

    world.state.apply(joined, place)

    assert not world.state.members


def test_nothing_is_learnt_from_an_archive_that_is_behind() -> None:
    """Ids that neither archive nor receipts have shown yet could still be used: their author stays unknown."""
    world = lived_in([("send", USERS[0], f"id{n}", "hello", 0) for n in range(3 * KEPT)])
    state = world.read_back()

    state.learn("ada", world.recall("ada", "never-used", KEPT))
    assert room.decide_send(state, USERS[0], "never-used", "hello", 0) is UNCERTAIN

    state.learn("ada", world.recall("ada", "never-used"))
    assert isinstance(room.decide_send(state, USERS[0], "never-used", "hello", 0), Event)


def test_a_poison_record_has_its_place() -> None:
    """The event after a record that cannot be read continues behind its offset."""
    world = World()
    world.state.skip(2, 50)

    event = room.decide_join(world.state, USERS[0], 0)

    assert isinstance(event, Event)
    assert event.offset == 3
    assert world.state.sequence == 50


def test_joining_twice_is_answered_with_the_first_joined() -> None:
    """The second join appends nothing and tells the offset of the first."""
    world = World()
    first = world.append(room.decide_join(world.state, USERS[0], 0))

    assert isinstance(first, Event)
    assert room.decide_join(world.state, USERS[0], 9) == Member("Ada", first.offset)


def test_time_never_goes_back() -> None:
    """A replica whose clock is behind uses the time of the newest event."""
    world = World()
    world.append(room.decide_join(world.state, USERS[0], 5000))

    event = world.send(USERS[0], "a", "hello", now=1)

    assert isinstance(event, Event)
    assert event.time == 5000


def refused(decide: Callable[[RoomState], object]) -> object:
    """Return what is decided on a room that does not exist."""
    return decide(RoomState("nowhere", KEPT))


def test_nothing_happens_in_a_room_that_does_not_exist() -> None:
    """Join, leave, send and access are answered 404."""
    ada = USERS[0]
    no = Refusal.of(codes.NO_SUCH_ROOM)
    assert refused(lambda state: room.decide_join(state, ada, 0)) == no
    assert refused(lambda state: room.decide_leave(state, ada, 0)) == no
    assert refused(lambda state: room.decide_send(state, ada, "a", "hello", 0)) == no
    assert refused(lambda state: room.refuse_access(state, ada)) == no


def test_a_room_is_created_once() -> None:
    """An id that the log knows is not created again."""
    assert room.decide_create(World().state, USERS[0], "Again", 0) == Refusal.of(codes.CONFLICT, "the room exists")


def test_a_room_and_author_at_work_ask_the_archive_once() -> None:
    """Once an author's ids are known, new ones need no archive, also far beyond the receipts."""
    world = World()
    world.append(room.decide_join(world.state, USERS[0], 0))
    for n in range(KEPT + 1):
        world.send(USERS[0], f"early{n}", "hello")

    world.send(USERS[0], "asks", "hello")

    for n in range(500):
        decision = room.decide_send(world.state, USERS[0], f"late{n}", "hello", 0)
        assert isinstance(decision, Event)
        world.append(decision)
    for used in ("early0", "asks", "late0"):
        assert room.decide_send(world.state, USERS[0], used, "hello", 0) is UNCERTAIN
    assert room.decide_send(world.state, USERS[1], "other", "hello", 0) is UNCERTAIN


def test_a_receipt_knows_its_text() -> None:
    """Receipts compare texts by digest, so that old messages need no memory for their texts."""
    assert receipt(
        Event(v=1, type="message", room="r", offset=1, user=USERS[0], time=2, number=3, text="x")
    ) == Receipt(1, 3, 2, digest("x"))
    assert digest("x") != digest("y")


def test_an_author_of_too_many_messages_is_remembered_as_such() -> None:
    """Their ids are looked up one by one from then on, and never called new unasked."""
    world = World()
    state = world.state
    state.learn("ada", Recalled(None, 0, None, too_many=True))

    assert "ada" in state.ids.prolific
    assert not state.ids.surely_new("ada", "anything")


def test_the_room_of_every_deployment_is_about_to_be_made() -> None:
    """Before it exists whoever asks is told to retry, not that there is none."""
    state = RoomState(GENERAL_ROOM, 8)
    for refused in (room.decide_join(state, ADA, 1), room.refuse_access(state, ADA)):
        assert isinstance(refused, Refusal)
        assert refused.code == codes.UNAVAILABLE.code


def hosted() -> World:
    """Return a room that Ada made, with Bob in it."""
    world = World(creator=ADA)
    for user in USERS[:2]:
        world.append(room.decide_join(world.state, user, 2))
    return world


def test_a_removed_member_is_out_until_readmitted() -> None:
    """The event says who left and by whom; asked twice it is answered with the same; joining is refused meanwhile."""
    world, (ada, bob, _) = hosted(), USERS

    left = world.append(room.decide_remove(world.state, ada, "bob", 5))

    assert isinstance(left, Event)
    assert (left.type, left.user, left.by, left.offset) == (events.LEFT, bob, ada, 4)
    assert room.decide_remove(world.state, ada, "bob", 6) == room.Removed("Bob", 4)
    assert room.decide_join(world.state, bob, 6) == Refusal.of(codes.REMOVED)
    assert room.decide_send(world.state, bob, "a", "hello", 6) == Refusal.of(codes.NOT_A_MEMBER)
    assert world.fold().removed == world.state.removed == {"bob": room.Removed("Bob", 4)}

    back = world.append(room.decide_readmit(world.state, ada, "bob", 7))

    assert isinstance(back, Event)
    assert (back.type, back.user, back.by) == (events.JOINED, bob, ada)
    assert room.decide_readmit(world.state, ada, "bob", 8) == Member("Bob", 5)
    assert world.state.removed == {}
    world.append(room.decide_leave(world.state, bob, 9))
    assert isinstance(room.decide_join(world.state, bob, 10), Event), "who left unasked may come back"


def test_only_the_creator_removes_and_only_members() -> None:
    """Others, strangers, and a creator who has left are refused; nobody removes themselves or who is not there."""
    world, (ada, bob, cyd) = hosted(), USERS
    state = world.state
    for decide in (room.decide_remove, room.decide_readmit):
        assert code_of(decide(state, bob, "ada", 5)) == codes.PERMISSION_DENIED.code
        assert code_of(decide(state, cyd, "bob", 5)) == codes.NOT_A_MEMBER.code
        assert code_of(decide(RoomState("nowhere", KEPT), ada, "bob", 5)) == codes.NO_SUCH_ROOM.code
    assert code_of(room.decide_remove(state, ada, "ada", 5)) == codes.INVALID.code
    assert code_of(room.decide_remove(state, ada, "cyd", 5)) == codes.NOT_A_MEMBER.code
    assert code_of(room.decide_readmit(state, ada, "cyd", 5)) == codes.INVALID.code
    world.append(room.decide_leave(state, ada, 6))
    assert code_of(room.decide_remove(state, ada, "bob", 7)) == codes.NOT_A_MEMBER.code


def code_of(decision: object) -> int:
    """Return the code of a refusal."""
    assert isinstance(decision, Refusal), decision
    return decision.code
