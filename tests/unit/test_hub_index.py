"""Connections by user and session: an index of connections behaves as sets of them would."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.hub import Index

STEPS = st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 4)), max_size=40)
CONNECTIONS: list[Any] = [object() for _ in range(5)]


@given(STEPS)
def test_an_index_is_a_set_for_each_key(steps: list[tuple[bool, str, int]]) -> None:
    """Added and discarded in any order, twice or in vain."""
    index, expected = Index(), dict[str, set[Any]]()
    for adds, key, number in steps:
        connection = CONNECTIONS[number]
        if adds:
            index.add(key, connection)
            expected.setdefault(key, set()).add(connection)
        else:
            index.discard(key, connection)
            expected.get(key, set()).discard(connection)
        for name in "ab":
            found = index.of(name)
            assert len(found) == len(set(found))
            assert set(found) == expected.get(name, set())
        assert len(index) == sum(bool(found) for found in expected.values())
        for more_than in range(3):
            assert set(index.crowds(more_than)) == {k for k, found in expected.items() if len(found) > more_than}
