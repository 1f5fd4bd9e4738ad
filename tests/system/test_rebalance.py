"""After a scale-up: the full gateway sends clients to the new one, slowly, and nobody misses or repeats a message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest_asyncio

from tests.bench.balancer import Balancer
from tests.bench.beside import GatewayBeside
from tests.bench.clients import eventually
from tests.bench.metrics import metrics_page, total
from tests.bench.ring import Ring
from tests.soak.people import Seat, Sender, Subscriber
from tests.system.conftest import ONE_ADDRESS

MANY = 60
SETTINGS = {
    "GATEWAY_WORKERS": "1",
    "REBALANCE_SECONDS": "2",
    "REBALANCE_PER_SECOND": "20",
    "REBALANCE_MARGIN": "0.2",
    "LEASE_SECONDS": "3",
}


class First:
    """The gateway of the ring itself, as the balancer wants it."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self.port = ring.ports["gateway"]

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return not self._ring.missing("gateway")


@pytest_asyncio.fixture
async def everybody(tmp_path: Path) -> AsyncIterator[AsyncExitStack]:
    """Whoever is entered here leaves with the test."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_a_new_gateway_gets_its_share(tmp_path: Path, everybody: AsyncExitStack) -> None:
    """From 60 and none to within a fifth of the mean, with 3011 and recovery; then nobody is moved any more."""
    ring = Ring(tmp_path / "data", SETTINGS | ONE_ADDRESS)
    everybody.callback(ring.end)
    ring.start()
    first = First(ring)
    balancer = await everybody.enter_async_context(Balancer(first))
    sender = await Sender.enter(ring, balancer.websocket_url, "Sender")
    everybody.push_async_callback(sender.leave)
    room = (await sender.call("room.create", name="A room"))["room"]["id"]
    readers: list[Subscriber] = []
    seats: list[Seat] = []
    for number in range(MANY - 1):
        reader = await Subscriber.enter(ring, balancer.websocket_url, f"Reader {number}", number % 2 > 0)
        everybody.push_async_callback(reader.leave)
        await reader.call("room.join", room=room)
        seats.append(await reader.sit(f"room:{room}"))
        readers.append(reader)
    assert balancer.connections(first) == MANY
    over = asyncio.Event()
    acknowledged = []

    async def send() -> None:
        for number in count():
            if over.is_set():
                return
            acknowledged.append(await sender.say(room, f"key{number}"))

    sending = asyncio.create_task(send())
    second = everybody.enter_context(GatewayBeside(ring, f"nats://127.0.0.1:{ring.ports['nats']}"))
    balancer.gateways.append(second)
    bound = MANY / 2 * 1.2

    def shared() -> bool:
        return (balancer.connections(first), balancer.connections(second)) == (bound, MANY - bound)

    await eventually(shared, "the full gateway has sent clients to the new one", 40)

    async def at_rest() -> bool:
        pages = await metrics_page(ring), await asyncio.to_thread(second.metrics)
        return all(0 < total(page, "parley_connections_to_mean_ratio") <= 1.21 for page in pages)

    await eventually(at_rest, "both have looked, and see that all is well", 15, 0.2)
    over.set()
    await sending
    everything = list(range(1, len(acknowledged) + 1))
    await eventually(lambda: all(len(seat.numbers) >= len(everything) for seat in seats), "all messages have come")
    for seat in seats:
        assert seat.numbers == everything
        assert (seat.missed, seat.repeated, seat.problems, seat.owner.endings) == (0, 0, [], [])
    page = await metrics_page(ring)
    moved = total(page, "parley_rebalanced_total")
    assert moved == total(page, "parley_disconnects_total", code="3011", cause="force_reconnect") == MANY - bound
    assert total(await asyncio.to_thread(second.metrics), "parley_rebalanced_total") == 0
    assert sum(reader.connects for reader in readers) + sender.connects == MANY + moved
