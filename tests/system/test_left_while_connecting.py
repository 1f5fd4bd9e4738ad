"""Who leaves while its connect command is being carried out leaves nothing behind."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.bench.clients import Frames, eventually, guest
from tests.bench.ring import Ring
from tests.bench.server_api import ask
from tests.bench.users import Crowd

MANY = 40


async def test_who_leaves_while_connecting_is_forgotten(
    api_ring: Ring, crowd: Crowd, frames: Callable[..., Awaitable[Frames]]
) -> None:
    """New users, whose own channels take a while to open, send connect and break off: no process holds any of them."""
    people = await asyncio.gather(*(guest(api_ring) for _ in range(MANY)))

    async def come_and_go(token: str) -> None:
        one = await frames(api_ring)
        await one.send(one.numbered(connect={"token": token}))
        one.socket.transport.abort()

    await asyncio.gather(*(come_and_go(one.access) for one in people))
    # Behind them, and so after whatever they asked for was done.
    stays = await frames(api_ring)
    await stays.enter(people[0].access)

    async def alone() -> bool:
        nodes = (await ask(api_ring, "info"))["nodes"]
        return sum(node["num_clients"] for node in nodes) == 1

    await eventually(alone, "only who stayed is known", 10)
