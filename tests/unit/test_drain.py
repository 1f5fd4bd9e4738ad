"""When connections are closed: the rule that spreads them over a window."""

import random

from hypothesis import given
from hypothesis import strategies as st

from gateway.drain import spread


@given(st.integers(0, 200), st.integers(1, 600), st.integers())
def test_each_has_its_own_slot(count: int, window: int, seed: int) -> None:
    """There is one time for each, in ascending order, inside the window, and each in its own slot of it."""
    times = spread(count, window, random.Random(seed).random)
    assert len(times) == count
    assert times == sorted(times)
    width = window / max(1, count)
    for slot, time in enumerate(times):
        assert slot * width <= time * (1 + 1e-9)
        assert time <= (slot + 1) * width * (1 + 1e-9)


def test_ten_thousand_never_close_in_one_burst() -> None:
    """Of 10,000 over 30 s, no second has more than a thirtieth and two of its neighbours' slots."""
    times = spread(10_000, 30, random.Random(1).random)
    most = max(sum(second <= one < second + 1 for one in times) for second in range(30))
    assert most <= 10_000 / 30 + 2


def test_a_window_of_nothing_means_now() -> None:
    """Without a window all are due at once."""
    assert spread(3, 0, random.Random(1).random) == [0, 0, 0]


def test_processes_are_not_in_step() -> None:
    """Two processes that begin together close at other moments."""
    one, other = (spread(100, 10, random.Random(seed).random) for seed in (1, 2))
    assert not set(one) & set(other)
