"""Which chat-service process is asked about a room."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.chat_processes import MOST, ChatProcesses
from protocol.commands import HERE_LASTS_SECONDS, Here

ROOMS = [f"room{number}" for number in range(1000)]
ids = st.text("abcdefghij234567", min_size=20, max_size=20)


def those(*processes: str, at: float = 0.0) -> ChatProcesses:
    """Return a gateway's knowledge after these were heard."""
    found = ChatProcesses()
    for one in processes:
        found.heard(Here(one), at)
    return found


def test_while_none_is_known_any_is_asked() -> None:
    """One alone is asked by its name: of NATS's queue group one that hangs may still be a member."""
    assert those().of("general", 0) == ""
    assert those("a").of("general", HERE_LASTS_SECONDS) == "a"
    assert those("a").of("general", HERE_LASTS_SECONDS + 0.1) == ""


@given(st.lists(ids, min_size=2, max_size=6, unique=True), st.randoms())
def test_every_gateway_chooses_alike(processes: list[str], random: st.randoms) -> None:  # type: ignore[valid-type]
    """In whichever order they were heard."""
    shuffled = sorted(processes, key=lambda _: random.random())  # type: ignore[attr-defined]
    one, other = those(*processes), those(*shuffled)
    assert [one.of(room, 1) for room in ROOMS[:50]] == [other.of(room, 1) for room in ROOMS[:50]]


@given(st.lists(ids, min_size=2, max_size=6, unique=True))
def test_each_has_its_share(processes: list[str]) -> None:
    """Of a thousand rooms nobody has less than half of an even share, or more than twice."""
    found = those(*processes)
    shares = Counter(found.of(room, 1) for room in ROOMS)
    even = len(ROOMS) / len(processes)
    assert shares.keys() == set(processes)
    assert even / 2 < min(shares.values()) <= max(shares.values()) < even * 2


@given(st.lists(ids, min_size=3, max_size=6, unique=True))
def test_only_the_rooms_of_one_that_leaves_move(processes: list[str]) -> None:
    """The others keep what they know."""
    found = those(*processes)
    before = {room: found.of(room, 1) for room in ROOMS}
    found.heard(Here(processes[0], leaving=True), 1)
    after = {room: found.of(room, 1) for room in ROOMS}
    assert all(after[room] == process for room, process in before.items() if process != processes[0])
    assert processes[0] not in after.values()


def test_who_is_silent_is_forgotten() -> None:
    """When three signs of life did not come; and remembered with the next one."""
    found = those("a", "b", "c")
    found.heard(Here("a"), HERE_LASTS_SECONDS)
    found.heard(Here("b"), HERE_LASTS_SECONDS)
    assert "c" in {found.of(room, HERE_LASTS_SECONDS) for room in ROOMS}
    assert {found.of(room, HERE_LASTS_SECONDS + 0.1) for room in ROOMS} == {"a", "b"}
    found.heard(Here("c"), HERE_LASTS_SECONDS + 1)
    assert "c" in {found.of(room, HERE_LASTS_SECONDS + 1) for room in ROOMS}


def test_who_does_not_answer_is_forgotten_at_once() -> None:
    """Until it is heard again."""
    found = those("a", "b", "c")
    found.gone("a")
    found.gone("a")
    assert {found.of(room, 0) for room in ROOMS} == {"b", "c"}


def test_what_is_no_id_is_nobody() -> None:
    """It would not be let into a subject."""
    assert those("", "a b", "*", ">", "A").of("general", 0) == ""


def test_no_more_are_remembered_than_there_may_be() -> None:
    """Whoever can say that it is there cannot fill the memory; and who is silent makes room."""
    found = those(*(f"p{number}" for number in range(MOST + 10)))
    assert f"p{MOST + 1}" not in {found.of(room, 0) for room in ROOMS}
    later = 2 * HERE_LASTS_SECONDS
    found.heard(Here("late"), later)
    found.heard(Here("later"), later)
    assert {found.of(room, later) for room in ROOMS} == {"late", "later"}
