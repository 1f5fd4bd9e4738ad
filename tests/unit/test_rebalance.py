"""When a gateway process sends connections elsewhere, and when it stops trying."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rebalance import LEAST, MOST_PAUSES, Load, Look, Pauses, excess, staying


@pytest.mark.parametrize(
    ("own", "counts", "expected"),
    [
        (60, [60, 0], 24),
        (1200, [1200, 900, 900], 0),
        (2000, [2000, 1000], 200),
        (10_000, [10_000, 10_000, 10_000, 0], 1000),
        (1000, [1000, 2000], 0),
        (39, [39, 0], 0),
        (500, [500], 0),
        (0, [0, 0], 0),
        (5, [], 0),
    ],
)
def test_what_is_above_the_mean_plus_a_margin_is_too_much(own: int, counts: list[int], expected: int) -> None:
    """With a margin of a fifth, what is above that goes; never when it is little, and never from who is alone."""
    assert excess(own, counts, 0.2) == expected


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=50), st.floats(0, 2))
def test_it_never_takes_a_process_below_the_mean(counts: list[int], margin: float) -> None:
    """Who sends its excess away still has the mean, and little is never moved."""
    for own in counts:
        found = excess(own, counts, margin)
        assert found == 0 or found >= LEAST
        assert found == 0 or own - found >= sum(counts) / len(counts) - 1e-6


def test_rounds_end_when_the_balancer_is_fair() -> None:
    """With a balancer that spreads evenly, ten processes and a new one come to rest, and nobody is left far above."""
    counts = [1000] * 10 + [0]
    for _ in range(50):
        away = [excess(own, counts, 0.2) for own in counts]
        if not any(away):
            break
        counts = [own - gone + sum(away) / len(counts) for own, gone in zip(counts, away, strict=True)]
    assert not any(away)
    assert max(counts) <= sum(counts) / len(counts) * 1.2 + LEAST


def test_those_who_leave_do_not_count() -> None:
    """A process that drains is left out: its connections come to the others anyway."""
    bodies = {"a": b'{"connections":5,"draining":false}', "b": b'{"connections":100,"draining":true}'}
    assert staying(bodies) == {"a": 5}


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense"])
def test_nothing_is_guessed_of_a_process_that_tells_nothing(body: bytes) -> None:
    """During an upgrade older processes tell nothing; then nobody moves."""
    assert staying({"a": b'{"connections":5,"draining":false}', "b": body}) is None


def test_a_load_says_how_many_and_whether_it_leaves() -> None:
    """These two fields are the form between processes, of other versions too."""
    assert staying({"a": b'{"connections":5,"draining":false,"more":1}'}) == {"a": 5}
    assert Load(5, draining=False).connections == 5


def look(own: int, total: int) -> Look:
    """Return how things are with two processes."""
    return Look(own, total, frozenset("ab"), 0)


@pytest.mark.parametrize(
    ("before", "asked", "after", "expected"),
    [
        (look(60, 60), 24, look(36, 60), True),
        (look(60, 60), 24, look(48, 60), True),  # half came back, as with a fair balancer and two processes
        (look(60, 60), 24, look(60, 60), False),
        (look(60, 60), 24, look(72, 120), True),  # many came meanwhile, to both
        (look(60, 60), 24, look(118, 120), False),
    ],
)
def test_it_helped_when_connections_stayed_away(before: Look, asked: int, after: Look, expected: bool) -> None:
    """What counts is the share of all, so that newcomers do not hide it."""
    assert before.helped(asked, after) is expected


def test_pauses_double_while_it_does_not_help() -> None:
    """Who asks in vain asks ever more seldom, and at once again when it helped."""
    pauses = Pauses()
    left_out = []
    for _ in range(9):
        looks = 0
        while not pauses.over():
            looks += 1
        left_out.append(looks)
        pauses.tried(helped=False)
    assert left_out == [0, 1, 3, 7, 15, 31, 63, 63, 63]
    assert pauses.length == MOST_PAUSES
    pauses.tried(helped=True)
    assert pauses.over()
