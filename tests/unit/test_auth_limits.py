"""Limits per address and per name."""

import asyncio

import pytest

from auth_service.accounts import backoff
from auth_service.limits import AddressLimit, Turns
from auth_service.settings import Settings
from chassis.app import Problem


class Clock:
    """A clock that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_burst_and_refill() -> None:
    """An address has its burst, then what it regains; the refusal says how long that takes."""
    clock = Clock()
    limit = AddressLimit("test", 3, 0.5, 100, clock)
    for _ in range(3):
        limit.take("192.0.2.1")
    with pytest.raises(Problem) as refused:
        limit.take("192.0.2.1")
    assert (refused.value.status, refused.value.retry_after) == (429, 2)
    limit.take("192.0.2.2")
    clock.now += 2
    limit.take("192.0.2.1")
    with pytest.raises(Problem):
        limit.take("192.0.2.1")


def test_clock_that_goes_back() -> None:
    """A clock set back neither gives nor takes attempts."""
    clock = Clock()
    limit = AddressLimit("test", 1, 1, 100, clock)
    limit.take("192.0.2.1")
    clock.now -= 1000
    with pytest.raises(Problem):
        limit.take("192.0.2.1")


def test_memory_is_bounded() -> None:
    """A flood of addresses forgets those unseen for longest."""
    limit = AddressLimit("test", 1, 1, 10, Clock())
    for number in range(1000):
        limit.take(f"198.51.{number // 250}.{number % 250}")
    assert len(limit) == 10


def test_no_limit() -> None:
    """A burst of 0 means no limit, and nothing is remembered."""
    limit = AddressLimit("test", 0, 1, 10, Clock())
    for _ in range(100):
        limit.take("192.0.2.1")
    assert len(limit) == 0


def test_backoff() -> None:
    """The wait starts at the fifth failure, doubles, and is capped for any number."""
    settings = Settings()
    waits = [backoff(settings, failures) for failures in (1, 4, 5, 6, 7, 14, 15, 1000, 10**9)]
    assert waits == [0, 0, 1, 2, 4, 512, 900, 900, 900]


async def test_turns_come_one_by_one() -> None:
    """One name has one turn at a time, in order, and names do not wait for each other."""
    turns = Turns(10)
    order: list[str] = []

    async def take(name: str, label: str) -> None:
        async with turns.take(name):
            order.append(f"{label} in")
            await asyncio.sleep(0)
            order.append(f"{label} out")

    await asyncio.gather(take("ann", "a"), take("ann", "b"), take("bob", "c"))
    assert order.index("a out") < order.index("b in")
    assert order.index("c in") < order.index("a out")


async def test_turns_are_bounded() -> None:
    """More than so many waiting for one name are refused, and nothing is kept of a name afterwards."""
    turns = Turns(2)

    async def take() -> bool:
        try:
            async with turns.take("ann"):
                await asyncio.sleep(0)
        except Problem:
            return False
        return True

    assert sum(await asyncio.gather(*(take() for _ in range(5)))) == 2
    assert not turns._turns
    assert await take()
