"""One timer for all: everybody is woken at their own time, once, and not at an earlier one that no longer counts."""

import asyncio

import pytest

from gateway.alarms import NEVER, RESOLUTION, Alarms


class Sleeper:
    """Remembers when it was woken."""

    def __init__(self, alarms: Alarms) -> None:
        self.due = NEVER
        self.alarms = alarms
        self.woken: list[float] = []
        self.happened = asyncio.Event()

    def wake(self) -> None:
        """Remember."""
        self.woken.append(self.alarms.now())
        self.due = NEVER
        self.happened.set()


async def woken(*sleepers: Sleeper) -> None:
    """Return when all of them were."""
    async with asyncio.timeout(5):
        for sleeper in sleepers:
            await sleeper.happened.wait()


@pytest.fixture
async def alarms() -> Alarms:
    """None is set."""
    return Alarms()


async def test_everybody_is_woken_when_due(alarms: Alarms) -> None:
    """Never early, in order, and also when an earlier alarm is set after a later one."""
    began = alarms.now()
    sleepers = [Sleeper(alarms) for _ in range(3)]
    for sleeper, seconds in zip(sleepers, (0.3, 0.1, 0.2), strict=True):
        alarms.set(sleeper, began + seconds)
    await woken(*sleepers)
    times = [sleeper.woken[0] - began for sleeper in sleepers]
    assert times[1] <= times[2] <= times[0]
    assert all(time >= due for time, due in zip(times, (0.3, 0.1, 0.2), strict=True))


async def test_only_the_last_alarm_counts(alarms: Alarms) -> None:
    """Set again, earlier or later, or to never, a sleeper is woken once, or not at all."""
    now = alarms.now()
    later, earlier, never, last = (Sleeper(alarms) for _ in range(4))
    alarms.set(later, now + RESOLUTION)
    alarms.set(later, now + 4 * RESOLUTION)
    alarms.set(earlier, now + 4 * RESOLUTION)
    alarms.set(earlier, now + RESOLUTION)
    alarms.set(never, now + RESOLUTION)
    never.due = NEVER
    alarms.set(last, now + 6 * RESOLUTION)
    await woken(last)
    assert [len(one.woken) for one in (later, earlier, never, last)] == [1, 1, 0, 1]
    assert later.woken[0] >= now + 4 * RESOLUTION


async def test_who_sets_the_next_alarm_while_woken_is_woken_again(alarms: Alarms) -> None:
    """As a connection does, after each ping."""

    class Restless(Sleeper):
        def wake(self) -> None:
            super().wake()
            if len(self.woken) < 3:
                self.happened.clear()
                self.alarms.set(self, self.alarms.now() + RESOLUTION)

    restless = Restless(alarms)
    alarms.set(restless, alarms.now())
    async with asyncio.timeout(5):
        while len(restless.woken) < 3:
            await restless.happened.wait()
            await asyncio.sleep(0)
    assert restless.woken == sorted(restless.woken)


async def test_a_fault_of_one_wakes_the_others_all_the_same(alarms: Alarms) -> None:
    """What one raises is told to the event loop, and everybody else of that moment is woken."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))

    class Faulty(Sleeper):
        def wake(self) -> None:
            super().wake()
            raise LookupError

    when = alarms.now() + RESOLUTION
    sleepers = [Faulty(alarms) if number == 2 else Sleeper(alarms) for number in range(5)]
    for sleeper in sleepers:
        alarms.set(sleeper, when)
    await woken(*sleepers)
    assert [len(one.woken) for one in sleepers] == [1] * 5
    assert [type(error) for error in told] == [LookupError]
