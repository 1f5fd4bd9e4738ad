"""The opening handshake of a WebSocket (RFC 6455, 4.2), carried out by an ASGI application as any other request.

uvicorn's HTTP class has parsed the request; this checks what makes it a handshake, runs the application with a
WebSocket scope, and writes what that answers: 101 when it accepts, else its refusal. Nothing is negotiated but the
subprotocol.
"""

import asyncio
import base64
import binascii
import hashlib
import http
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote

from chassis import logs
from gateway.socket import EXTENSION, Socket

log = logs.get(__name__)

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""What a server appends to the client's key (RFC 6455, 1.3)."""
VERSION = b"13"
MOST_HEADER_BYTES = 16 * 1024
MOST_LINE_BYTES = 8 * 1024
_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]*")
"""RFC 9110, 5.6.2; or nothing, for old Python SDKs offer an empty subprotocol."""
_SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_CONNECT, _ACCEPTED, _DENIED = "connect", "accepted", "denied"

Headers = Iterable[tuple[bytes, bytes]]
Message = dict[str, Any]
"""An ASGI message."""
App = Callable[
    [dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
"""An ASGI application."""


class Unfit(Exception):
    """The request is no handshake that can be answered; `status` and `headers` say why."""

    def __init__(self, status: int, headers: Headers = ()) -> None:
        super().__init__(status)
        self.status = status
        self.headers = headers


def accept_key(method: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the value of Sec-WebSocket-Accept for a request (RFC 6455, 4.2.1 and 4.2.2); raise `Unfit`."""
    lengths = [len(name) + len(value) for name, value in headers]
    if sum(lengths) > MOST_HEADER_BYTES or max(lengths, default=0) > MOST_LINE_BYTES:
        raise Unfit(431)
    if method != "GET" or not any(name == b"host" for name, _ in headers):
        raise Unfit(400)
    offers = [one for name, value in headers if name == b"sec-websocket-protocol" for one in value.split(b",")]
    if not all(_TOKEN.fullmatch(one.strip()) for one in offers):
        raise Unfit(400)
    versions = [value.strip() for name, value in headers if name == b"sec-websocket-version"]
    if versions != [VERSION]:
        raise Unfit(426, [(b"sec-websocket-version", VERSION)])
    keys = [value.strip() for name, value in headers if name == b"sec-websocket-key"]
    try:
        if len(keys) != 1 or len(base64.b64decode(keys[0], validate=True)) != 16:
            raise Unfit(400)
    except binascii.Error:
        raise Unfit(400) from None
    return base64.b64encode(hashlib.sha1(keys[0] + GUID, usedforsecurity=False).digest())


def websocket_scope(scope: dict[str, Any], target: bytes, socket: Socket) -> dict[str, Any]:
    """Return the WebSocket scope of a request that uvicorn gave the HTTP `scope` and the request target `target`."""
    raw_path, _, query = target.partition(b"?")
    offers = [value for name, value in scope["headers"] if name == b"sec-websocket-protocol"]
    return {
        "type": "websocket",
        "asgi": {"version": scope["asgi"]["version"], "spec_version": "2.4"},
        "http_version": scope["http_version"],
        "scheme": "wss" if scope["scheme"] == "https" else "ws",
        "server": scope["server"],
        "client": scope["client"],
        "root_path": scope["root_path"],
        "path": scope["root_path"] + unquote(raw_path.decode("latin-1")),
        "raw_path": scope["root_path"].encode() + raw_path,
        "query_string": query,
        "headers": scope["headers"],
        "subprotocols": [one.strip().decode("latin-1") for offer in offers for one in offer.split(b",") if one.strip()],
        "state": scope["state"],
        "extensions": {"websocket.http.response": {}, EXTENSION: socket},
    }


def switching(key: bytes, subprotocol: str | None) -> bytes:
    """Return the response that accepts a handshake (RFC 6455, 4.2.2), without further headers."""
    chosen = b"\r\nSec-WebSocket-Protocol: " + subprotocol.encode("latin-1") if subprotocol else b""
    return _SWITCHING + key + chosen + b"\r\n\r\n"


def response(status: int, headers: Headers, body: bytes = b"") -> bytes:
    """Return a response as it stands on the wire."""
    lines = [b"HTTP/1.1 %d %s" % (status, http.HTTPStatus(status).phrase.encode())]
    lines += [name + b": " + value for name, value in headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


class Handshake:
    """One handshake under way."""

    def __init__(self, socket: Socket, app: App, scope: dict[str, Any], target: bytes, key: bytes) -> None:
        """`key` is what `accept_key` returned."""
        self._socket = socket
        self._app = app
        self._key = key
        self._state = _CONNECT
        self._told_to_connect = False
        self._denial: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._gone = asyncio.Event()
        self.scope = websocket_scope(scope, target, socket)

    def lost(self) -> None:
        """The peer is gone."""
        self._gone.set()

    async def run(self) -> None:
        """Run the application; close the transport unless it has accepted and detached the socket."""
        try:
            await self._app(self.scope, self._receive, self._send)
        except asyncio.CancelledError:
            self._socket.transport.abort()
            raise
        except Exception:  # whatever the application raised, the peer gets a 500 and the log the reason
            log.exception("WebSocket endpoint failed")
        if self._socket.receiver is None:
            if self._state == _CONNECT:
                self._deny(500, [], b"")
            self._socket.transport.close()

    async def _receive(self) -> Message:
        if not self._told_to_connect:
            self._told_to_connect = True
            return {"type": "websocket.connect"}
        await self._gone.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if self._gone.is_set():
            raise OSError("the peer is gone")
        if self._state != _CONNECT:
            raise RuntimeError(f"{kind} after the handshake: a socket is to be detached")
        if kind == "websocket.accept":
            self._accept(message.get("subprotocol"), message.get("headers", ()))
        elif kind == "websocket.close":
            self._deny(403, [], b"")
        elif kind == "websocket.http.response.start":
            self._denial = (message["status"], list(message.get("headers", ())))
        elif kind == "websocket.http.response.body" and self._denial is not None:
            self._deny(*self._denial, message.get("body", b""))
        else:
            raise RuntimeError(f"{kind} is no answer to a handshake")

    def _accept(self, subprotocol: str | None, headers: Headers) -> None:
        answer = [
            (b"Upgrade", b"websocket"),
            (b"Connection", b"Upgrade"),
            (b"Sec-WebSocket-Accept", self._key),
            *headers,
        ]
        if subprotocol:
            answer.append((b"Sec-WebSocket-Protocol", subprotocol.encode("latin-1")))
        self._state = _ACCEPTED
        self._socket.transport.write(response(101, answer))

    def _deny(self, status: int, headers: Headers, body: bytes) -> None:
        self._state = _DENIED
        deny(self._socket.transport, status, headers, body)


def deny(transport: asyncio.Transport, status: int, headers: Headers, body: bytes = b"") -> None:
    """Write a refusal, which ends the connection."""
    kept = [(name, value) for name, value in headers if name.lower() not in (b"connection", b"content-length")]
    if not transport.is_closing():
        ending = [(b"Connection", b"close"), (b"Content-Length", b"%d" % len(body))]
        transport.write(response(status, [*kept, *ending], body))
        transport.close()
