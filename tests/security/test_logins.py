"""A flood of logins: the pool of hashes is bounded, what is too much is told to come again, and the chat goes on."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.bench.clients import SECONDS, Frames
from tests.bench.metrics import metric
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
RATE = 200
FLOOD_SECONDS = 4
QUEUE = 50
"""AUTH_ARGON2_QUEUE, as it ships."""


async def test_the_chat_goes_on_while_200_logins_a_second_come(guarded_ring: Ring, entered: Open) -> None:
    """Every login is answered, 401 or 503; no more wait than the queue holds; each message is answered meanwhile."""
    ring = guarded_ring
    ann, bob = await entered(ring), await entered(ring)
    room = await ann.make_room()
    await bob.follow(room)
    flooding = True
    waiting: list[float] = []

    async def login(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", ring.ports["auth"])
        body = b'{"username":"nobody%d","password":"not the password"}' % number
        head = b"POST /auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        answer = (await reader.read()).decode()
        writer.close()
        status = int(answer.split(" ", 2)[1])
        assert status != 503 or re.search(r"(?im)^retry-after: [1-9]", answer)
        return status

    async def flood() -> list[int]:
        began, tasks = time.monotonic(), []
        for number in range(RATE * FLOOD_SECONDS):
            while time.monotonic() < began + number / RATE:
                await asyncio.sleep(0.001)
            tasks.append(asyncio.create_task(login(number)))
        async with asyncio.timeout(60):
            return list(await asyncio.gather(*tasks))

    async def watch() -> None:
        while flooding:
            waiting.append(await metric(ring, "parley_auth_argon2_waiting", "auth"))
            await asyncio.sleep(0.2)

    async def talk() -> int:
        said = 0
        while flooding:
            async with asyncio.timeout(SECONDS):
                await ann.say(room, f"message {said}")
            said += 1
            await asyncio.sleep(0.25)  # below the rate of commands
        return said

    talking, watching = asyncio.create_task(talk()), asyncio.create_task(watch())
    answers = Counter(await flood())
    flooding = False
    said = await talking
    await watching
    assert set(answers) == {401, 503}
    assert answers[401] > QUEUE  # those before it, and those that it held
    assert max(waiting) <= QUEUE
    assert said >= 2
    await bob.until(lambda: len(bob.texts(room)) == said, "every message has come")
    assert await asyncio.to_thread(ring.missing, "auth") == {}
