"""The WebSocket under a connection: uvicorn's protocol class, opened up so that we can write below ASGI.

uvicorn and the `websockets` library keep the handshake, the framing rules and UTF-8. Three things are added, and
offered to the endpoint as `scope["extensions"]["parley.socket"]`:

- `detach`: after accept the endpoint hands over a receiver and returns. The ASGI task ends, so that an idle connection
  costs a socket and a session, and no coroutine.
- `write_replies`: a frame that was encoded once goes to the transport as it is, so that sockets share its bytes.
- `close` with a deadline: uvicorn never drops a peer that does not read (tried with 0.54); we abort the transport.
"""

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode

from chassis import logs
from protocol import codes

if TYPE_CHECKING:
    from gateway.publications import Encoded

log = logs.get(__name__)

EXTENSION = "parley.socket"
SUBPROTOCOLS = "Sec-WebSocket-Protocol"
CLOSE_SECONDS = 2.0
"""How long the peer may take to answer our close frame."""


class Receiver(Protocol):
    """Who takes what arrives on a detached socket. None of these may raise or block."""

    def frame_received(self, frame: bytes, text: bool) -> None:
        """Take one whole message."""

    def socket_closed(self, code: int) -> None:
        """Learn that the socket is gone; `code` is the peer's close code, or 1006. Called once."""

    def writing_paused(self) -> None:
        """Learn that the peer reads slower than we write."""

    def writing_resumed(self) -> None:
        """Learn that what waited was taken."""

    def shutdown(self) -> None:
        """Learn that this process is being stopped."""


class Wire(Protocol):
    """How a connection reaches its client: this WebSocket, or an HTTP stream."""

    kind: str
    """Its name: `websocket`, `http_stream` or `sse`."""

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes sent and not yet taken."""

    def write_replies(self, replies: "list[Encoded]") -> int:
        """Send replies at once, in order; return the bytes written. Dropped silently when closing."""

    def end(self, code: int, reason: str) -> None:
        """Close, telling the client why."""

    def pause_reading(self) -> None:
        """Take no more from the client until `resume_reading`."""

    def resume_reading(self) -> None:
        """Take more again."""


def encode_frame(payload: bytes, *, text: bool) -> bytes:
    """Return the bytes on the wire of an unfragmented, unmasked frame (RFC 6455, 5.2)."""
    return Frame(Opcode.TEXT if text else Opcode.BINARY, payload).serialize(mask=False)


def framed(replies: "list[Encoded]") -> bytes:
    """Return one frame that carries `replies`, all of one encoding."""
    codec = replies[0].codec
    return encode_frame(codec.join([reply.payload for reply in replies]), text=codec.text)


class Socket(WebSocketsSansIOProtocol):
    """One WebSocket of this process."""

    kind = "websocket"
    receiver: Receiver | None = None
    _close_code = 1006

    def handle_connect(self, event: Any) -> None:
        """Start the ASGI application for a handshake, with this socket offered as an extension."""
        if not any(offer.strip() for offer in event.headers.get_all(SUBPROTOCOLS)):
            event.headers.pop(SUBPROTOCOLS, None)  # old Python SDKs send an empty one, which the library refuses
        super().handle_connect(event)
        if not self.handshake_complete:
            self.scope["extensions"][EXTENSION] = self  # type: ignore[assignment]

    # For the endpoint.

    def detach(self, receiver: Receiver) -> None:
        """Hand all further frames to `receiver`; the ASGI call may return. Call after accept, once."""
        self.receiver = receiver
        while not self.queue.empty():  # frames that came with the handshake's last packet
            self._deliver(self.queue.get_nowait())
        if self.read_paused:
            self.resume_reading()
        if self.disconnected:  # it left between accept and here
            self.receiver = None
            receiver.socket_closed(self._close_code)

    @property
    def open(self) -> bool:
        """Whether frames may still be written."""
        return not (self.close_sent or self.disconnected or self.transport.is_closing())

    @property
    def waiting_bytes(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return 0 if self.disconnected else self.transport.get_write_buffer_size()

    def write_replies(self, replies: "list[Encoded]") -> int:
        """Write replies as one frame, sharing the bytes of one that travels alone; return the bytes written."""
        frame = replies[0].frame if len(replies) == 1 else framed(replies)
        if self.open:
            self.transport.write(frame)
        return len(frame)

    def end(self, code: int, reason: str) -> None:
        """Send a close frame; abort the transport when the peer has not answered in `CLOSE_SECONDS`."""
        if not self.open:
            return
        try:
            self.conn.send_close(code, reason)
        except InvalidState:
            self.transport.abort()
            return
        self._close_code = code
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        if self.read_paused:
            self.resume_reading()
        self.close_timer = self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def pause_reading(self) -> None:
        """Take no more from the peer until `resume_reading`: its commands wait in the kernel, then with it."""
        if not self.read_paused and self.open:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take frames again."""
        if self.read_paused:
            self.read_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # Called by uvicorn and by the event loop.

    def data_received(self, data: bytes) -> None:
        """Feed the library; send its refusal of a handshake that it could not read (over-long headers)."""
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            # uvicorn 0.54 leaves the peer without an answer and the socket open for ever.
            self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def send_receive_event_to_app(self) -> None:
        """Pass a whole message on: to the receiver when detached, else to the ASGI queue."""
        if self.receiver is None:
            super().send_receive_event_to_app()
            return
        frame = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:
            return
        text = self.curr_msg_data_type == "text"
        if text:
            try:
                frame.decode()
            except UnicodeDecodeError:
                self.end(1007, "")  # RFC 6455, 8.1
                return
        self.receiver.frame_received(frame, text)

    def handle_close(self, event: Frame) -> None:
        """Answer the peer's close frame, remembering its code."""
        if not self.close_sent and self.conn.close_rcvd is not None:
            self._close_code = self.conn.close_rcvd.code
        super().handle_close(event)

    def handle_parser_exception(self) -> None:
        """End a connection that broke the framing rules; the library has chosen the code (1002, 1007, 1009)."""
        if self.conn.close_sent is not None:
            self._close_code = self.conn.close_sent.code
        super().handle_parser_exception()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the receiver that the socket is gone."""
        super().connection_lost(exc)
        receiver, self.receiver = self.receiver, None
        if receiver is not None:
            receiver.socket_closed(self._close_code)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        super().pause_writing()
        if self.receiver is not None:
            self.receiver.writing_paused()

    def resume_writing(self) -> None:
        """The transport's buffer was taken by the peer."""
        super().resume_writing()
        if self.receiver is not None:
            self.receiver.writing_resumed()

    def shutdown(self) -> None:
        """End the connection because the server stops (uvicorn calls this for every socket at once)."""
        if self.receiver is None:
            super().shutdown()
            return
        self.receiver.shutdown()
        self.end(codes.SHUTDOWN.code, codes.SHUTDOWN.reason)

    async def run_asgi(self) -> None:
        """Run the endpoint; a detached socket outlives it, any other is closed as uvicorn does."""
        try:
            await self.app(self.scope, self.receive, self.send)
        except ClientDisconnected:
            log.debug("client left during the handshake")
        except asyncio.CancelledError:
            self.transport.abort()
            raise
        except Exception:  # whatever the application raised, the peer gets a 500 and the log the reason
            log.exception("WebSocket endpoint failed")
            self.send_500_response()
            self.receiver = None
        else:
            if not self.handshake_complete:
                log.error("WebSocket endpoint returned without an answer")
                self.send_500_response()
        if self.receiver is None and self.close_timer is None:
            self.transport.close()

    def _deliver(self, message: Any) -> None:
        assert self.receiver is not None
        if message["type"] == "websocket.receive":
            text = message.get("text")
            self.receiver.frame_received(text.encode() if text is not None else message["bytes"], text is not None)
