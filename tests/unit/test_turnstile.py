"""Newcomers come in a few in each turn of the event loop, in order, and none is forgotten."""

import asyncio

from gateway import turnstile
from gateway.turnstile import EACH_TURN, LEAVERS_EACH_TURN, MOST_WAITING, Turnstile


class Arrival:
    """A newcomer that writes down what becomes of it."""

    def __init__(self, name: int, told: list[str]) -> None:
        self.name = name
        self.told = told

    def come_in(self) -> None:
        """Take note."""
        self.told.append(f"{self.name} in")

    def turn_away(self) -> None:
        """Take note."""
        self.told.append(f"{self.name} away")

    def go_out(self) -> None:
        """Take note."""
        self.told.append(f"{self.name} out")


async def turn() -> None:
    """Let the event loop do all that is due once."""
    await asyncio.sleep(0)


async def test_whoever_comes_alone_never_waits() -> None:
    """One newcomer per turn is what a quiet hour has."""
    told: list[str] = []
    gate = Turnstile()
    for name in range(3 * EACH_TURN):
        assert gate.may_pass(Arrival(name, told))
        await turn()
    assert told == []


async def test_a_crowd_comes_in_turn_by_turn_and_in_order() -> None:
    """The first pass at once, the others a turn's worth each turn, and who comes later comes behind them."""
    told: list[str] = []
    gate = Turnstile()
    passed = [gate.may_pass(Arrival(name, told)) for name in range(3 * EACH_TURN + 2)]
    assert passed == [True] * EACH_TURN + [False] * (2 * EACH_TURN + 2)
    await turn()
    assert told == [f"{name} in" for name in range(EACH_TURN, 2 * EACH_TURN)]
    assert not gate.may_pass(Arrival(1000, told)), "others were there before"
    await turn()
    await turn()
    assert told == [f"{name} in" for name in [*range(EACH_TURN, 3 * EACH_TURN + 2), 1000]]
    await turn()
    assert gate.may_pass(Arrival(1001, told))


async def test_who_is_inside_comes_before_who_is_not() -> None:
    """Connect commands are heard before further handshakes, and both keep their own order."""
    told: list[str] = []
    gate = Turnstile()
    for name in range(EACH_TURN):
        assert gate.may_pass(Arrival(name, told))
    for name in range(EACH_TURN):
        assert not gate.may_pass(Arrival(name, told))
    for name in range(100, 102):
        assert not gate.may_pass(Arrival(name, told), inside=True)
    await turn()
    assert told == ["100 in", "101 in", *(f"{name} in" for name in range(EACH_TURN - 2))]
    await turn()
    assert told[EACH_TURN:] == [f"{name} in" for name in range(EACH_TURN - 2, EACH_TURN)]


async def test_one_that_fails_does_not_keep_the_others_out() -> None:
    """Whatever a newcomer raises ends its own turn alone."""
    told: list[str] = []

    class Failing(Arrival):
        def come_in(self) -> None:
            raise ValueError(self.name)

    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context["exception"]))
    gate = Turnstile()
    for name in range(EACH_TURN):
        gate.may_pass(Arrival(name, told))
    gate.may_pass(Failing(100, told))
    gate.may_pass(Arrival(101, told))
    await turn()
    await turn()
    assert told == ["101 in"]
    assert [str(failure) for failure in failures] == ["100"]


async def test_more_than_may_wait_are_turned_away() -> None:
    """The queue has a size, and what is beyond it an ending that is counted."""
    told: list[str] = []
    gate = Turnstile()
    counted = turnstile.metrics.overflows.labels("newcomers")._value.get()
    for name in range(EACH_TURN + MOST_WAITING):
        gate.may_pass(Arrival(name, told), inside=name % 2 == 0)
    assert told == []
    assert not gate.may_pass(Arrival(-1, told))
    assert told == ["-1 away"]
    assert turnstile.metrics.overflows.labels("newcomers")._value.get() == counted + 1


async def test_who_leaves_in_a_crowd_is_cleaned_up_after_turn_by_turn() -> None:
    """The first at once, the others a turn's worth each turn, in order; newcomers come in meanwhile."""
    told: list[str] = []
    gate = Turnstile()
    passed = [gate.may_leave(Arrival(name, told)) for name in range(2 * LEAVERS_EACH_TURN + 1)]
    assert passed == [True] * LEAVERS_EACH_TURN + [False] * (LEAVERS_EACH_TURN + 1)
    assert gate.may_pass(Arrival(-1, told))
    await turn()
    assert told == [f"{name} out" for name in range(LEAVERS_EACH_TURN, 2 * LEAVERS_EACH_TURN)]
    assert not gate.may_leave(Arrival(1000, told)), "others left before"
    await turn()
    assert told[LEAVERS_EACH_TURN:] == [f"{2 * LEAVERS_EACH_TURN} out", "1000 out"]
    await turn()
    assert gate.may_leave(Arrival(1001, told))
