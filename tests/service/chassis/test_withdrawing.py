"""A service that leaves answers what NATS has handed it; whoever asks later is told at once that nobody is there."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chassis.bus import Bus, Nobody, Respond
from chassis.nats_reading import DRAIN_SECONDS
from chassis.settings import Settings
from protocol import subjects
from tests.bench.nats import NatsServer

ROUNDS = 40
EACH = 50


@pytest.fixture
def server(nats_server: Callable[..., NatsServer]) -> NatsServer:
    """A real NATS."""
    return nats_server()


@pytest.fixture
async def buses(server: NatsServer, tmp_path: Path) -> AsyncIterator[dict[str, Bus]]:
    """The connections of a chat service and of a gateway to it."""
    async with AsyncExitStack() as stack:
        found = {}
        for name in ("chat", "gateway"):
            made = Settings(data_dir=tmp_path, nats_url=server.url, nats_password=server.passwords[name])  # type: ignore[arg-type]
            found[name] = await stack.enter_async_context(Bus(made, name))
        yield found


async def test_who_withdraws_answers_what_is_on_its_way(buses: dict[str, Bus]) -> None:
    """Requests come without end while it withdraws: each is answered, or refused because nobody is there; none waits
    for an answer that does not come."""
    subject, served = subjects.chat_command("room.list"), Counter[str]()

    def serve(body: bytes, respond: Respond) -> None:
        respond(body)

    async def ask(body: bytes) -> None:
        try:
            answer = await buses["gateway"].request(subject, body, seconds=5)
            served["answered" if answer.body == body else "wrong"] += 1
        except Nobody:
            served["nobody"] += 1

    await buses["chat"].serve("chat", "1.0.0", subjects.CHAT_QUEUE, {subject: serve})
    await buses["chat"].flush()
    async with asyncio.TaskGroup() as group:
        for number in range(ROUNDS):
            for each in range(EACH):
                group.create_task(ask(f"{number} {each}".encode()))
            if number == ROUNDS // 2:
                group.create_task(buses["chat"].withdraw())
            await asyncio.sleep(0)
    assert served.total() == ROUNDS * EACH
    assert served["answered"] > 0
    assert served["nobody"] > 0
    assert not served["wrong"]


async def test_a_nats_that_hangs_holds_nobody_back(buses: dict[str, Bus], server: NatsServer) -> None:
    """It confirms nothing: whoever withdraws leaves after the bound for one subscription, however many there are."""
    answering = {subjects.chat_command(method): lambda body, respond: respond(body) for method in subjects.CHAT_METHODS}
    await buses["chat"].serve("chat", "1.0.0", subjects.CHAT_QUEUE, answering)
    await buses["chat"].flush()
    os.kill(server.pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(DRAIN_SECONDS * 2):
            await buses["chat"].withdraw()
    finally:
        os.kill(server.pid, signal.SIGCONT)
