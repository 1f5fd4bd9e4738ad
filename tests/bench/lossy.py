"""A proxy between a gateway and NATS that loses live messages, and connections when told to.

It understands as much of the NATS client protocol as it takes to find where a message ends: lines, and for MSG and
HMSG the bytes their last number counts. Only what NATS republishes on `*.live` is lost, as happens when a gateway is
too slow for its pending limit or a route breaks: requests and their answers are not. Imports nothing of ours.
"""

import asyncio
import random
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

LIVE = b".live"


class LossyProxy:
    """Listens on `port` and passes on to `upstream`, in a thread of its own."""

    def __init__(self, upstream: int, loss: float, seed: int, *, delay: float = 0, jitter: float = 0) -> None:
        """`loss` is the share of live messages that is lost; the same seed loses the same ones of the same traffic.

        Everything takes `delay` seconds longer, and up to `jitter` more, in either direction; the order stays.
        """
        self._lateness = (delay, jitter)
        self.upstream = upstream
        self.loss = loss
        self.port = 0
        self.live = 0
        """Live messages that came by."""
        self.lost = 0
        self.cuts = 0
        self.away = False
        """While true, no connection is taken; `cut` those there are."""
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="lossy proxy", daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """Address for NATS_URL."""
        return f"nats://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        server = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop)
        self._server = server.result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def stop() -> None:
            self._server.close()
            self._abort()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 10)

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(15)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Break every connection, abruptly; new ones are taken at once."""
        self.cuts += 1
        self._loop.call_soon_threadsafe(self._abort)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.away:
            to_client.transport.abort()
            return
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            to_client.transport.abort()
            return
        pair = {to_client, to_server}
        self._writers |= pair
        try:
            async with asyncio.TaskGroup() as tasks:
                up, down = to_server.write, to_client.write
                if any(self._lateness):
                    up, down = self._late(tasks, to_server), self._late(tasks, to_client)
                tasks.create_task(_copy(from_client, to_server, up))
                tasks.create_task(_copy_messages(from_server, to_client, down, self._keeps))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # one side is gone, and the other goes with it
        finally:
            self._writers -= pair
            for writer in pair:
                writer.transport.abort()

    def _late(self, tasks: asyncio.TaskGroup, writer: asyncio.StreamWriter) -> Callable[[bytes], None]:
        """Return what to give bytes to instead of `writer`, which gets them later."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delay, jitter = self._lateness

        async def pass_on() -> None:
            while True:
                due, chunk = await waiting.get()
                await asyncio.sleep(due - self._loop.time())
                writer.write(chunk)

        tasks.create_task(pass_on())
        return lambda chunk: waiting.put_nowait((self._loop.time() + delay + self._random.random() * jitter, chunk))

    def _keeps(self, subject: bytes) -> bool:
        if not subject.endswith(LIVE):
            return True
        self.live += 1
        if self._random.random() >= self.loss:
            return True
        self.lost += 1
        return False


Write = Callable[[bytes], None]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, write: Write) -> None:
    while chunk := await reader.read(65536):
        write(chunk)
        await writer.drain()
    raise ConnectionResetError


async def _copy_messages(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, write: Write, keeps: Callable[[bytes], bool]
) -> None:
    """Pass on what the server says, but for the messages that `keeps` (asked with their subject) does not want."""
    while True:
        line = await reader.readuntil(b"\r\n")
        words = line.split()
        if words and words[0].upper() in (b"MSG", b"HMSG"):
            body = await reader.readexactly(int(words[-1]) + 2)
            if not keeps(words[1]):
                continue
            line += body
        write(line)
        await writer.drain()
