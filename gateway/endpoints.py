"""The gateway's HTTP side: the page, its configuration, and the endpoints that clients connect to."""

import asyncio
import random
import socket as sockets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import logs
from chassis.addresses import network
from chassis.app import VERSION, Problem, problem_response
from chassis.bus import TooLarge, Unavailable
from gateway import metrics
from gateway.authentication import allowed_origin, optional_identity, ticket_protocol
from gateway.connection import Connection
from gateway.drain import Drain
from gateway.emulation import Emulation, Gone
from gateway.identity import Identity
from gateway.parts import Parts
from gateway.settings import GatewaySettings
from gateway.socket import EXTENSION, Socket
from gateway.streaming import EVENTS, JSON_LINES, PROTOBUF_MESSAGES, Form, Http
from gateway.streaming import EXTENSION as HTTP_EXTENSION
from gateway.wire import Wire
from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF
from protocol.frames import BadFrame, Codec

log = logs.get(__name__)

JSON_PROTOCOL = "centrifuge-json"
PROTOBUF_PROTOCOL = "centrifuge-protobuf"
PROTOBUF_TYPE = "application/octet-stream"
CONNECT_PATHS = "/connection/"
WEBSOCKET_PATH = "/connection/websocket"
MAX_BODY = 65536
"""Bytes of a posted frame, as on a WebSocket (`chassis/server.py`)."""
STREAM_HEADERS = {
    "Cache-Control": "private, no-cache, no-store, no-transform",  # whoever transforms, waits for more
    "Connection": "close",
    "X-Accel-Buffering": "no",  # nginx
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter()


@router.websocket(WEBSOCKET_PATH)
async def connect(websocket: WebSocket, identity: Annotated[Identity | None, Depends(optional_identity)]) -> None:
    """Accept a client and detach it: from here on its `Connection` lives on the socket alone."""
    parts: Parts = websocket.app.state.parts
    settings = parts.settings
    address = address_of(websocket)
    why = no_place(parts, identity, address)
    if why:
        metrics.refused.labels(why).inc()
        await websocket.send_denial_response(Response("too many connections", 503, {"Retry-After": "5"}))
        return
    await websocket.accept(subprotocol=chosen_subprotocol(websocket.scope["subprotocols"], ticket_protocol(websocket)))
    socket: Socket = websocket.scope["extensions"][EXTENSION]
    bound_kernel_buffers(socket.transport, settings)
    codec = chosen_codec(websocket.scope["subprotocols"], dict(websocket.query_params))
    socket.detach(connection_on(socket, codec, websocket.app.state, identity, address))


def connection_on(wire: Wire, codec: Codec, state: State, identity: Identity | None, address: str) -> Connection:
    """Return a new connection that writes to `wire`; `state` is what the application holds, `address` whose it is."""
    interval = state.parts.settings.ping_seconds
    ping_offset = random.uniform(interval / 2, interval)  # noqa: S311  # spreads pings, guards nothing
    return Connection(wire, codec, state.parts, state.background, identity, address, ping_offset)


def address_of(connection: HTTPConnection) -> str:
    """Return the network that a request comes from; uvicorn has believed those proxies that may be."""
    return network(connection.client.host) if connection.client else network("")


def no_place(parts: Parts, identity: Identity | None, address: str) -> str:
    """Return why there is no place for a newcomer, in the metric's words: in this process, or for its address unless
    it has shown a credential. Empty when there is one."""
    if len(Connection.everyone) >= parts.settings.max_connections:
        return "full"
    return "strangers" if identity is None and parts.strangers.full(address) else ""


def chosen_subprotocol(offered: list[str], ticket: str | None) -> str | None:
    """Return the subprotocol to answer with: JSON if offered, else the ticket's (browsers insist on one), else none."""
    return next((one for one in offered if one in (JSON_PROTOCOL, PROTOBUF_PROTOCOL)), ticket)


def chosen_codec(offered: list[str], query: dict[str, str]) -> Codec:
    """Return the encoding a client asks for, by subprotocol or by query; JSON when it does not say."""
    wanted = chosen_subprotocol(offered, None)
    if wanted is None and "protobuf" in (query.get("cf_protocol"), query.get("format")):
        wanted = PROTOBUF_PROTOCOL
    return PROTOBUF if wanted == PROTOBUF_PROTOCOL else JSON


def posted_codec(request: Request) -> Codec:
    """Return the encoding of a request's body: by its Content-Type, or by the query as a WebSocket's."""
    is_protobuf = request.headers.get("content-type", "").partition(";")[0].strip().lower() == PROTOBUF_TYPE
    return PROTOBUF if is_protobuf else chosen_codec([], dict(request.query_params))


def bound_kernel_buffers(transport: asyncio.Transport, settings: GatewaySettings) -> None:
    """Let a peer that does not read be noticed: a small send buffer, and an end to unacknowledged bytes."""
    raw = transport.get_extra_info("socket")
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, settings.send_buffer_bytes)
    raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, int(settings.unacknowledged_seconds * 1000))


@router.post("/connection/http_stream", include_in_schema=False)
async def http_stream(
    request: Request, identity: Annotated[Identity | None, Depends(optional_identity)]
) -> "StreamResponse":
    """Take a connect command as the body, and answer with replies for as long as the connection lasts."""
    codec = posted_codec(request)
    frame = await read_body(request)
    return StreamResponse(request, identity, codec, JSON_LINES if codec is JSON else PROTOBUF_MESSAGES, frame)


@router.get("/connection/sse", include_in_schema=False)
async def sse(
    request: Request, identity: Annotated[Identity | None, Depends(optional_identity)], cf_connect: str = ""
) -> "StreamResponse":
    """Do the same for an EventSource, which can send nothing but an address (uvicorn takes less than 64 KiB of it)."""
    if not cf_connect:
        raise Problem(400, "bad_request", "cf_connect is missing: the connect command in JSON")
    return StreamResponse(request, identity, JSON, EVENTS, cf_connect.encode())


@router.post("/emulation", include_in_schema=False, dependencies=[Depends(allowed_origin)])
async def emulate(request: Request) -> Response:
    """Take a frame for a connection whose replies are streamed, wherever its stream is."""
    codec = posted_codec(request)
    emulation: Emulation = request.app.state.emulation
    try:
        posted = codec.decode_emulation(await read_body(request))
        await emulation.deliver(posted.node, posted.session, bytes(posted.data), text=codec.text)
    except BadFrame:
        raise Problem(400, "bad_request", "the body is no request of this encoding") from None
    except Gone:
        raise Problem(404, "not_found", "no such session; connect again") from None
    except TooLarge:
        raise Problem(413, "too_large", "the frame is too large") from None
    except Unavailable:
        raise Problem(503, "unavailable", "the process that holds the session does not answer", 1) from None
    return Response(status_code=204)


async def read_body(request: Request) -> bytes:
    """Return the body of a request, which may be neither large nor slow."""
    settings: GatewaySettings = request.app.state.parts.settings
    body = bytearray()
    try:
        async with asyncio.timeout(settings.connect_seconds):
            async for piece in request.stream():
                body += piece
                if len(body) > MAX_BODY:
                    raise Problem(413, "too_large", f"a body has at most {MAX_BODY} bytes")
    except TimeoutError:
        raise Problem(408, "too_slow", "the body did not come in time") from None
    except ClientDisconnect:
        raise Problem(400, "bad_request", "the body was cut short") from None
    return bytes(body)


class StreamResponse(Response):
    """A response that is a connection: it ends when the connection does."""

    def __init__(self, request: Request, identity: Identity | None, codec: Codec, form: Form, frame: bytes) -> None:
        """`frame` is what the client sent with the request."""
        super().__init__(headers=STREAM_HEADERS, media_type=form.media_type)
        del self.headers["content-length"]
        self._request = request
        self._identity = identity
        self._codec = codec
        self._form = form
        self._frame = frame

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Write the headers, then leave the rest to a `Connection` until that ends."""
        http: Http = scope["extensions"][HTTP_EXTENSION]
        address = address_of(self._request)
        why = no_place(self._request.app.state.parts, self._identity, address)
        stream = None if why else http.begin(self._codec, self._form)
        if stream is None:
            metrics.refused.labels(why or "unavailable").inc()
            refusal = Response("no connection now", 503, {"Retry-After": "5", "Connection": "close"})
            await refusal(scope, receive, send)
            return
        state = self._request.app.state
        bound_kernel_buffers(http.transport, state.parts.settings)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        connection = connection_on(stream, self._codec, state, self._identity, address)
        emulation: Emulation = state.emulation
        emulation.enter(connection.secret, connection)
        by_us = False
        try:
            stream.attach(connection)
            connection.frame_received(self._frame, self._codec.text)
            by_us = await stream.over()
        finally:
            emulation.leave(connection.secret, by_us=by_us)
        if by_us:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class Door:
    """ASGI middleware: newcomers are refused once `drain` says so, before a ticket of theirs is used up."""

    def __init__(self, app: ASGIApp, drain: Drain) -> None:
        self.app = app
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let in, or answer 503: a load balancer may send them elsewhere, and SDKs try again."""
        if not (self._drain.refusing and scope["type"] != "lifespan" and scope["path"].startswith(CONNECT_PATHS)):
            await self.app(scope, receive, send)
            return
        metrics.refused.labels("draining").inc()
        refusal = problem_response(503, "shutting_down", "this process is being stopped; connect again", 1)
        refusal.headers["Connection"] = "close"
        await refusal(scope, receive, send)


@router.get("/config.json", include_in_schema=False)
async def config(connection: HTTPConnection) -> dict[str, str]:
    """Tell the page where the services are, so that one origin behind an ingress and three ports both work."""
    settings: GatewaySettings = connection.app.state.parts.settings
    websocket_url = settings.public_websocket_url or WEBSOCKET_PATH
    return {"auth_url": settings.auth_url, "websocket_url": websocket_url, "version": VERSION}


class Page:
    """The built page as static files, under a strict content security policy."""

    def __init__(self, directory: Path, settings: GatewaySettings) -> None:
        self._files = StaticFiles(directory=directory, html=True, check_dir=False)
        policy = content_security_policy(settings)
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one file."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._files(scope, receive, with_headers)


def content_security_policy(settings: GatewaySettings) -> str:
    """Return the policy: everything from here, connections to the auth service and to the WebSocket as well."""
    connect = ["'self'"]
    for url in (settings.auth_url, settings.public_websocket_url):
        parts = urlsplit(url)
        if parts.scheme:
            connect.append(f"{parts.scheme}://{parts.netloc}")
    # 'self' covers ws: of the same origin in current browsers only; older ones need it spelled out.
    connect += [origin.replace("http", "ws", 1) for origin in settings.origins]
    return (
        f"default-src 'self'; connect-src {' '.join(connect)}; object-src 'none'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def add_to(app: FastAPI, settings: GatewaySettings, drain: Drain) -> None:
    """Add every endpoint to `app`; the page last, since it answers any path."""
    # Innermost, so that its answers are logged and carry the CORS headers too.
    app.user_middleware.append(Middleware(Door, drain=drain))
    app.include_router(router)
    app.mount("/", Page(settings.web_dir, settings), name="page")
