"""The canary's judgement case by case: what is lost and what is not, what is late, what is not judged at all."""

import pytest

from canary.ledger import Ledger, Verdict
from tests.unit.canary_world import LOST_AFTER, World


class Line:
    """A ledger of one receiver whose connection proves its life whenever a send is answered."""

    def __init__(self) -> None:
        self.ledger = Ledger(["one"], LOST_AFTER)
        self.ledger.attend("one", True, 0)

    def send(self, at: float, alive: bool = True) -> int:
        """Send a number that is acknowledged at once."""
        number = self.ledger.offer(at)
        if alive:
            self.ledger.prove("one", at)
        self.ledger.acknowledge(number, at)
        return number

    @property
    def lost(self) -> list[int]:
        """What became lost since this was asked last."""
        return [number for _, number in self.ledger.judge()]


def test_what_was_not_acknowledged_is_not_lost() -> None:
    """A send without an answer promises nothing; once it is acknowledged the time begins."""
    line = Line()
    number = line.ledger.offer(0)
    line.ledger.fail()
    line.ledger.acknowledge(number, 100)
    assert line.lost == []
    line.send(100 + LOST_AFTER - 1)
    assert line.lost == []
    line.send(100 + LOST_AFTER)
    assert line.lost == [number]
    assert line.lost == []


def test_an_outage_is_no_loss() -> None:
    """Until a send is answered again no time counts, nor does that before it failed: who knows when it began."""
    line = Line()
    line.send(0)
    second = line.ledger.offer(LOST_AFTER - 1)
    line.ledger.fail()
    line.ledger.prove("one", 100 * LOST_AFTER)
    line.ledger.acknowledge(second, 100 * LOST_AFTER)
    assert line.lost == []
    line.send(101 * LOST_AFTER - 1)
    assert line.lost == []
    line.send(101 * LOST_AFTER)
    assert line.lost == [1, 2]


def test_an_absence_is_no_loss() -> None:
    """The time in which a receiver is not there, or reads what it was told to, does not count; that before it does."""
    line = Line()
    line.send(0)
    line.send(LOST_AFTER - 1)
    line.ledger.attend("one", False, LOST_AFTER)
    line.send(100 * LOST_AFTER)
    line.ledger.attend("one", True, 100 * LOST_AFTER)
    assert line.lost == []
    line.send(100 * LOST_AFTER + 1)
    assert line.lost == [1]


def test_a_dead_connection_is_no_loss() -> None:
    """Of a connection that is silent for long and then ends nobody knows when it died; one that answers is judged."""
    line = Line()
    for at in range(0, 90, 10):
        line.send(at, alive=False)
    assert line.lost == []
    line.ledger.attend("one", False, 90)
    line.ledger.attend("one", True, 90)
    line.send(91)
    assert line.lost == []
    line.send(200)
    assert len(line.lost) == 10


def test_no_time_is_counted_twice() -> None:
    """A number is given its whole time from its acknowledgement on, however long ago the last sign of life was."""
    line = Line()
    line.send(LOST_AFTER - 1, alive=False)
    line.send(LOST_AFTER)
    line.send(2 * LOST_AFTER - 2)
    assert line.lost == []
    line.send(2 * LOST_AFTER - 1)
    assert line.lost == [1]


def test_what_comes_after_all_is_late() -> None:
    """A number that was counted as lost and then comes is late: neither duplicated nor reordered, and lost it stays."""
    line = Line()
    line.send(0)
    line.send(LOST_AFTER)
    assert line.lost == [1]
    verdicts = [line.ledger.receive("one", number, LOST_AFTER).verdict for number in (2, 1, 1)]
    assert verdicts == [Verdict.FIRST, Verdict.LATE, Verdict.DUPLICATED]


def test_the_acknowledgement_may_come_last() -> None:
    """What reached a receiver before the sender was answered is not waited for."""
    line = Line()
    number = line.ledger.offer(0)
    assert line.ledger.receive("one", number, 0).verdict is Verdict.FIRST
    line.ledger.acknowledge(number, 1)
    line.send(10 * LOST_AFTER)
    assert line.lost == []


def test_latency_is_from_the_first_send() -> None:
    """Latency counts from the first attempt; it is not told of duplicates, nor of what was sent in a wanted absence."""
    ledger = Ledger(["one"], LOST_AFTER)
    for _ in range(3):
        ledger.offer(10)
    assert ledger.receive("one", 1, 10.25).latency == pytest.approx(0.25)
    assert ledger.receive("one", 1, 11).latency is None
    ledger.excuse("one", 12)
    assert ledger.receive("one", 2, 12).latency is None
    assert ledger.receive("one", 3, 12).verdict is Verdict.FIRST
    ledger.offer(13)
    assert ledger.receive("one", 4, 13.5).latency == pytest.approx(0.5)


def test_numbers_never_offered_are_ignored() -> None:
    """Nobody in the room can make the canary believe in numbers that it did not send."""
    ledger = Ledger(["one"], LOST_AFTER)
    ledger.offer(0)
    assert [ledger.receive("one", number, 1).verdict for number in (0, -1, 2, 10**9)] == [Verdict.IGNORED] * 4
    assert ledger.reload("one", [0, 2, 10**9]) == 0
    assert ledger.receive("one", 1, 1).verdict is Verdict.FIRST


def test_a_reload_counts_what_is_new() -> None:
    """What was had already is not reloaded, and what was reloaded and is pushed after all came twice."""
    world = World(receivers=1)
    for _ in range(4):
        world.send()
    world.push("receiver0", [1])
    assert world.ledger.reload("receiver0", [1, 2, 3]) == 2
    world.push("receiver0", [4, 3])
    world.given["receiver0"] = 4
    assert world.end() == {"duplicated": 1}
