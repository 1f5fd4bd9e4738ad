"""The judge of what happened in a room: what was acknowledged, what the log holds, what each receiver was given.

One log per room makes it simple: everything is compared with the log, so no search is needed. Pure. Seven rules, each a
method below; `tests/unit/test_history_checker.py` breaks each and sees it found. `stays.py` judges general channels.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.bench.stays import DUPLICATED, FORGED, LEAKED, LOST, REFUSED, REORDERED, Fault

Event = dict[str, Any]


@dataclass(frozen=True)
class Acknowledged:
    """A message whose author was told that it is stored. Times in seconds on one clock."""

    id: str
    offset: int
    asked: float
    answered: float


@dataclass(frozen=True)
class Recovery:
    """What a subscription was given at once when it asked to go on behind the offset `asked`."""

    asked: int
    granted: bool
    """Whether it was told that this is all it missed."""
    events: Sequence[Event] = ()


@dataclass
class Received:
    """The events one receiver was given, in the order in which they came, from its position `after` on."""

    name: str
    after: int
    events: Sequence[Event]
    upto: int | None = None
    """Where its membership ended; None for who is there at the end and so has everything."""
    recoveries: Sequence[Recovery] = ()
    """Each of its recoveries; their events are among `events`, too."""
    user: str = ""
    """Whose it is: then nothing may have come that happened while this user was no member, by the log."""


@dataclass
class History:
    """Everything known of one room at the end."""

    log: Sequence[Event]
    """All events of the room, in the order of the log."""
    acknowledged: Sequence[Acknowledged] = ()
    received: Sequence[Received] = ()
    offered: frozenset[str] | None = None
    """Ids of all messages that were ever sent, acknowledged or not; None when that is not known."""
    pages: Mapping[int, Sequence[Event]] = field(default_factory=dict)
    """Length of a page to all events of the room, read in pages of that length."""
    faults: list[Fault] = field(default_factory=list)

    def check(self) -> list[Fault]:
        """Return every broken promise; empty when all are kept."""
        self.faults = []
        self._nothing_acknowledged_is_lost()
        self._no_message_twice()
        self._one_order_without_a_gap()
        self._order_of_acknowledgement()
        self._pages_are_the_log()
        for one in self.received:
            self._receiver(one)
            self._membership(one)
            self._recoveries(one)
        return self.faults

    def _fault(self, kind: str, text: str, count: int = 1) -> None:
        self.faults.append(Fault(kind, text, count))

    def _nothing_acknowledged_is_lost(self) -> None:
        """1: what was acknowledged is in the log, at the offset that its author was told."""
        stored = {event["offset"]: event.get("id") for event in self.log}
        for one in self.acknowledged:
            if stored.get(one.offset) != one.id:
                found = stored.get(one.offset)
                self._fault(LOST, f"acknowledged {one.id} at offset {one.offset}, where the log has {found}")

    def _no_message_twice(self) -> None:
        """2: a message id of a user is there once at most, and somebody sent it."""
        counted = Counter((event["user"]["id"], event["id"]) for event in self.log if event["type"] == "message")
        for found, times in counted.items():
            if times > 1:
                self._fault(DUPLICATED, f"log: message {found[1]} is there {times} times", times - 1)
        if self.offered is not None:
            for strange in sorted({found[1] for found in counted} - self.offered):
                self._fault(FORGED, f"log: message {strange} was never sent")

    def _one_order_without_a_gap(self) -> None:
        """3: offsets are 1, 2, 3 ..., and so are the numbers of messages; every receiver is compared with them."""
        self._counts_up("offsets", [event["offset"] for event in self.log])
        self._counts_up("message numbers", [event["number"] for event in self.log if event["type"] == "message"])

    def _counts_up(self, what: str, numbers: list[int]) -> None:
        if numbers != list(range(1, len(numbers) + 1)):
            self._fault(_kind(numbers, 0), f"log: {what} are not 1, 2, 3 ...: {_first_break(numbers, 0)}")

    def _order_of_acknowledgement(self) -> None:
        """4: what was acknowledged before something else was asked for comes before it."""
        by_answer = sorted(self.acknowledged, key=lambda one: one.answered)
        highest, seen = 0, 0
        for one in sorted(self.acknowledged, key=lambda one: one.asked):
            while seen < len(by_answer) and by_answer[seen].answered < one.asked:
                highest = max(highest, by_answer[seen].offset)
                seen += 1
            if one.offset <= highest:
                text = f"{one.id} at offset {one.offset} was asked for after {highest} was acknowledged"
                self._fault(REORDERED, text)

    def _membership(self, one: Received) -> None:
        """5: nothing reaches a receiver that happened while its user was no member."""
        if one.upto is not None and (late := [event for event in one.events if event["offset"] > one.upto]):
            self._fault(LEAKED, f"{one.name}: got offsets after {one.upto}, where its membership ended", len(late))
        if any(event["offset"] <= one.after for event in one.events):
            self._fault(LEAKED, f"{one.name}: got offsets at or before {one.after}, where it began")
        if not one.user:
            return
        outside, member = set(), False
        for event in self.log:
            own = event["user"]["id"] == one.user
            member = member or (own and event["type"] == "joined")
            if not member:
                outside.add(event["offset"])
            member = member and not (own and event["type"] == "left")  # one's own leaving is the last one hears
        if strays := [event["offset"] for event in one.events if event["offset"] in outside]:
            self._fault(LEAKED, f"{one.name}: got {strays[:5]} while no member", len(strays))

    def _pages_are_the_log(self) -> None:
        """6: read in pages of any length, history is the log."""
        for size, events in self.pages.items():
            if list(events) == list(self.log):
                continue
            offsets = [event["offset"] for event in events]
            differs = next((a["offset"] for a, b in zip(events, self.log, strict=False) if a != b), "the end")
            kind = _kind(offsets, 0) if offsets != [event["offset"] for event in self.log] else FORGED
            self._fault(kind, f"pages of {size}: differ from the log at {differs}, {len(events)} of {len(self.log)}")

    def _receiver(self, one: Received) -> None:
        """3 and 7: what a receiver was given, recovered and live together, is the log from its beginning on."""
        offsets = [event["offset"] for event in one.events]
        end = one.upto if one.upto is not None else len(self.log)
        expected = list(range(one.after + 1, end + 1))
        if offsets != expected:
            text = (
                f"{one.name}: offsets are not {one.after + 1} .. {end}, each once and in order: "
                f"{_first_break(offsets, one.after)}, {len(offsets)} of {len(expected)}"
            )
            missing = len(set(expected) - set(offsets))
            self._fault(_kind(offsets, one.after) if not missing else LOST, text, missing or 1)
            if len(set(offsets)) < len(offsets):
                self._fault(DUPLICATED, f"{one.name}: events twice", len(offsets) - len(set(offsets)))
        stored = {event["offset"]: event for event in self.log}
        different = [event["offset"] for event in one.events if stored.get(event["offset"]) != event]
        if different:
            self._fault(FORGED, f"{one.name}: other events than in the log at offsets {different[:5]}", len(different))

    def _recoveries(self, one: Received) -> None:
        """7: a recovery gives exactly what follows the position that was asked for."""
        for recovery in one.recoveries:
            if not recovery.granted:
                self._fault(REFUSED, f"{one.name}: could not go on behind {recovery.asked}")
                continue
            offsets = [event["offset"] for event in recovery.events]
            due = list(range(recovery.asked + 1, recovery.asked + 1 + len(offsets)))
            if offsets != due:
                text = f"{one.name}: recovered behind {recovery.asked}: {_first_break(offsets, recovery.asked)}"
                self._fault(_kind(offsets, recovery.asked), text)


def _kind(numbers: Sequence[int], before: int) -> str:
    """Return what is wrong with numbers that should go on by one behind `before`; lost when they only end early."""
    steps = [after - last for last, after in pairwise([before, *numbers])]
    if any(step == 0 for step in steps) or len(set(numbers)) < len(numbers):
        return DUPLICATED
    return REORDERED if any(step < 0 for step in steps) else LOST


def _first_break(numbers: Sequence[int], before: int) -> str:
    """Describe where `numbers` stop growing by one."""
    for number in numbers:
        if number != before + 1:
            return f"{number} after {before}"
        before = number
    return f"ends with {before}"
