"""When which connection has something to decide: one timer for all connections of a process.

A timer of its own costs each idle connection half a kilobyte, and is cancelled and made anew with each ping. Here a
connection stands in the list of a moment; where it stands in vain, because its time has changed, it is passed over.
"""

import asyncio
import heapq
import math
from typing import Protocol

RESOLUTION = 0.05
"""Seconds between two moments, and so how late an alarm may be."""
NEVER = math.inf


class Sleeper(Protocol):
    """Somebody who is to be woken."""

    due: float
    """When, on the loop's clock; `NEVER` for not at all. Set by `Alarms` and by whoever needs no waking any more."""

    def wake(self) -> None:
        """Do what is due, and set the next alarm."""


class Alarms:
    """The alarms of one process."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._moments: dict[int, list[Sleeper]] = {}
        self._order: list[int] = []  # a heap of the keys of `_moments`
        self._timer: asyncio.TimerHandle | None = None
        self._timer_for = 0

    def set(self, sleeper: Sleeper, when: float) -> None:
        """Have `sleeper` woken at `when`, on the loop's clock, instead of when it was to be woken before."""
        sleeper.due = when
        moment = _moment(when)
        sleepers = self._moments.get(moment)
        if sleepers is not None:
            sleepers.append(sleeper)
            return
        self._moments[moment] = [sleeper]
        heapq.heappush(self._order, moment)
        if self._timer is None or moment < self._timer_for:
            self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_for = self._order[0]
        self._timer = self._loop.call_at(self._timer_for * RESOLUTION, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now = self._loop.time()
        try:
            while self._order and self._order[0] * RESOLUTION <= now:
                moment = heapq.heappop(self._order)
                self._wake(moment, self._moments.pop(moment))
        finally:
            if self._order and self._timer is None:
                self._arm()

    def _wake(self, moment: int, sleepers: list[Sleeper]) -> None:
        try:
            while sleepers:
                sleeper = sleepers.pop()
                if sleeper.due != NEVER and _moment(sleeper.due) == moment:
                    sleeper.wake()
        finally:
            # Only after a fault: it must not keep the others asleep for ever.
            for left in sleepers:
                if left.due != NEVER:
                    self.set(left, left.due)


def _moment(when: float) -> int:
    """Return the first moment at or after `when`."""
    return math.ceil(when / RESOLUTION)
