"""What is gathered and poured is counted as if it had been counted at once."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from chassis import metrics
from chassis.metrics import Spread, Tally

VALUES = st.lists(st.floats(0, 20) | st.sampled_from(metrics.FAST_BUCKETS), max_size=30)


def page(registry: CollectorRegistry) -> list[str]:
    """Return the samples, without the times at which they were made."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


@given(VALUES, VALUES)
def test_a_spread_is_a_histogram(first: list[float], second: list[float]) -> None:
    """Buckets (their bounds included), count and sum are the same, also when it is poured in between."""
    gathered, direct = CollectorRegistry(), CollectorRegistry()
    spread = Spread(Histogram("a", "b", ["c"], buckets=metrics.FAST_BUCKETS, registry=gathered).labels("d"))
    histogram = Histogram("a", "b", ["c"], buckets=metrics.FAST_BUCKETS, registry=direct).labels("d")
    total = 0.0
    for values in (first, second):
        for value in values:
            spread.observe(value)
            histogram.observe(value)
        spread.pour()
        total += sum(values)
    shown, expected = ([line for line in page(one) if not line.startswith("a_sum")] for one in (gathered, direct))
    assert shown == expected
    assert abs(histogram._sum.get() - spread._histogram._sum.get()) < 1e-6


def test_a_tally_is_a_counter() -> None:
    """Nothing is counted before it is poured, and nothing twice."""
    registry = CollectorRegistry()
    tally = Tally(Counter("a", "b", registry=registry))
    tally.add()
    tally.add(2)
    assert "a_total 0.0" in page(registry)
    tally.pour()
    tally.pour()
    assert "a_total 3.0" in page(registry)


def test_the_page_has_everything() -> None:
    """Whoever reads the page of this process gets what was gathered until then."""
    tally = Tally(metrics.nats_errors.labels("test"))
    tally.add(5)
    assert b'parley_nats_errors_total{kind="test"} 5.0' in metrics.render()[0]
