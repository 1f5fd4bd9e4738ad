"""How a connection reaches its client: a WebSocket (`socket.py`) or an HTTP stream (`streaming.py`)."""

import asyncio
from typing import TYPE_CHECKING, Protocol

from protocol.frames import Codec

if TYPE_CHECKING:
    from gateway.publications import Encoded

CLOSE_SECONDS = 2.0
"""How long a client may take to go after it was told to."""


class Receiver(Protocol):
    """Who takes what arrives on a wire. None of these may raise or block."""

    def frame_received(self, frame: bytes, text: bool) -> None:
        """Take one whole message."""

    def socket_closed(self, code: int) -> None:
        """Learn that the wire is gone; `code` is the peer's close code, or 1006. Called once."""

    def writing_paused(self) -> None:
        """Learn that the peer reads slower than we write."""

    def writing_resumed(self) -> None:
        """Learn that what waited was taken."""

    def shutdown(self) -> None:
        """Learn that this process is being stopped."""


class Framing(Protocol):
    """How replies of one encoding become bytes on one kind of wire. Wires that frame alike share one object."""

    def bundle(self, replies: "list[Encoded]") -> bytes:
        """Return the bytes that carry `replies` (at least one), in order."""


class Wire(Protocol):
    """What a connection writes to."""

    kind: str
    """Its name: `websocket`, `http_stream` or `sse`."""
    transport: asyncio.Transport
    ready: bool
    """Whether it is open and takes what is written: then the framed bytes may go to `transport` at once."""

    def framing(self, codec: Codec) -> Framing:
        """Return how replies of that encoding are framed here."""

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes written and not yet taken by the kernel."""

    def write(self, data: bytes) -> None:
        """Write what this wire's framing made; only while `open`."""

    def end(self, code: int, reason: str) -> None:
        """Close, telling the client why."""

    def pause_reading(self) -> None:
        """Take no more from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take more again."""
