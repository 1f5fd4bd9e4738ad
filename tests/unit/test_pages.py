"""Lists in answers are cut to what NATS takes."""

import msgspec

from chat_service.pages import MOST_BYTES, first_that_fit
from protocol.events import User


def test_a_short_list_stays_whole() -> None:
    """What fits is not touched."""
    people = [User(f"u{n}", "Ann") for n in range(100)]
    assert first_that_fit(people) == people
    assert first_that_fit([]) == []


def test_a_long_list_is_cut_at_the_last_that_fits() -> None:
    """As many as fit, in their order."""
    people = [User(f"u{n:06}", "\U0001f680" * 64) for n in range(1000)]
    found = first_that_fit(people)
    assert 0 < len(found) < len(people)
    assert found == people[: len(found)]
    assert len(msgspec.json.encode(found)) <= MOST_BYTES + 2
    assert len(msgspec.json.encode(people[: len(found) + 1])) > MOST_BYTES


def test_one_comes_at_least() -> None:
    """A reader that pages through a list always gets on."""
    people = [User("u", "x" * (MOST_BYTES + 1)), User("v", "y")]
    assert first_that_fit(people) == people[:1]
