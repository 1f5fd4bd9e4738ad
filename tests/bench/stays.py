"""Judging what happened in one channel whose readers come, go and recover (pure; `history.py` judges whole rooms).

The log of a channel is a list that is only ever appended to, so no search is needed: every rule is one pass. Rules:
nothing acknowledged is lost, nothing is there twice, who waits for an acknowledgement before sending on finds both in
that order, and each reader gets every event from where it came in until it left, once and in order, and no other.
Imports nothing of ours.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

Event = tuple[int, str]
"""Offset and key. The key of a message is its id; other events of a room (joined, left) have an empty one."""

LOST = "lost"
DUPLICATED = "duplicated"
REORDERED = "reordered"
LEAKED = "leaked"
FORGED = "forged"
REFUSED = "refused"


@dataclass(frozen=True)
class Fault:
    """One breach of a rule; `kind` is one of the words above, `count` how many events it is about."""

    kind: str
    text: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


@dataclass
class Send:
    """One message: when it was asked for and, if it was, acknowledged; `offset` 0 where the answer does not tell it."""

    key: str
    asked: float
    acknowledged: float | None = None
    offset: int = 0


@dataclass
class Stay:
    """One subscription of one reader, from its reply to its end.

    `start` is the offset after which events are due. `recovering`: the reader asked to go on from `asked` (None: from
    where its stay before ended); `recovered`: it was told that it does. `present`: it never ended.
    """

    start: int
    recovering: bool = False
    recovered: bool = False
    events: list[Event] = field(default_factory=list)
    present: bool = True
    asked: int | None = None

    @property
    def position(self) -> int:
        """Offset of the last event of the stay."""
        return self.events[-1][0] if self.events else self.start


@dataclass
class History:
    """All that is known of one channel. `strays` are events handed to a reader that was not subscribed."""

    log: list[Event] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    readers: dict[str, list[Stay]] = field(default_factory=dict)
    strays: dict[str, list[Event]] = field(default_factory=dict)


def judge(history: History, *, every_recovery: bool = True) -> list[Fault]:
    """Return the breaches. `every_recovery`: what was missed was never too much, so no recovery may be refused."""
    return [
        *_of_log(history.log),
        *_of_sends(history),
        *(fault for name, stays in history.readers.items() for fault in _of_reader(name, stays, history.log)),
        *(fault for name, stays in history.readers.items() if every_recovery for fault in _refused(name, stays)),
        *(Fault(LEAKED, f"{name} got {events[:3]}", len(events)) for name, events in history.strays.items() if events),
    ]


def _of_log(log: list[Event]) -> Iterable[Fault]:
    """Offsets are 1, 2, 3 ...; no key is there twice."""
    if [offset for offset, _ in log] != list(range(1, len(log) + 1)):
        yield Fault(LOST, f"the log is not contiguous: {_first_break(log)}")
    twice = [key for key, count in Counter(key for _, key in log if key).items() if count > 1]
    if twice:
        yield Fault(DUPLICATED, f"in the log more than once: {twice[:3]}", len(twice))


def _first_break(log: list[Event]) -> str:
    return next(
        (f"{a[0]} is followed by {b[0]}" for a, b in pairwise(log) if b[0] != a[0] + 1), f"begins with {log[0][0]}"
    )


def _of_sends(history: History) -> Iterable[Fault]:
    """What is acknowledged is in the log, where it was said to be; ack(a) before asked(b) means a before b."""
    places = {key: offset for offset, key in history.log if key}
    known = {send.key for send in history.sends}
    if history.sends and (nobody := [key for key in places if key not in known]):
        yield Fault(FORGED, f"nobody sent {nobody[:3]}", len(nobody))
    acknowledged = [send for send in history.sends if send.acknowledged is not None]
    for send in acknowledged:
        if send.key not in places:
            yield Fault(LOST, f"acknowledged and not in the log: {send.key}")
        elif send.offset and places[send.key] != send.offset:
            yield Fault(FORGED, f"{send.key} was acknowledged at {send.offset}, and is at {places[send.key]}")
    waiting = sorted(acknowledged, key=lambda send: send.acknowledged or 0, reverse=True)
    highest: Event = (0, "")
    for send in sorted(history.sends, key=lambda send: send.asked):
        while waiting and (waiting[-1].acknowledged or 0) < send.asked:
            before = waiting.pop().key
            highest = max(highest, (places.get(before, 0), before))
        if send.key in places and places[send.key] < highest[0]:
            yield Fault(REORDERED, f"{send.key} was sent after {highest[1]} was acknowledged, and stands before it")


def _of_reader(name: str, stays: list[Stay], log: list[Event]) -> Iterable[Fault]:
    """Each stay is exactly the log from its start on; a recovered one goes on where the one before ended."""
    previous: Stay | None = None
    for stay in stays:
        asked = previous.position if stay.asked is None and previous is not None else stay.asked
        if stay.recovering and stay.recovered and asked is not None and stay.start != asked:
            kind = LOST if stay.start > asked else DUPLICATED
            yield Fault(kind, f"{name} asked to go on from {asked} and was recovered from {stay.start}")
        yield from _of_stay(name, stay, log)
        previous = stay
    if previous is not None and previous.present and previous.position < len(log):
        missing = len(log) - previous.position
        yield Fault(LOST, f"{name} is at {previous.position}, the log at {len(log)}", missing)


def _of_stay(name: str, stay: Stay, log: list[Event]) -> Iterable[Fault]:
    at, seen = stay.start, set[int]()
    for offset, key in stay.events:
        if offset > at + 1:
            yield Fault(LOST, f"{name} got {offset} after {at}", offset - at - 1)
        elif offset <= at:
            kind = DUPLICATED if offset in seen or offset <= stay.start else REORDERED
            yield Fault(kind, f"{name} got {offset} after {at}")
        if not 0 < offset <= len(log):
            yield Fault(FORGED, f"{name} got {offset}, which the log does not have")
        elif log[offset - 1] != (offset, key):
            yield Fault(FORGED, f"{name} got {key} as {offset}, in the log it is {log[offset - 1]}")
        at = max(at, offset)
        seen.add(offset)


def _refused(name: str, stays: list[Stay]) -> Iterable[Fault]:
    for stay in stays:
        if stay.recovering and not stay.recovered:
            yield Fault(REFUSED, f"{name} could not recover, and stands at {stay.start}")


def totals(faults: Iterable[Fault]) -> Counter[str]:
    """Return kind to number of events."""
    counted: Counter[str] = Counter()
    for fault in faults:
        counted[fault.kind] += fault.count
    return counted
