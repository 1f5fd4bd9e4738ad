"""Clocks of single services are wrong from their start, or are set while they run."""

from asyncio import to_thread
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bench.clients import eventually
from tests.bench.clock import Clock, told
from tests.faults.conftest import Enter
from tests.faults.rows import Row
from tests.faults.stage import Stage

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
SKEW = 600
"""Seconds."""
STEPS = (0, SKEW, 0, -SKEW, 0)
"""What the clock is set to, one after the other: twice forward and twice back."""

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("chat", SKEW),
        ("chat", -SKEW),
        pytest.param("gateway-1", SKEW, marks=pytest.mark.short),
        pytest.param("gateway-1", -SKEW, marks=pytest.mark.short),
    ],
)
async def test_clock_off(row: Row, stage: Stage, enter: Enter, name: str, seconds: int) -> None:
    """The clock of one service is ten minutes off. Order comes from the log, so nothing is lost, doubled or reordered.
    A gateway whose clock is off refuses tokens that are good, or ended in its eyes, and clients go to another."""
    assert FAKETIME.exists(), "Debian's libfaketime is missing"
    messages = row.messages()
    crowd = await enter(stage)
    try:
        await stage.renewed(name, LD_PRELOAD=str(FAKETIME), FAKETIME=f"{seconds:+d}")
        crowd.send(messages)
        await crowd.said()
        row.figure("refusals", dict(crowd.refusals()))
        row.figure("closes by code", dict(crowd.closes()))
        verdict = await crowd.finish()
    finally:
        await stage.renewed(name, LD_PRELOAD="", FAKETIME="")
    row.judge(verdict, messages)


@pytest.mark.short
@pytest.mark.parametrize("name", ["chat", "gateway-1"])
async def test_clock_set(row: Row, stage: Stage, enter: Enter, name: str, tmp_path: Path) -> None:
    """The clock of one service is set ten minutes forward and back while everybody talks, and ten minutes back and
    forward. Nobody is disconnected; whoever connects meanwhile gets in, at another gateway if need be."""
    messages = row.messages()
    clock = Clock(tmp_path)
    url = f"{stage.service(name).url}/health/live"
    await stage.renewed(name, **clock.settings)
    try:
        crowd = await enter(stage)
        some = crowd.people[::5]
        crowd.send()
        for before, seconds in pairwise(STEPS):
            await crowd.more(messages // len(STEPS), f"with a clock that is {before} s off")
            clock.set(seconds)

            async def off(seconds: int = seconds) -> bool:
                return abs(await to_thread(told, url) - seconds) < 5

            await eventually(off, f"the clock of {name} is {seconds} s off", 10, 0.1)
            for one in some:
                one.cut()
            await crowd.all_up("those who were cut off are back", 30)
        await crowd.until(messages)
        row.figure("times set", len(STEPS) - 1)
        row.figure("refusals", dict(crowd.refusals()))
        row.figure("closes by code, ours and those of newcomers among them", dict(crowd.closes()))
        row.bar("connections lost beside those we cut", float(crowd.lost), 0)
        verdict = await crowd.finish()
    finally:
        await stage.renewed(name, LD_PRELOAD="", CLOCK_OFFSET_FILE="")
    row.judge(verdict, messages)
