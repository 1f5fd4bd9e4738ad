"""A load balancer on TCP: a connection goes to the gateway with the fewest, of those that say they are ready.

As in front of a cluster, it learns that one is not ready by asking now and then, and keeps the connections it made.
Imports nothing of ours.
"""

import asyncio
from types import TracebackType
from typing import Protocol, Self

ASK_SECONDS = 0.2


class Gateway(Protocol):
    """What is balanced: `GatewayBeside`, or a ring's own."""

    port: int

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""


class Balancer:
    """Listens on a free port, in front of `gateways`, which may be changed at any time."""

    def __init__(self, *gateways: Gateway) -> None:
        self.gateways = list(gateways)
        self._ready: list[Gateway] = []
        self._made: dict[int, int] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def websocket_url(self) -> str:
        """The address to give to clients."""
        assert self._server is not None, "not started"
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/connection/websocket"

    def connections(self, gateway: Gateway) -> int:
        """Return how many connections `gateway` has through this balancer."""
        return self._made.get(gateway.port, 0)

    async def __aenter__(self) -> Self:
        await self._ask()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._asking = asyncio.create_task(self._keep_asking())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "not started"
        self._server.close()
        tasks = {self._asking, *self._serving}
        for task in tasks:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    async def _keep_asking(self) -> None:
        while True:
            await asyncio.sleep(ASK_SECONDS)
            await self._ask()

    async def _ask(self) -> None:
        answers = {one.port: await asyncio.to_thread(lambda one=one: one.ready) for one in self.gateways}
        self._ready = [one for one in self.gateways if answers.get(one.port)]

    def _accept(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(from_client, to_client))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        port = min((one.port for one in self._ready), key=lambda port: self._made.get(port, 0), default=0)
        self._made[port] = self._made.get(port, 0) + 1
        writers = [to_client]
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
            writers.append(to_server)
            async with asyncio.TaskGroup() as tasks:
                up = tasks.create_task(_copy(from_client, to_server))
                await _copy(from_server, to_client)
                up.cancel()
        except OSError:
            pass  # nobody there: the client sees a connection that ends, and tries again
        finally:
            self._made[port] -= 1
            for writer in writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass bytes on until there are no more; then say so."""
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass  # one side broke: the same as an end
    finally:
        writer.close()
