"""The ring of recent events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ring import Entry, Ring


def entry(offset: int, size: int = 1) -> Entry:
    """An event with that offset."""
    return Entry(offset, offset * 10, "message", "u", "", b"x" * size)


@given(st.integers(0, 50), st.lists(st.integers(1, 40), max_size=60), st.integers(1, 20), st.integers(40, 200))
def test_after_returns_all_or_nothing(top: int, sizes: list[int], most: int, most_bytes: int) -> None:
    """From any position the ring gives every later event in order, or None; never a part."""
    ring = Ring(top, top * 10, most=most, most_bytes=most_bytes)
    for number, size in enumerate(sizes, top + 1):
        ring.append(entry(number, size))
    for offset in range(ring.top + 2):
        found = ring.after(offset)
        assert found is None or [one.offset for one in found] == list(range(offset + 1, ring.top + 1))
    oldest = ring.oldest
    held = ring.top - oldest.offset + 1 if oldest else 0
    assert held <= most
    assert ring.after(ring.top - held) is not None


@pytest.mark.parametrize("offset", [0, 5, 7, 100])
def test_only_the_next_event_is_taken(offset: int) -> None:
    """An event that is not the next one is refused."""
    ring = Ring(5, 50, most=10, most_bytes=1000)
    with pytest.raises(ValueError, match="after 5"):
        ring.append(entry(offset))
