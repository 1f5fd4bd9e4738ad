"""The least of a WebSocket client: handshake, text frames, the code of the end. No task, no library, a socket's cost.

It speaks to our gateways only: their frames are never fragmented, and pings are replies of the protocol above. Imports
nothing of ours.
"""

import asyncio
import os
from urllib.parse import urlsplit

_OPCODE, _SHORT, _TEXT, _CLOSE = 0x0F, 126, 0x81, 8
_HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
WITHOUT_A_WORD = 1006


class Wire(asyncio.Protocol):
    """One connection at a time; `connect` again after `ended`. What is made of it, a subclass says."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._buffer = b""
        self._upgraded = False
        self._code = WITHOUT_A_WORD
        self._url = ""

    # For the subclass.

    def opened(self) -> None:
        """The handshake is done."""

    def line(self, line: bytes) -> None:
        """One reply has come."""

    def ended(self, code: int) -> None:
        """The connection is gone, with this code of the server's or 1006."""

    # Inside.

    async def connect(self, url: str) -> None:
        """Connect to a gateway (ws://host:port/path); raises `OSError` when nobody is there."""
        self._url = url
        parts = urlsplit(url)
        await asyncio.get_running_loop().create_connection(lambda: self, parts.hostname, parts.port)

    def abort(self) -> None:
        """Break off without a word."""
        if self.transport is not None:
            self.transport.abort()

    def write(self, text: bytes) -> None:
        """Send a text frame; nothing when there is no connection."""
        if self.transport is None:
            return
        mask, length = os.urandom(4), len(text)
        head = bytes((_TEXT, 0x80 | length)) if length < _SHORT else b"\x81\xfe" + length.to_bytes(2, "big")
        key = (mask * (length // 4 + 1))[:length]
        masked = (int.from_bytes(text, "big") ^ int.from_bytes(key, "big")).to_bytes(length, "big")
        self.transport.write(head + mask + masked)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self._buffer, self._upgraded, self._code = transport, b"", False, WITHOUT_A_WORD
        parts = urlsplit(self._url)
        transport.write(_HANDSHAKE.format(path=parts.path, host=parts.netloc).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the subclass."""
        self.transport = None
        self.ended(self._code)

    def data_received(self, data: bytes) -> None:
        """Take what has come apart."""
        data = self._buffer + data if self._buffer else data
        at = 0
        if not self._upgraded:
            at = data.find(b"\r\n\r\n") + 4
            if at < 4:
                self._buffer = data
                return
            if b" 101 " not in data[:20]:
                self.abort()
                return
            self._upgraded = True
            self.opened()
        self._buffer = data[self._frames(data, at) :]

    def _frames(self, data: bytes, at: int) -> int:
        """Take all frames that are there; return where the first begins that is not there wholly."""
        size = len(data)
        while size - at >= 2:
            length, start = data[at + 1] & 127, at + 2
            if length >= _SHORT:
                start = at + (4 if length == _SHORT else 10)
                length = int.from_bytes(data[at + 2 : start], "big") if size >= start else size
            if size < start + length:
                break
            payload, opcode = data[start : start + length], data[at] & _OPCODE
            at = start + length
            if opcode == _CLOSE:
                self._code = int.from_bytes(payload[:2], "big")
                self.abort()
                break
            for line in payload.split(b"\n"):
                self.line(line)
        return at
