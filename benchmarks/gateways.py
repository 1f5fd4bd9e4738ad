"""The row that tells what a message costs in a gateway that only hears it, because a member of its room is there."""

import asyncio
from contextlib import AsyncExitStack

from benchmarks.generator import cpu_seconds
from benchmarks.ours import Parley
from benchmarks.servers import Server
from benchmarks.session import Measured, Session
from tests.bench.clients import Frames, eventually

WORKERS = {"GATEWAY_WORKERS": "2", "REBALANCE_PER_SECOND": "0"}
ROOMS = 60
BURST = 10
MESSAGES = 3000
PAYLOAD = "x" * 128


def hearing(session: Session) -> dict[str, list[Measured]]:
    """Have clients of one gateway process hear what is said on the other."""
    return session.interleaved("hearing", lambda server: asyncio.run(_hearing(server)))


async def _hearing(server: Server) -> Measured:
    assert isinstance(server, Parley)
    async with AsyncExitStack() as stack:
        sender, here = await _enter(stack, server, 0)
        followers: list[Frames] = []
        while len(followers) < ROOMS:
            one, node = await _enter(stack, server, len(followers) + 1)
            if node == here:
                await one.close()  # the kernel chooses the process; the next one may be the other's
                continue
            await _follow(one, len(followers))
            followers.append(one)
        for room in range(ROOMS):
            await _follow(sender, room)
        used = {pid: cpu_seconds([pid]) for pid in server.pids}
        for start in range(0, MESSAGES, BURST):
            rooms = [f"plain:{number % ROOMS}" for number in range(start, start + BURST)]
            commands = [sender.numbered(publish={"channel": room, "data": PAYLOAD}) for room in rooms]
            await sender.send(*commands)
            await sender.reply(commands[-1]["id"])
        await eventually(lambda: sum(len(one.pushes) for one in followers) >= MESSAGES, "everything is heard")
        spent = sorted(cpu_seconds([pid]) - before for pid, before in used.items())
    return {"heard_us": 1e6 * spent[0] / MESSAGES, "sent_us": 1e6 * spent[1] / MESSAGES}


async def _enter(stack: AsyncExitStack, server: Parley, user: int) -> tuple[Frames, str]:
    """Return a connection, and the gateway process it came to."""
    assert server.ring is not None
    one = await stack.enter_async_context(await Frames.open(server.ring))
    entered = await one.enter(server.template.tokens[user])
    return one, entered["node"]


async def _follow(one: Frames, room: int) -> None:
    reply = await one.ask(subscribe={"channel": f"plain:{room}"})
    assert "subscribe" in reply, reply
