"""Where in the stream an offset lies (pure).

The log numbers a channel's events 1, 2, 3 ... and the stream numbers everything, so offset to sequence is a monotone
function of which we know two points. Interpolate between them, but never trust it for more than half of the way:
every second probe bisects, which bounds the search by twice the logarithm of the range.
"""

from dataclasses import dataclass

CLOSE_ENOUGH = 64
"""Reading this many events too many costs less than another probe."""


@dataclass(frozen=True, slots=True)
class Point:
    """An event's offset and its sequence in the stream."""

    offset: int
    sequence: int


def next_probe(low: Point, high: Point, target: int, probes: int) -> int | None:
    """Return the sequence to look at next for `target`, or None when reading on from `low` is good enough.

    `low` lies before the target (low.offset < target), `high` at or after it. `probes` is how many were made.
    """
    if target - low.offset <= CLOSE_ENOUGH or high.sequence - low.sequence <= 2 * CLOSE_ENOUGH:
        return None
    middle = (low.sequence + high.sequence) // 2
    if probes % 2:
        return middle
    share = (target - CLOSE_ENOUGH // 2 - low.offset) / (high.offset - low.offset)
    guess = low.sequence + int(share * (high.sequence - low.sequence))
    return min(max(guess, low.sequence + 1), high.sequence - 1)


def narrow(low: Point, high: Point, target: int, probe: int, found: Point | None) -> tuple[Point, Point]:
    """Return the new bounds after looking at `probe`, where the next event of the channel was `found`."""
    if found is None or found.sequence >= high.sequence:
        # No event of this channel in [probe, high): the part from probe on holds nothing before high.
        return low, Point(high.offset, max(probe, low.sequence + 1))
    if found.offset < target:
        return found, high
    return low, Point(found.offset, max(probe, low.sequence + 1))
