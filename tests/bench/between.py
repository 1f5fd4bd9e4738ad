"""A WebSocket proxy between clients and a gateway that swallows or repeats messages, freezes clients or shuts them out.

Clients are told apart by the name in their connect command, in both encodings; only what goes to those that speak JSON
is looked into. Imports nothing of ours.
"""

import asyncio
import json
import re
from collections import Counter
from types import TracebackType
from typing import Any, Self

import websockets
from websockets.asyncio.server import Server, ServerConnection

_NAME = re.compile(rb"canary-(?:sender|receiver-\d+)")
_GONE = websockets.ConnectionClosed


class Between:
    """Listens on a free port, and passes on to `upstream` (ws://...)."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.swallow: Counter[str] = Counter()
        """Name of a client to how many of the next messages do not reach it."""
        self.repeat: Counter[str] = Counter()
        """Name of a client to how many of the next messages reach it twice."""
        self.swap: Counter[str] = Counter()
        """Name of a client to how many times a message is kept back until after the next."""
        self.shut: set[str] = set()
        """Names of clients that do not get in."""
        self.frozen: set[str] = set()
        """Names of clients whose connections stay open, but carry nothing in either direction."""
        self._kept: dict[str, str] = {}
        self._connections: dict[str, set[ServerConnection]] = {}
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The address to give to clients."""
        assert self._server is not None, "not started"
        return f"http://127.0.0.1:{next(iter(self._server.sockets)).getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await websockets.serve(self._serve, "127.0.0.1", 0, compression=None, ping_interval=None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None, "not started"
        self._server.close()
        await asyncio.wait_for(self._server.wait_closed(), 10)

    async def shut_out(self, name: str) -> None:
        """End the connections of a client, and let it in no more until it is taken from `shut`."""
        self.shut.add(name)
        self.frozen.discard(name)
        for connection in list(self._connections.get(name, ())):
            await connection.close(1011)

    async def _serve(self, client: ServerConnection) -> None:
        try:
            first = await asyncio.wait_for(client.recv(), 10)
            found = _NAME.search(first if isinstance(first, bytes) else first.encode())
            name = found[0].decode() if found else ""
            if name in self.shut:
                return
            protocols = ["centrifuge-protobuf"] if isinstance(first, bytes) else None
            async with websockets.connect(
                self.upstream, proxy=None, compression=None, ping_interval=None, max_size=None, subprotocols=protocols
            ) as server:
                self._connections.setdefault(name, set()).add(client)
                await server.send(first)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._up(client, server, name))
                    tasks.create_task(self._down(server, client, name))
        except* (_GONE, OSError):
            pass  # one side is gone, and the other goes with it
        finally:
            for connections in self._connections.values():
                connections.discard(client)

    async def _thaw(self, name: str) -> None:
        while name in self.frozen:
            await asyncio.sleep(0.02)

    async def _up(self, client: ServerConnection, server: websockets.ClientConnection, name: str) -> None:
        while True:
            frame = await client.recv()
            await self._thaw(name)
            await server.send(frame)

    async def _down(self, server: websockets.ClientConnection, client: ServerConnection, name: str) -> None:
        while True:
            frame = await server.recv()
            await self._thaw(name)
            if isinstance(frame, str):
                lines = [out for line in frame.split("\n") for out in self._passed(name, line)]
                if not lines:
                    continue
                frame = "\n".join(lines)
            await client.send(frame)

    def _passed(self, name: str, line: str) -> list[str]:
        """Return what becomes of one reply or push to the client of that name."""
        if not _is_message(json.loads(line)):
            return [line]
        if self.swallow[name] > 0:
            self.swallow[name] -= 1
            return []
        if self.repeat[name] > 0:
            self.repeat[name] -= 1
            return [line, line]
        if name in self._kept:
            return [line, self._kept.pop(name)]
        if self.swap[name] > 0:
            self.swap[name] -= 1
            self._kept[name] = line
            return []
        return [line]


def _is_message(reply: dict[str, Any]) -> bool:
    data = reply.get("push", {}).get("pub", {}).get("data")
    return isinstance(data, dict) and data.get("type") == "message"
