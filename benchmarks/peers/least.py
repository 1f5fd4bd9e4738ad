"""The least that a WebSocket server in Python can do for a room: no bounds, no metrics, no accounts, no answers.

What is left is uvloop, one frame read and one write for each member, and with NATS a publication and a message heard:
whatever has features in Python costs more. Rooms are named by the request's query (?room=...).
Usage: least.py PORT [PORT_OF_NATS]
"""

import asyncio
import base64
import hashlib
import re
import struct
import sys
from collections import defaultdict

import uvloop
from websockets.speedups import apply_mask

ROOM = re.compile(rb"[?&]room=(\w+)")
KEY = re.compile(rb"Sec-WebSocket-Key: (\S+)", re.IGNORECASE)
ACCEPT = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n"
)

rooms: dict[bytes, list[asyncio.Transport]] = defaultdict(list)


def broadcast(room: bytes, payload: bytes) -> None:
    """Write a message to each member."""
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else struct.pack("!BBH", 0x81, 126, size)
    framed = head + payload
    for transport in rooms[room]:
        transport.write(framed)


class Nats(asyncio.Protocol):
    """A connection to NATS that publishes what is said and hears all of it."""

    def __init__(self) -> None:
        self.rest = b""
        self.waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Subscribe to every room."""
        self.transport = transport
        transport.write(b'CONNECT {"verbose":false}\r\nSUB r.* 1\r\n')

    def publish(self, room: bytes, payload: bytes) -> None:
        """Publish at the end of this turn, with what else is said in it."""
        if not self.waiting:
            asyncio.get_running_loop().call_soon(self.flush)
        self.waiting.append(b"PUB r.%b %d\r\n%b\r\n" % (room, len(payload), payload))

    def flush(self) -> None:
        """Write what was said."""
        self.transport.write(b"".join(self.waiting))
        self.waiting.clear()

    def data_received(self, data: bytes) -> None:
        """Hand on whole messages: `MSG r.<room> 1 <size>`, then the payload."""
        data, at = self.rest + data, 0
        while (end := data.find(b"\r\n", at)) >= 0:
            words = data[at:end].split()
            size = int(words[-1]) if words[0] == b"MSG" else -2
            if end + 4 + size > len(data):
                break
            if size >= 0:
                broadcast(words[1][2:], data[end + 2 : end + 2 + size])
            elif words[0] == b"PING":
                self.transport.write(b"PONG\r\n")
            at = end + 4 + size
        self.rest = data[at:]


nats: Nats | None = None


class Client(asyncio.Protocol):
    """One client; each packet is one frame, as those of the load generator are."""

    room = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its handshake."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the handshake, then hand on what it says."""
        if not self.room:
            key = KEY.search(data)[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            self.room = ROOM.search(data)[1]
            rooms[self.room].append(self.transport)
            accept = base64.b64encode(hashlib.sha1(key, usedforsecurity=False).digest()).decode()
            self.transport.write((ACCEPT % accept).encode())
        elif data[0] == 0x81:
            start = 6 if data[1] < 0xFE else 8
            payload = apply_mask(data[start:], data[start - 4 : start])
            nats.publish(self.room, payload) if nats else broadcast(self.room, payload)

    def connection_lost(self, _: Exception | None) -> None:
        """Forget it."""
        if self.room:
            rooms[self.room].remove(self.transport)


async def main() -> None:
    """Serve for ever."""
    global nats
    loop = asyncio.get_running_loop()
    if len(sys.argv) > 2:
        nats = (await loop.create_connection(Nats, "127.0.0.1", int(sys.argv[2])))[1]
    server = await loop.create_server(Client, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


uvloop.run(main())
