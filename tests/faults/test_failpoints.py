"""kill -9 and SIGSTOP at each step of a send, in each service, again and again while everybody talks."""

import time

import pytest

from tests.faults.conftest import Enter
from tests.faults.rows import Row
from tests.faults.stage import Stage

PLACES = (
    "gateway-1 gateway.read",
    "gateway-1 gateway.authorised",
    "gateway-1 bus.published",
    "gateway-1 bus.answered",
    "gateway-1 gateway.acknowledged",
    "gateway-1 gateway.fan_out",
    "chat chat.consumed",
    "chat bus.published",
    "chat bus.answered",
    "chat chat.stored",
    "chat chat.answered",
    "chat archive.consumed",
    "chat archive.stored",
)
"""Service and place, in the order in which a message comes to them."""
TIMES = {"gateway-1": (2, 20), "chat": (3, 10)}
"""How often a service is to come there, in the short set and in the whole one; of a gateway twice as often, for half of
the messages go through it. Those that come back send commands, too."""
ARCHIVE_EVERY = 2, 10
"""The archive takes what came within a quarter of a second at once, so its places are come to seldom: each how many
arrivals, in the short set and in the whole one."""
ANSWERED = "chat bus.answered"
SHARE_AN_ANSWER = 1, 20
"""How many messages one answer of NATS to the chat service is for, at most, under the load of the short set and of the
whole one: where enough records come together they are stored together."""
ARCHIVE_SHORT = 1500
"""Messages of its rows in the short set, so that they are not over before the second batch."""
HALTS = {False: (10.0, 2.0), True: (1.5,)}
"""Seconds of the first halt and of all others, by whether the set is the short one."""
MOST_STALLED = 10.0
"""Seconds without an acknowledgement after a process was killed; it has to start again meanwhile."""

SHORT_STOPS = ("gateway-1 bus.published", "chat bus.answered", "chat chat.answered")
ROWS = [
    pytest.param(action, place, marks=[pytest.mark.short] if action == "kill" or place in SHORT_STOPS else [])
    for action in ("kill", "stop")
    for place in PLACES
]

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize(("action", "place"), ROWS)
async def test_at(row: Row, stage: Stage, enter: Enter, action: str, place: str) -> None:
    """A process is killed, or halted for seconds, at one step; it comes back, and comes to that step again and again.
    Nothing is lost or doubled: people see a pause, or are connected anew and told what they missed."""
    name, _, failpoint = place.partition(" ")
    archive = failpoint.startswith("archive")
    messages = row.messages(short=ARCHIVE_SHORT if archive else 300)
    halts = HALTS[row.short]
    every = ARCHIVE_EVERY[not row.short] if archive else messages // TIMES[name][not row.short]
    if place == ANSWERED:
        every //= SHARE_AN_ANSWER[not row.short]
    crowd = await enter(stage, sticky=True)
    before = stage.restarts[name] + stage.halts[name]
    async with stage.failing(name, f"{failpoint}:{action}:{every}", halts):
        began = time.monotonic()
        crowd.send(messages)
        await crowd.said()
        stall = crowd.stall(began)
    times = stage.restarts[name] + stage.halts[name] - before
    verdict = await crowd.finish()
    row.figure("times", times)
    row.figure("reconnects", sum(crowd.closes().values()))
    row.bar("longest pause (s)", stall, MOST_STALLED + (max(halts) if action == "stop" else 0))
    row.judge(verdict, messages)
    assert times, f"{failpoint} was never come to"
