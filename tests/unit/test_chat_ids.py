"""The memory for message ids that are too old for a receipt."""

from hypothesis import given
from hypothesis import strategies as st

from chat_service import ids
from chat_service.ids import KnownIds

names = st.text("abcxyz019_-", min_size=1, max_size=8)


@given(st.lists(st.tuples(st.sampled_from(["ada", "bob"]), names)), st.lists(names))
def test_an_id_that_was_used_is_never_called_new(used: list[tuple[str, str]], learnt: list[str]) -> None:
    """Nothing learnt or added later is called new."""
    known = KnownIds()
    known.learn("ada", learnt)
    for user, client_id in used:
        known.add(user, client_id)

    assert not any(known.surely_new("ada", client_id) for client_id in learnt)
    assert not any(known.surely_new(user, client_id) for user, client_id in used)


def test_nothing_is_said_of_an_unknown_author() -> None:
    """Whoever's ids have not been learnt may have used any."""
    known = KnownIds()
    known.add("bob", "a")

    assert not known.surely_new("bob", "b")


def test_an_author_without_messages_may_use_any_id() -> None:
    """Learning that there are none is knowledge too."""
    known = KnownIds()
    known.learn("ada", [])

    assert known.surely_new("ada", "a")


def test_most_new_ids_are_recognised_up_to_capacity() -> None:
    """A full filter still answers 95 of 100 questions by itself."""
    known = KnownIds()
    known.learn("ada", (f"old{n}" for n in range(ids.CAPACITY)))

    assert sum(known.surely_new("ada", f"new{n}") for n in range(1000)) > 950


def test_a_full_filter_begins_anew() -> None:
    """Beyond capacity the authors are forgotten, and the archive is asked again."""
    known = KnownIds()
    known.learn("ada", (f"old{n}" for n in range(ids.CAPACITY)))
    known.add("ada", "one more")

    assert not known.surely_new("ada", "never used")
