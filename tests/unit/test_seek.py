"""Finding an offset in the stream."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.seek import Point, narrow, next_probe


def search(sequences: list[int], target: int) -> tuple[Point, int]:
    """Run a search against a made-up stream where offset i+1 lies at sequences[i]; return low and the probes used."""
    low, high, probes = Point(0, 0), Point(len(sequences), sequences[-1]), 0
    while (probe := next_probe(low, high, target, probes)) is not None:
        assert low.sequence < probe < high.sequence or probe == low.sequence + 1
        after = [(i + 1, s) for i, s in enumerate(sequences) if s >= probe]
        found = Point(*after[0]) if after else None
        low, high = narrow(low, high, target, probe, found)
        probes += 1
        assert probes < 100
    return low, probes


@settings(deadline=None)  # a busy machine is no fault
@given(st.lists(st.integers(1, 400), min_size=1, max_size=300), st.data())
@example([100_000] * 300, None)
@example([1] * 299 + [1_000_000], None)
def test_reading_from_the_answer_reaches_the_target(steps: list[int], data: st.DataObject | None) -> None:
    """The search ends at a point before the target, so that nothing wanted is skipped, after few probes."""
    sequences, at = [], 0
    for step in steps:
        at += step
        sequences.append(at)
    targets = range(1, len(steps) + 1) if data is None else [data.draw(st.integers(1, len(steps)))]
    for target in targets:
        low, probes = search(sequences, target)
        assert low.offset < target
        assert low.sequence < sequences[target - 1]
        assert probes <= 2 * 22
