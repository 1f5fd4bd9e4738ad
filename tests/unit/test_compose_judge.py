"""The judge of tests/compose: what counts as leaving gently."""

from tests.compose.rolling import DRAIN_SECONDS, LISTENERS, Restart, at_once


def restart(*times: float) -> Restart:
    """Return a restart that closed connections at these seconds."""
    return Restart("gateway-1", 0.0, 50.0, [(at, 3001) for at in times])


def test_closes_over_the_window_are_a_drain() -> None:
    """One connection after the other, each at its own moment."""
    assert restart(*(5 + DRAIN_SECONDS * n / 30 for n in range(30))).faults() == []


def test_a_burst_is_no_drain() -> None:
    """All at once is what a restart without a drain does; half of them at once is no better."""
    (spread, burst) = restart(*[5.0] * 30).faults()
    assert "not spread" in spread
    assert "within one second" in burst
    half = [5.0] * 15 + [5 + 2 * n for n in range(15)]
    assert restart(*half).faults() == ["gateway-1: 16 of 30 closes within one second"]


def test_nobody_there_tries_nothing() -> None:
    """A gateway that held next to nobody proves nothing."""
    assert "nothing was tried" in restart(*range(LISTENERS // 4 - 1)).faults()[0]


def test_a_second_is_counted_from_each_close() -> None:
    """The busiest second may begin anywhere."""
    assert at_once([]) == 0
    assert at_once([0.0, 0.9, 1.8, 1.9, 2.7]) == 3
