"""One WebSocket of this process: an asyncio protocol as small as it can be, since an idle connection is mostly this.

The handshake is an ASGI application's as everywhere else (`handshake.py`); when the endpoint has accepted, it detaches
the socket: a receiver takes what arrives, and the ASGI task ends with all that belongs to it. The framing rules are in
`framing.py`. Closing has a deadline: a peer that does not read is aborted.
"""

import asyncio
from typing import TYPE_CHECKING

from gateway.framing import ABNORMAL, CLOSE, PING, PONG, REPLIES, TEXT, Broken, Reader, close_code, close_frame, frame
from gateway.wire import CLOSE_SECONDS, Framing, Receiver
from protocol import codes
from protocol.frames import Codec

if TYPE_CHECKING:
    from gateway.handshake import Handshake

EXTENSION = "parley.socket"
MOST_PONG_BYTES = 64 * 1024
"""Bytes that wait for the peer, above which its pings go unanswered: else one that never reads fills the memory with
them before it is noticed. RFC 6455, 5.5.3: whoever has many to answer may answer the last alone."""


class Socket(asyncio.Protocol):
    """A WebSocket: first with its handshake, then with its receiver."""

    __slots__ = (
        "_close_code",
        "_close_timer",
        "_closing",
        "_connections",
        "_failed",
        "_paused",
        "_reader",
        "handshake",
        "ready",
        "receiver",
        "transport",
    )

    kind = "websocket"

    def __init__(self, transport: asyncio.Transport, connections: set[asyncio.Protocol], most: int) -> None:
        """`connections` are uvicorn's: what it tells when it stops. `most` is the size of the largest message."""
        self.transport = transport
        self.ready = False
        self.handshake: Handshake | None = None
        self.receiver: Receiver | None = None
        self._connections = connections
        self._reader = Reader(most)
        self._closing = False  # our close frame is out, or the transport is gone
        self._failed = False  # the peer broke the rules: what it still sends is not looked at
        self._paused = False
        self._close_code = ABNORMAL
        self._close_timer: asyncio.TimerHandle | None = None
        connections.add(self)

    def begin(self) -> None:
        """Take the transport over. Nothing is read until the handshake is done."""
        self.take_over()
        self.pause_reading()

    def take_over(self) -> None:
        """Be told of what comes on the transport from now on."""
        self.transport.set_protocol(self)

    # For the endpoint.

    def detach(self, receiver: Receiver) -> None:
        """Hand all that comes to `receiver`; the ASGI call may return. Call after accept, once."""
        self.handshake = None
        if self._closing:  # it left between accept and here
            receiver.socket_closed(self._close_code)
            return
        self.receiver = receiver
        self.ready = True
        self.resume_reading()

    # For the connection.

    def framing(self, codec: Codec) -> Framing:
        """Return how replies of that encoding are framed here."""
        return REPLIES[codec.name]

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""
        return not (self._closing or self.transport.is_closing())

    @property
    def waiting_bytes(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return self.transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Write whole frames; only while `open`."""
        self.transport.write(data)

    def end(self, code: int, reason: str) -> None:
        """Send a close frame; abort the transport when the peer has not answered in `CLOSE_SECONDS`."""
        if not self.open:
            return
        self._close_code = code
        self._closing = True
        self.ready = False
        self.transport.write(close_frame(code, reason))
        self.resume_reading()
        self._close_timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.transport.abort)

    def pause_reading(self) -> None:
        """Take no more from the peer until `resume_reading`: its commands wait in the kernel, then with it."""
        if not self._paused and self.open:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take frames again."""
        if self._paused:
            self._paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # Called by the event loop.

    def data_received(self, data: bytes) -> None:
        """Take what arrived; fail the connection when it breaks the framing rules."""
        if self._failed:
            return
        try:
            for received in self._reader.feed(data):
                self._take(received.opcode, received.payload)
        except Broken as broken:
            for received in broken.before:
                self._take(received.opcode, received.payload)
            self._fail(broken.code)

    def eof_received(self) -> None:
        """The peer sends no more; the transport closes itself."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver that the socket is gone."""
        self._closing = True
        self.ready = False
        self._connections.discard(self)
        if self._close_timer is not None:
            self._close_timer.cancel()
        handshake, self.handshake = self.handshake, None
        if handshake is not None:
            handshake.lost()
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.socket_closed(self._close_code)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.ready = False
        if self.receiver is not None:
            self.receiver.writing_paused()

    def resume_writing(self) -> None:
        """The transport's buffer was taken by the peer."""
        self.ready = self.receiver is not None and self.open
        if self.receiver is not None:
            self.receiver.writing_resumed()

    # Called by uvicorn.

    def shutdown(self) -> None:
        """End because the server stops (uvicorn calls this for every socket at once)."""
        if self.receiver is None:
            self.transport.abort()
            return
        self.receiver.shutdown()
        self.end(codes.SHUTDOWN.code, codes.SHUTDOWN.reason)

    # Inside.

    def _take(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            if self.open and self.waiting_bytes <= MOST_PONG_BYTES:
                self.transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            self._peer_closed(close_code(payload))
        elif opcode != PONG and self.receiver is not None and not self._closing:
            self.receiver.frame_received(payload, opcode == TEXT)

    def _peer_closed(self, code: int) -> None:
        """Answer the peer's close frame with its code, unless it answers ours; then the transport closes."""
        self.ready = False
        if not self._closing:
            self._closing = True
            self._close_code = code
            self.transport.write(close_frame(code, ""))
        self._close()

    def _fail(self, code: int) -> None:
        """Say why, and let the peer close: closing under bytes of it that nobody read would reset the connection, and
        what we said with it (RFC 9293, 3.6.1)."""
        self._failed = True
        self.ready = False
        if not self._closing:
            self._closing = True
            self._close_code = code
            self.transport.write(close_frame(code, ""))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.resume_reading()
        self._set_deadline()

    def _close(self) -> None:
        """Close when all is written; a peer that does not read it is aborted."""
        self._set_deadline()
        self.transport.close()

    def _set_deadline(self) -> None:
        if self._close_timer is None:
            self._close_timer = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.transport.abort)
