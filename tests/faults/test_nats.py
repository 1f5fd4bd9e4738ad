"""NATS dies, halts or stays away while everybody talks; and the chat service, which reads from it."""

import asyncio
import signal
import time

import pytest

from tests.bench import processes
from tests.bench.clients import eventually, new_message_id
from tests.bench.history import Acknowledged
from tests.bench.nats import NatsServer
from tests.bench.roomlog import set_duplicate_window
from tests.faults.conftest import Enter
from tests.faults.crowd import Crowd
from tests.faults.rows import Row
from tests.faults.stage import Stage
from tests.faults.talker import Talker

ANSWERED = 2.0
"""Seconds in which a send is answered, with `unavailable` while NATS is away."""
REPEATED = 5
"""Messages of each sender that are repeated after the outage though they were acknowledged before it."""
BACK = 10.0
"""Seconds from the return of NATS to the next acknowledgement."""

pytestmark = pytest.mark.timeout(3600)


async def away(row: Row, crowd: Crowd, seconds: float, messages: int) -> None:
    """Have everybody send on for some seconds, while nothing can be acknowledged; tell how they are answered."""
    crowd.send(messages)
    refused = crowd.refusals()[503]
    await eventually(lambda: crowd.refusals()[503] > refused, "sends are refused", 30)
    since, before = time.monotonic(), crowd.acknowledged
    await asyncio.sleep(seconds)  # the outage itself
    assert crowd.acknowledged == before, "acknowledged while nothing could be stored"
    took = [seconds for one in crowd.senders for asked, seconds in one.refused if asked > since]
    row.bar("slowest answer meanwhile (s)", max(took), ANSWERED)
    row.figure("refusals meanwhile", crowd.refusals()[503] - refused)


async def repeated(row: Row, last: dict[Talker, list[Acknowledged]]) -> int:
    """Have those who were acknowledged right before the outage repeat that, as if they had never heard of it; return
    how many were given another receipt than the first time."""

    async def other(one: Talker, said: list[Acknowledged]) -> int:
        asked = [await one.insist("message.send", room=one.room, id=it.id, text=f"text of {it.id}") for it in said]
        return sum(receipt["offset"] != it.offset for receipt, it in zip(asked, said, strict=True))

    found = await asyncio.gather(*(other(one, said) for one, said in last.items()))
    row.figure("repeated after the outage", sum(map(len, last.values())))
    return sum(found)


@pytest.mark.parametrize("seconds", [pytest.param(10, marks=pytest.mark.short), 60, 130, 660])
async def test_nats_dead_for(row: Row, stage: Stage, enter: Enter, seconds: int) -> None:
    """NATS is killed and stays away: sockets stay, sends are answered `unavailable` within two seconds, and after its
    return everything goes on by itself; what was acknowledged before and is repeated now is stored once, whatever the
    length of the outage. Users see messages that are pending."""
    assert isinstance(stage.nats, NatsServer)
    messages = row.messages()
    crowd = await enter(stage)
    crowd.send(messages // 2)
    await crowd.more(messages // 4, "before")
    await asyncio.to_thread(stage.nats.kill)
    last = {one: list(one.acknowledged[-REPEATED:]) for one in crowd.senders}
    await away(row, crowd, seconds, messages - messages // 2)
    await asyncio.to_thread(stage.nats.start)
    row.bar("first acknowledgement after (s)", await crowd.hear(1, "after NATS is back"), BACK)
    await crowd.said()
    row.bar("sockets lost", float(crowd.lost), 0)
    row.bar("repeated, and given another receipt", float(await repeated(row, last)), 0)
    row.judge(await crowd.finish(), messages)
    row.bar("ready again (s)", await stage.ready(), BACK)


@pytest.mark.short
async def test_nats_halted(row: Row, stage: Stage, enter: Enter) -> None:
    """NATS is stopped in the middle and goes on later, with what it was sent before: what timed out may be stored, and
    is not stored twice."""
    assert isinstance(stage.nats, NatsServer)
    messages = row.messages()
    crowd = await enter(stage)
    crowd.send(messages // 2)
    await crowd.more(messages // 4, "before")
    processes.kill(stage.nats.pid, signal.SIGSTOP)
    try:
        await away(row, crowd, 8 if row.short else 30, messages - messages // 2)
    finally:
        processes.kill(stage.nats.pid, signal.SIGCONT)
    row.bar("first acknowledgement after (s)", await crowd.hear(1, "after NATS goes on"), BACK)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)
    await stage.ready()


@pytest.mark.short
async def test_chat_halted(row: Row, stage: Stage, enter: Enter) -> None:
    """The chat service is stopped while everybody sends, and goes on with a backlog that nobody waits for any more."""
    messages = row.messages()
    crowd = await enter(stage)
    crowd.send(messages // 2)
    await crowd.more(messages // 4, "before")
    halted = 6 if row.short else 30
    processes.kill(stage.service("chat").pid, signal.SIGSTOP)
    try:
        await away(row, crowd, halted, messages - messages // 2)
    finally:
        processes.kill(stage.service("chat").pid, signal.SIGCONT)
    row.bar("first acknowledgement after (s)", await crowd.hear(1, "after it goes on"), BACK)
    row.bar("backlog gone after (s)", await crowd.hear(200, "after it goes on"), 2.0 * halted)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)


@pytest.mark.short
async def test_retries_after_the_duplicate_window(row: Row, stage: Stage, enter: Enter) -> None:
    """Messages whose acknowledgement somebody lost are repeated after an outage that is longer than the time for which
    NATS knows ids, when the chat service has forgotten them as well: each gets the receipt of its first time."""
    assert isinstance(stage.nats, NatsServer)
    window = 2
    await set_duplicate_window(stage.nats.url, stage.nats.passwords["operator"], window)
    each = -(-row.messages(short=320) // (2 * row.rooms))  # rounded up
    crowd = await enter(stage)

    async def say_all(keys: dict[str, list[str]]) -> dict[str, int]:
        """Have everybody say what is theirs; return id to offset."""

        async def say(one: Talker) -> None:
            for key in keys[one.account.id]:
                await one.say(key=key)

        await asyncio.gather(*(say(one) for one in crowd.senders))
        return {said.id: said.offset for one in crowd.senders for said in one.acknowledged}

    keys = {one.account.id: [new_message_id() for _ in range(each)] for one in crowd.senders}
    first = await say_all(keys)
    await asyncio.to_thread(stage.nats.kill)
    await asyncio.sleep(window + 1)  # the outage: longer than the window
    await asyncio.to_thread(stage.nats.start)
    await stage.renewed("chat")  # its memory knew the ids, too
    for one in crowd.senders:
        one.acknowledged.clear()
    again = await say_all(keys)
    row.figure("repeated after the window", len(again))
    assert again == first
    await set_duplicate_window(stage.nats.url, stage.nats.passwords["operator"], 600)
    row.judge(await crowd.finish(), each * len(crowd.senders))
