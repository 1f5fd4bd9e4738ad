"""The judge: from what was acknowledged and what each receiver was given, what is lost, doubled or out of order. Pure.

Rules for this file: no I/O, no clock (times come in, in seconds of any one clock), no metrics.

Numbers of one run are 1, 2, 3 ... and each is acknowledged before the next is offered, so the room's log has them in
that order. For each receiver:

- **lost** is a number that was acknowledged and has not come after `lost_after` seconds of those in which the receiver
  was subscribed with no history left to read, its connection lived, and no send failed. Whoever is away gets what was
  missed when it is back, and an outage is no loss, however long it is. So time counts only when it is over: at the next
  sign of life of the connection (a silent one may be dead), and then at the next acknowledgement.
- **duplicated** is a number that came before, by the same connection or by an earlier one.
- **reordered** is a number that came after a higher one.
- **late** is a number that had been counted as lost.

What a receiver was honestly told to reload, and found in the history, has been had: it is neither lost nor in order.
All memory is bounded by `capacity`; what has to be forgotten for that is counted, never judged.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

CAPACITY = 10_000


class Verdict(Enum):
    """What a reception was."""

    FIRST = "first"
    DUPLICATED = "duplicated"
    REORDERED = "reordered"
    LATE = "late"
    IGNORED = "ignored"
    """Never offered, or so old that nothing is known of it any more."""


@dataclass(frozen=True, slots=True)
class Reception:
    """How a number that came is judged; `latency` in seconds since its first send, None when it is not to be told."""

    verdict: Verdict
    latency: float | None = None


class Ledger:
    """One run of the canary."""

    def __init__(self, receivers: Sequence[str], lost_after: float, capacity: int = CAPACITY) -> None:
        self._lost_after = lost_after
        self._capacity = capacity
        self._seen = {receiver: _Seen(capacity) for receiver in receivers}
        self._offered: dict[int, float] = {}
        self._last = 0
        self._failed = False

    @property
    def unjudged(self) -> int:
        """How many acknowledged numbers were forgotten, for one receiver each, before they could be judged."""
        return sum(seen.forgotten for seen in self._seen.values())

    def offer(self, now: float) -> int:
        """Return the next number, which is sent for the first time now."""
        self._last += 1
        self._offered[self._last] = now
        if len(self._offered) > self._capacity:
            del self._offered[next(iter(self._offered))]
        return self._last

    def fail(self) -> None:
        """Take note that a send was refused or not answered: the time between two acknowledgements does not count."""
        self._failed = True

    def acknowledge(self, number: int, now: float) -> None:
        """Take note that `number` is stored: from now on every receiver must get it."""
        for seen in self._seen.values():
            seen.watch.settle(not self._failed, now)
            seen.expect(number, now)
        self._failed = False

    def attend(self, receiver: str, attends: bool, now: float) -> None:
        """Take note whether `receiver` is subscribed with nothing left to reload."""
        self._seen[receiver].watch.turn(attends, now)

    def prove(self, receiver: str, now: float) -> None:
        """Take note that the connection of `receiver` lives: it has answered something."""
        self._seen[receiver].watch.prove(now)

    def excuse(self, receiver: str, now: float) -> None:
        """Tell no latency of what was sent before now: `receiver` was away because it wanted to be."""
        self._seen[receiver].excused = now

    def receive(self, receiver: str, number: int, now: float) -> Reception:
        """Judge that `number` was pushed to `receiver`."""
        seen = self._seen[receiver]
        seen.watch.prove(now)
        if not 0 < number <= self._last:
            return Reception(Verdict.IGNORED)
        verdict = seen.take(number)
        sent = self._offered.get(number)
        if verdict in (Verdict.DUPLICATED, Verdict.IGNORED) or sent is None or sent < seen.excused:
            return Reception(verdict)
        return Reception(verdict, max(0.0, now - sent))

    def reload(self, receiver: str, numbers: Iterable[int]) -> int:
        """Take note that `receiver` was told to reload and found `numbers`; return how many were new to it."""
        seen = self._seen[receiver]
        wanted = (number for number in numbers if 0 < number <= self._last and not seen.has(number))
        return sum(seen.take(number) is not Verdict.IGNORED for number in wanted)

    def judge(self) -> list[tuple[str, int]]:
        """Return (receiver, number) of what has become lost since the last call."""
        return [
            (receiver, number) for receiver, seen in self._seen.items() for number in seen.overdue(self._lost_after)
        ]


class _Stopwatch:
    """Adds up the time that counts, once it is known to."""

    def __init__(self) -> None:
        self.reading = 0.0
        self._proven = 0.0
        """Time in which the connection lived, but of which it is not known yet whether a send failed in it."""
        self._since: float | None = None
        """Since when nothing is known; None while it stands."""

    def turn(self, on: bool, now: float) -> None:
        if not on:
            self._since = None
        elif self._since is None:
            self._since = now

    def prove(self, now: float) -> None:
        if self._since is not None:
            self._proven += max(0.0, now - self._since)
            self._since = now

    def settle(self, counts: bool, now: float) -> None:
        if counts:
            self.reading += self._proven
        elif self._since is not None:
            self._since = now
        self._proven = 0.0

    def latest(self, now: float) -> float:
        """Return what it would show if all time up to now came to count."""
        return self.reading + self._proven + (0.0 if self._since is None else max(0.0, now - self._since))


class _Seen:
    """What one receiver has had: everything up to `_top`, but for `_gaps`."""

    def __init__(self, capacity: int) -> None:
        self.watch = _Stopwatch()
        self.excused = float("-inf")
        self.forgotten = 0
        self._capacity = capacity
        self._top = 0
        self._floor = 0
        """Of numbers up to here nothing is known."""
        self._gaps: dict[int, None] = {}
        self._expected: dict[int, float] = {}
        """Acknowledged numbers that have not come, to the stopwatch's latest reading then; oldest first."""
        self._lost: dict[int, None] = {}

    def has(self, number: int) -> bool:
        return self._floor < number <= self._top and number not in self._gaps

    def expect(self, number: int, now: float) -> None:
        if self.has(number) or number <= self._floor:
            return
        self._expected[number] = self.watch.latest(now)
        if len(self._expected) > self._capacity:
            del self._expected[next(iter(self._expected))]
            self.forgotten += 1

    def take(self, number: int) -> Verdict:
        self._expected.pop(number, None)
        if number <= self._floor:
            return Verdict.IGNORED
        if self.has(number):
            return Verdict.DUPLICATED
        in_order = number > self._top
        if in_order:
            self._skip_to(number)
        else:
            del self._gaps[number]
        if number in self._lost:
            del self._lost[number]
            return Verdict.LATE
        return Verdict.FIRST if in_order else Verdict.REORDERED

    def overdue(self, lost_after: float) -> list[int]:
        found = []
        for number, expected_at in self._expected.items():
            if self.watch.reading - expected_at < lost_after:
                break
            found.append(number)
        for number in found:
            del self._expected[number]
            self._lost[number] = None
        while len(self._lost) > self._capacity:
            del self._lost[next(iter(self._lost))]
        return found

    def _skip_to(self, number: int) -> None:
        known = max(self._top + 1, number - self._capacity)
        if known > self._top + 1:
            self._floor = known - 1
            self._gaps.clear()
        self._gaps.update(dict.fromkeys(range(known, number)))
        self._top = number
        while len(self._gaps) > self._capacity:
            self._floor = next(iter(self._gaps))
            del self._gaps[self._floor]
