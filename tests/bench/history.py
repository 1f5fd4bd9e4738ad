"""The judge of what happened in a room: what was acknowledged, what the log holds, what each receiver was given.

One log per room makes it simple: everything is compared with the log, so no search is needed. Pure; each broken promise
is one line of text. `tests/unit/test_history_checker.py` breaks each promise and sees it found.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]


@dataclass(frozen=True)
class Acknowledged:
    """A message whose author was told that it is stored. Times in seconds on one clock."""

    id: str
    offset: int
    asked: float
    answered: float


@dataclass
class Received:
    """The events one receiver was given, in the order in which they came, from its position `after` on."""

    name: str
    after: int
    events: Sequence[Event]
    upto: int | None = None
    """Where its membership ended; None for who is there at the end and so has everything."""


@dataclass
class History:
    """Everything known of one room at the end."""

    log: Sequence[Event]
    """All events of the room, as its history pages give them."""
    acknowledged: Sequence[Acknowledged] = ()
    received: Sequence[Received] = ()
    offered: frozenset[str] | None = None
    """Ids of all messages that were ever sent, acknowledged or not; None when that is not known."""
    faults: list[str] = field(default_factory=list)

    def check(self) -> list[str]:
        """Return every broken promise, one line each; empty when all are kept."""
        self.faults = []
        self._log_is_gap_free()
        self._no_message_twice()
        self._nothing_acknowledged_is_lost()
        self._order_of_acknowledgement()
        for one in self.received:
            self._receiver(one)
        return self.faults

    def _log_is_gap_free(self) -> None:
        offsets = [event["offset"] for event in self.log]
        if offsets != list(range(1, len(offsets) + 1)):
            self.faults.append(f"log: offsets are not 1, 2, 3 ...: {_first_break(offsets, 0)}")
        numbers = [event["number"] for event in self.log if event["type"] == "message"]
        if numbers != list(range(1, len(numbers) + 1)):
            self.faults.append(f"log: message numbers are not 1, 2, 3 ...: {_first_break(numbers, 0)}")

    def _no_message_twice(self) -> None:
        counted = Counter((event["user"]["id"], event["id"]) for event in self.log if event["type"] == "message")
        self.faults += [
            f"log: message {found[1]} is there {times} times" for found, times in counted.items() if times > 1
        ]
        if self.offered is not None:
            strange = {found[1] for found in counted} - self.offered
            self.faults += [f"log: message {found} was never sent" for found in sorted(strange)]

    def _nothing_acknowledged_is_lost(self) -> None:
        stored = {event["offset"]: event.get("id") for event in self.log}
        for one in self.acknowledged:
            if stored.get(one.offset) != one.id:
                found = stored.get(one.offset)
                self.faults.append(f"acknowledged {one.id} at offset {one.offset}, where the log has {found}")

    def _order_of_acknowledgement(self) -> None:
        """What was acknowledged before something else was asked for comes before it."""
        by_answer = sorted(self.acknowledged, key=lambda one: one.answered)
        highest, seen = 0, 0
        for one in sorted(self.acknowledged, key=lambda one: one.asked):
            while seen < len(by_answer) and by_answer[seen].answered < one.asked:
                highest = max(highest, by_answer[seen].offset)
                seen += 1
            if one.offset <= highest:
                self.faults.append(f"{one.id} at offset {one.offset} was asked for after {highest} was acknowledged")

    def _receiver(self, one: Received) -> None:
        offsets = [event["offset"] for event in one.events]
        end = one.upto if one.upto is not None else len(self.log)
        if any(offset <= one.after for offset in offsets):
            self.faults.append(f"{one.name}: got offsets at or before {one.after}, where it began")
        if one.upto is not None and any(offset > one.upto for offset in offsets):
            self.faults.append(f"{one.name}: got offsets after {one.upto}, where its membership ended")
        expected = list(range(one.after + 1, end + 1))
        if offsets != expected:
            self.faults.append(
                f"{one.name}: offsets are not {one.after + 1} .. {end}, each once and in order: "
                f"{_first_break(offsets, one.after)}, {len(offsets)} of {len(expected)}"
            )
        stored = {event["offset"]: event for event in self.log}
        different = [event["offset"] for event in one.events if stored.get(event["offset"]) != event]
        if different:
            self.faults.append(f"{one.name}: other events than in the log at offsets {different[:5]}")


def _first_break(numbers: Sequence[int], before: int) -> str:
    """Describe where `numbers` stop growing by one."""
    for number in numbers:
        if number != before + 1:
            return f"{number} after {before}"
        before = number
    return f"ends with {before}"
