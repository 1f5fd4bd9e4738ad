"""A JSON stream over HTTP that is read only when a test asks. Imports nothing of ours."""

import asyncio
import json
import socket
from typing import Self

from tests.bench.clients import SECONDS, Account, http
from tests.bench.ring import Ring
from tests.bench.streamed import Json


class Raw:
    """A JSON stream on a socket that reads only when asked."""

    def __init__(self, ring: Ring, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ring, self.reader, self.writer = ring, reader, writer
        self.session = self.node = ""
        self._first: Json = {}

    @classmethod
    async def open(cls, ring: Ring, account: Account) -> Self:
        """Connect, with as small a receive buffer as there is."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", ring.ports["gateway"]))
        made = cls(ring, *await asyncio.open_connection(sock=plain, limit=4096))
        body = json.dumps({"id": 1, "connect": {"token": account.access}}).encode()
        made.writer.write(
            b"POST /connection/http_stream HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        assert b" 200 " in await made.reader.readline()
        while await made.reader.readline() != b"\r\n":
            pass
        made._first = await made._line()
        made.session, made.node = made._first["connect"]["session"], made._first["connect"]["node"]
        return made

    async def line(self) -> Json:
        """Return the next reply."""
        first, self._first = self._first, {}
        return first or await self._line()

    async def _line(self) -> Json:
        size = int(await asyncio.wait_for(self.reader.readline(), SECONDS), 16)
        chunk = await self.reader.readexactly(size + 2)
        found: Json = json.loads(chunk)
        return found

    async def post(self, command: Json) -> None:
        """Post a command."""
        body = {"node": self.node, "session": self.session, "data": json.dumps(command)}
        answer = await http("POST", f"{self.ring.gateway_url}/emulation", json=body)
        assert answer.status_code == 204

    async def fill(self) -> None:
        """Cause replies that nobody reads, until they wait in the gateway."""
        for number in range(10, 30):
            await self.post({"id": number, "rpc": {"method": "echo", "data": "x" * 50_000}})

    async def close(self) -> None:
        """Leave."""
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass  # the gateway was faster
