"""Handshakes that show no credentials, answered below ASGI (ADR 18).

SDKs prove who they are in their connect command, so nearly every handshake asks nothing but whether there is room. What
shows a credential, comes from another origin, or asks for anything unusual takes the way of every request, through the
FastAPI dependency in `authentication.py`; so does everybody while this process is full or on its way out.
"""

from typing import Any
from urllib.parse import parse_qsl

from chassis.addresses import Proxies
from gateway.connection import Connection
from gateway.drain import Drain
from gateway.endpoints import WEBSOCKET_PATH, bound_kernel_buffers, chosen_codec, chosen_subprotocol, connection_on
from gateway.handshake import switching
from gateway.settings import GatewaySettings
from gateway.socket import Socket
from protocol.frames import Codec

PATH = WEBSOCKET_PATH.encode()
_CREDENTIALS = (b"authorization", b"cookie")
_UNUSUAL = b"ticket"
"""In the query or as a subprotocol: a ticket is a credential."""

Headers = list[tuple[bytes, bytes]]


def plain(target: bytes, headers: Headers, origins: frozenset[str]) -> tuple[Codec, str | None] | None:
    """Return encoding and subprotocol of a handshake without credentials (pure); None when it has to be looked at.

    `target` is the request's target, `origins` are the pages that may call us.
    """
    path, _, query = target.partition(b"?")
    if path != PATH or _UNUSUAL in query or b"%" in query:
        return None
    offered: list[str] = []
    for name, value in headers:
        if name in _CREDENTIALS:
            return None
        if name == b"origin" and value.decode("latin-1") not in origins:
            return None
        if name == b"sec-websocket-protocol":
            if _UNUSUAL in value:
                return None
            offered += [one.strip().decode("latin-1") for one in value.split(b",") if one.strip()]
    asked = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    return chosen_codec(offered, asked), chosen_subprotocol(offered, None)


class Doorman:
    """Lets in who shows no credentials and is to prove itself by its connect command."""

    def __init__(self, settings: GatewaySettings, drain: Drain) -> None:
        self._settings = settings
        self._drain = drain
        self._origins = frozenset(settings.origins)
        self._proxies = Proxies(settings.forwarded_allow_ips)

    def admit(
        self, socket: Socket, key: bytes, target: bytes, headers: Headers, peer: str, port: int, state: Any
    ) -> bool:
        """Accept a handshake and detach its socket; False when it has to be looked at. `key` answers the client's.

        `peer` is the address it came from, `port` the one it came in on, `state` what the application holds.
        """
        settings = self._settings
        if self._drain.refusing or port == settings.gateway_internal_port:
            return False
        if len(Connection.everyone) >= settings.max_connections:
            return False
        found = plain(target, headers, self._origins)
        if found is None:
            return False
        address = self._proxies.caller(peer, headers)
        if state.parts.strangers.full(address):
            return False
        codec, subprotocol = found
        socket.take_over()
        socket.transport.write(switching(key, subprotocol))
        bound_kernel_buffers(socket.transport, settings)
        socket.detach(connection_on(socket, codec, state, None, address))
        return True
