"""The gateway's HTTP side: the page, its configuration, and the WebSocket endpoint."""

import random
import socket as sockets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI, Response, WebSocket
from fastapi.requests import HTTPConnection
from fastapi.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from chassis import logs
from chassis.app import VERSION
from chassis.lifecycle import Background
from gateway import metrics
from gateway.authentication import optional_identity, ticket_protocol
from gateway.connection import Connection
from gateway.identity import Identity
from gateway.parts import Parts
from gateway.settings import GatewaySettings
from gateway.socket import EXTENSION, Socket
from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF
from protocol.frames import Codec

log = logs.get(__name__)

JSON_PROTOCOL = "centrifuge-json"
PROTOBUF_PROTOCOL = "centrifuge-protobuf"
WEBSOCKET_PATH = "/connection/websocket"

router = APIRouter()


@router.websocket(WEBSOCKET_PATH)
async def connect(websocket: WebSocket, identity: Annotated[Identity | None, Depends(optional_identity)]) -> None:
    """Accept a client and detach it: from here on its `Connection` lives on the socket alone."""
    parts: Parts = websocket.app.state.parts
    background: Background = websocket.app.state.background
    settings = parts.settings
    if is_full(websocket):
        metrics.refused.labels("full").inc()
        await websocket.send_denial_response(Response("too many connections", 503, {"Retry-After": "5"}))
        return
    await websocket.accept(subprotocol=chosen_subprotocol(websocket.scope["subprotocols"], ticket_protocol(websocket)))
    socket: Socket = websocket.scope["extensions"][EXTENSION]
    bound_kernel_buffers(socket, settings)
    interval = settings.ping_seconds
    codec = chosen_codec(websocket.scope["subprotocols"], dict(websocket.query_params))
    ping_offset = random.uniform(interval / 2, interval)  # noqa: S311  # spreads pings, guards nothing
    socket.detach(Connection(socket, codec, parts, background, identity, ping_offset))


def is_full(connection: HTTPConnection) -> bool:
    """Tell whether this process holds as many connections as it may."""
    parts: Parts = connection.app.state.parts
    return Connection.open_count >= parts.settings.max_connections


def chosen_subprotocol(offered: list[str], ticket: str | None) -> str | None:
    """Return the subprotocol to answer with: JSON if offered, else the ticket's (browsers insist on one), else none."""
    return next((one for one in offered if one in (JSON_PROTOCOL, PROTOBUF_PROTOCOL)), ticket)


def chosen_codec(offered: list[str], query: dict[str, str]) -> Codec:
    """Return the encoding a client asks for, by subprotocol or by query; JSON when it does not say."""
    wanted = chosen_subprotocol(offered, None)
    if wanted is None and "protobuf" in (query.get("cf_protocol"), query.get("format")):
        wanted = PROTOBUF_PROTOCOL
    return PROTOBUF if wanted == PROTOBUF_PROTOCOL else JSON


def bound_kernel_buffers(socket: Socket, settings: GatewaySettings) -> None:
    """Let a peer that does not read be noticed: a small send buffer, and an end to unacknowledged bytes."""
    raw = socket.transport.get_extra_info("socket")
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDBUF, settings.send_buffer_bytes)
    raw.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, int(settings.unacknowledged_seconds * 1000))


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


def add_to(app: FastAPI, settings: GatewaySettings) -> None:
    """Add every endpoint to `app`; the page last, since it answers any path."""
    app.include_router(router)
    app.mount("/", Page(settings.web_dir, settings), name="page")
