"""One of two chat services is killed, restarted in good order, or halted: its rooms are the other one's (ADR 22)."""

import asyncio
import os
import signal
import time
from asyncio import to_thread
from collections.abc import Iterator

import pytest

from tests.bench import processes
from tests.bench.clients import eventually, http
from tests.bench.metrics import total
from tests.bench.postgres import Postgres
from tests.faults.conftest import Enter
from tests.faults.crowd import Crowd
from tests.faults.rows import Row
from tests.faults.stage import Stage

UNTOUCHED = 1.0
"""Seconds without any acknowledgement while one of the two is there."""
TAKEN_OVER = 8.0
"""Seconds within which the slowest send is acknowledged although its process does not answer: two or three of its tries
time out (1.7 s each), then that process has been silent for so long that it is passed by."""

pytestmark = [pytest.mark.timeout(1800), pytest.mark.short]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Stage]:
    """Two chat services on one PostgreSQL."""
    with Stage(tmp_path_factory.mktemp("two"), chats=2, DATABASE_URL=postgres.url()) as made:
        yield made


async def counted(stage: Stage, kind: str, metric: str, **labels: str) -> list[float]:
    """Return a counter of each service of that kind."""
    services = [service for service in stage.fleet.services.values() if service.kind == kind]
    return [total((await http("GET", f"{one.url}/metrics")).text, metric, **labels) for one in services]


async def talking(stage: Stage, crowd: Crowd) -> None:
    """Have everybody talk; return when each gateway asks the process whose room it is."""
    crowd.send()

    async def chosen() -> bool:
        return min(await counted(stage, "gateway", "parley_chat_asked_total", route="own")) > 0

    await eventually(chosen, "the gateways know both processes")
    await crowd.hear(100, "before")


@pytest.mark.parametrize("how", ["killed", "restarted"])
async def test_one_of_two_chat_services(row: Row, stage: Stage, enter: Enter, how: str) -> None:
    """One of two chat services is killed, or told to end, and started again: what was under way in it is repeated, for
    everything else the other one is asked at once. People see some sends pending for two seconds when it is killed."""
    messages = row.messages()
    crowd = await enter(stage)
    before = sum(await counted(stage, "chat", "parley_chat_conflicts_total"))
    await talking(stage, crowd)
    row.bar(
        "times that one was in the other's way",
        sum(await counted(stage, "chat", "parley_chat_conflicts_total")),
        before,
    )
    service, began = stage.service("chat-2"), time.monotonic()
    await to_thread(service.kill if how == "killed" else service.stop)
    await crowd.hear(100, "with the other one")
    row.bar("longest pause (s)", crowd.stall(began), UNTOUCHED)
    service.start()
    await to_thread(service.wait_until_ready)
    await crowd.until(messages)
    row.figure("refused meanwhile", dict(crowd.refusals()))
    row.figure("slowest send (s)", crowd.slowest(began))
    if how == "restarted":
        row.bar("refusals", float(sum(crowd.refusals().values())), 0)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)


async def test_one_of_two_chat_services_halted(row: Row, stage: Stage, enter: Enter) -> None:
    """One of two chat services is halted: sends in its rooms are pending until it was silent for 3.5 s, then the other
    one takes them. It goes on with a backlog that nobody waits for any more."""
    messages = row.messages()
    crowd = await enter(stage)
    await talking(stage, crowd)
    pid, began = stage.service("chat-2").pid, time.monotonic()
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(8 if row.short else 30)  # the fault
        await crowd.more(100, "while it is halted")
    finally:
        processes.kill(pid, signal.SIGCONT)
    row.bar("longest pause (s)", crowd.stall(began), UNTOUCHED)
    await crowd.until(messages)
    row.bar("slowest send (s)", crowd.slowest(began), TAKEN_OVER)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)
