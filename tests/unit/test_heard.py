"""Records kept as they were heard: a run without a gap, or nothing."""

from hypothesis import given
from hypothesis import strategies as st

from chassis.streams import Record
from chat_service.heard import Heard

MOST = 8


def record(sequence: int) -> Record:
    """A record with that sequence."""
    return Record(sequence, "room.general.log", {}, b"")


def kept(*sequences: int) -> Heard:
    """What is kept after hearing these."""
    heard = Heard(MOST)
    for sequence in sequences:
        heard.add(record(sequence))
    return heard


def after(heard: Heard, sequence: int, limit: int = MOST) -> list[int]:
    """The sequences of what follows `sequence`."""
    return [one.sequence for one in heard.after(sequence, limit)]


def test_what_follows_is_handed_out_in_order() -> None:
    """From the next record on, as many as are asked for; at the end there is nothing."""
    heard = kept(5, 6, 7)
    assert after(heard, 4) == [5, 6, 7]
    assert after(heard, 5, limit=1) == [6]
    assert after(heard, 7) == []
    assert after(kept(), 0) == []


def test_what_was_before_is_not_here() -> None:
    """The log has what was not heard: nothing is handed out behind a gap."""
    assert after(kept(5, 6), 3) == []
    assert after(kept(5, 6, 8, 9), 5) == []
    assert after(kept(5, 6, 8, 9), 7) == [8, 9]


def test_another_log_begins_anew() -> None:
    """Sequences that go back, or one heard twice, end the run; so does being told to forget."""
    assert after(kept(5, 6, 1, 2), 0) == [1, 2]
    assert after(kept(5, 6, 6), 5) == [6]
    heard = kept(5, 6)
    heard.forget()
    assert after(heard, 4) == []


def test_the_oldest_give_way() -> None:
    """No more than was said are kept."""
    heard = kept(*range(1, 2 * MOST + 1))
    assert after(heard, MOST) == list(range(MOST + 1, 2 * MOST + 1))
    assert after(heard, MOST - 1) == []


@given(st.lists(st.integers(1, 12), max_size=30), st.integers(0, 13), st.integers(1, 12))
def test_no_record_is_ever_passed_over(sequences: list[int], sequence: int, limit: int) -> None:
    """Whatever was heard, what is handed out begins with the next record and has no hole."""
    found = after(kept(*sequences), sequence, limit)
    assert found == list(range(sequence + 1, sequence + 1 + len(found)))
    assert len(found) <= min(limit, MOST)
