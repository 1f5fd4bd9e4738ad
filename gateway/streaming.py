"""The HTTP stream under a connection: a response that goes on, for clients that no WebSocket reaches.

uvicorn keeps the request, the headers and the end of the response. In between, replies go to the transport as chunks,
below ASGI as on a WebSocket (`socket.py`), so that both have the same bounds: bytes that wait, seconds unread, and a
deadline for the end. The protocol class offers itself to the endpoint as `scope["extensions"]["parley.http"]`.
What such a client sends comes in requests of its own (`emulation.py`).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chassis.patience import PatientHttp
from gateway.handshake import Handshake, Unfit, accept_key, deny
from gateway.publications import Encoded
from gateway.socket import Socket
from gateway.wire import CLOSE_SECONDS, Framing, Receiver
from protocol import codes
from protocol.client import Disconnect, Push, Reply
from protocol.frames import Codec

EXTENSION = "parley.http"
_LEFT, _LOST = 1001, 1006
"""What a WebSocket would say of a client that closed, and of one whose network broke."""


@dataclass(frozen=True, slots=True)
class Form:
    """How replies stand in a response."""

    kind: str
    """The SDKs' name of the transport."""
    media_type: str
    parts: Callable[[bytes], tuple[bytes, ...]]
    """Return what to write for one encoded reply, in order."""

    def bundle(self, replies: list[Encoded]) -> bytes:
        """Return one chunk (RFC 9112, 7.1) that carries `replies`, as a `gateway.wire.Framing`."""
        parts = [part for reply in replies for part in self.parts(reply.payload)]
        return b"".join([b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n"])


def _event(reply: bytes) -> tuple[bytes, ...]:
    # A carriage return would end the line. In valid JSON it stands between tokens only, where a space is the same.
    return b"data: ", reply.replace(b"\r", b" ") if b"\r" in reply else reply, b"\n\n"


JSON_LINES = Form("http_stream", "application/x-ndjson", lambda reply: (reply, b"\n"))
PROTOBUF_MESSAGES = Form("http_stream", "application/octet-stream", lambda reply: (reply,))
"""Encoded replies bring their length."""
EVENTS = Form("sse", "text/event-stream; charset=utf-8", _event)


class Stream:
    """The `Wire` of one client: everything after the headers of its response."""

    def __init__(self, transport: asyncio.Transport, codec: Codec, form: Form) -> None:
        self.kind = form.kind
        self.transport = transport
        self.ready = True
        self._codec = codec
        self._form = form
        self._receiver: Receiver | None = None
        self._ended = False
        self._over = asyncio.Event()
        self._deadline: asyncio.TimerHandle | None = None

    # For the endpoint.

    def attach(self, receiver: Receiver) -> None:
        """Have `receiver` told of what happens; call when the headers are written."""
        self._receiver = receiver
        if self._over.is_set():  # the client left before
            receiver.socket_closed(_LEFT)

    async def over(self) -> bool:
        """Wait for the end; tell whether it was ours, so that the response has to be completed."""
        await self._over.wait()
        return self._ended

    # For the connection.

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""
        return not (self._ended or self._over.is_set() or self.transport.is_closing())

    @property
    def waiting_bytes(self) -> int:
        """Bytes written and not yet taken by the kernel."""
        return 0 if self._over.is_set() else self.transport.get_write_buffer_size()

    def framing(self, _: Codec) -> Framing:
        """Return how replies are framed here; the form was chosen with the encoding."""
        return self._form

    def write(self, data: bytes) -> None:
        """Write whole chunks; only while `open`."""
        self.transport.write(data)

    def end(self, code: int, reason: str) -> None:
        """Tell the client why and end the response; abort the transport if that has not left in `CLOSE_SECONDS`."""
        if not self.open:
            return
        farewell = Encoded(self._codec, self._codec.encode(Reply(push=Push(disconnect=Disconnect(code, reason)))))
        self.transport.write(self._form.bundle([farewell]))
        self._ended = True
        self.ready = False
        self._deadline = asyncio.get_running_loop().call_later(CLOSE_SECONDS, self.transport.abort)
        self._over.set()

    def pause_reading(self) -> None:
        """Do nothing: commands come in requests of their own, and too many that wait end the connection."""

    def resume_reading(self) -> None:
        """Do nothing, as above."""

    # For the protocol class.

    def lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._over.set()
        self.ready = False
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.socket_closed(_LEFT if error is None else _LOST)

    def paused(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self.ready = False
        if self._receiver is not None:
            self._receiver.writing_paused()

    def resumed(self) -> None:
        """The transport's buffer was taken by the client."""
        self.ready = self.open
        if self._receiver is not None:
            self._receiver.writing_resumed()

    def shutdown(self) -> None:
        """End because the server stops."""
        if self._receiver is None:
            self.transport.abort()  # its headers are not out yet, so there is no way to say why
        else:
            self._receiver.shutdown()
            self.end(codes.SHUTDOWN.code, codes.SHUTDOWN.reason)


class Http(PatientHttp):
    """One HTTP connection of this process; the last response on it may be a stream."""

    _stream: Stream | None = None
    _stopping = False
    _inside = False
    _said = b""

    def begin(self, codec: Codec, form: Form) -> Stream | None:
        """Return a stream for the response that is to be started, which must say `Connection: close`.

        None when there can be none: the client has left, has sent more requests behind this one, or the server stops.
        """
        if self.transport.is_closing() or self.pipeline or self._stopping:
            return None
        self._stream = Stream(self.transport, codec, form)
        return self._stream

    # For the turnstile.

    def come_in(self) -> None:
        """Go on with what was said."""
        self._inside = True
        said, self._said = self._said, b""
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self.data_received(said)

    def turn_away(self) -> None:
        """Be cut off."""
        self.transport.abort()

    # Called by uvicorn and by the event loop.

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to a `Socket`, which has the application answer the handshake."""
        self.connections.discard(self)
        try:
            key = accept_key(self.scope["method"], self.headers)
        except Unfit as unfit:
            deny(self.transport, unfit.status, unfit.headers)
            return
        socket = Socket(self.transport, self.connections, self.config.ws_max_size)  # type: ignore[arg-type]
        if self._admitted(socket, key):
            return
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        socket.handshake = Handshake(socket, self.app, scope, self.url, key)
        socket.begin()
        task = self.loop.create_task(socket.handshake.run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _admitted(self, socket: Socket, key: bytes) -> bool:
        """Let the application's doorman answer the handshake, if it has one and he can; tell whether he did."""
        state = self._state
        doorman = getattr(state, "doorman", None)
        if doorman is None:
            return False
        peer, port = self.client[0] if self.client else "", self.server[1] if self.server else 0
        if not doorman.admit(socket, key, self.url, self.headers, peer, port, state):
            return False
        self.parser = None  # type: ignore[assignment]  # it holds this object, and both would wait for the collector
        return True

    @property
    def _state(self) -> Any:
        """What the application holds, if it is the one of `app.py`."""
        return getattr(self.config.app, "state", None)

    def on_message_begin(self) -> None:
        """Offer this protocol to the endpoint."""
        super().on_message_begin()
        self.scope["extensions"] = {EXTENSION: self}  # type: ignore[dict-item]

    def data_received(self, data: bytes) -> None:
        """Take no more requests behind that of a stream: uvicorn would queue them, and not see the client leave.

        Who speaks for the first time may have to wait for others who did.
        """
        if not self._inside:
            turnstile = getattr(self._state, "turnstile", None)
            if turnstile is not None and not turnstile.may_pass(self):
                if not self.transport.is_closing():
                    self._said = data
                    self.transport.pause_reading()
                return
            self._inside = True
        if self._stream is None:
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the stream that its client is gone."""
        super().connection_lost(exc)
        if self._stream is not None:
            self._stream.lost(exc)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        super().pause_writing()
        if self._stream is not None:
            self._stream.paused()

    def resume_writing(self) -> None:
        """The transport's buffer was taken by the peer."""
        super().resume_writing()
        if self._stream is not None:
            self._stream.resumed()

    def shutdown(self) -> None:
        """End the stream because the server stops: uvicorn calls this for each connection, then waits for its end."""
        self._stopping = True
        super().shutdown()
        if self._stream is not None:
            self._stream.shutdown()
