"""A ticket is used up once, wherever it is shown."""

import asyncio
from collections import Counter

import websockets

from tests.bench.beside import GatewayBeside
from tests.bench.clients import guest, ticket
from tests.bench.ring import Ring


async def test_of_two_gateways_one_lets_a_ticket_in(guarded_ring: Ring) -> None:
    """The same ticket at the same moment on two gateways, twenty times: one opens, the other refuses with 403."""
    ring = guarded_ring

    def beside() -> GatewayBeside:
        return GatewayBeside(ring, f"nats://127.0.0.1:{ring.ports['nats']}", GATEWAY_WORKERS="1").__enter__()

    second = await asyncio.to_thread(beside)

    async def knock(url: str, made: str) -> int:
        try:
            socket = await websockets.connect(f"{url}?ticket={made}", proxy=None, compression=None)
        except websockets.InvalidStatus as refusal:
            return refusal.response.status_code
        await socket.close()
        return 101

    try:
        for _ in range(20):
            made = await ticket(ring, await guest(ring))
            answers = await asyncio.gather(knock(ring.websocket_url, made), knock(second.websocket_url, made))
            assert Counter(answers) == {101: 1, 403: 1}
    finally:
        await asyncio.to_thread(second.__exit__, None, None, None)
