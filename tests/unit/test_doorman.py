"""Which handshakes are answered below ASGI: those without credentials, and only those."""

import pytest

from gateway.doorman import plain
from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF

PATH = b"/connection/websocket"
ORIGINS = frozenset({"https://app.example.com"})
HOST = (b"host", b"chat.example.com")


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (PATH, [], (JSON, None)),
        (PATH, [(b"origin", b"https://app.example.com")], (JSON, None)),
        (PATH, [(b"sec-websocket-protocol", b"centrifuge-json")], (JSON, "centrifuge-json")),
        (PATH, [(b"sec-websocket-protocol", b"other, centrifuge-protobuf")], (PROTOBUF, "centrifuge-protobuf")),
        (PATH, [(b"sec-websocket-protocol", b"")], (JSON, None)),
        (PATH + b"?cf_protocol=protobuf", [], (PROTOBUF, None)),
        (PATH + b"?format=protobuf&cf_ws_frame_ping_pong=true", [], (PROTOBUF, None)),
        (PATH + b"?anything=else", [], (JSON, None)),
    ],
)
def test_without_credentials_it_is_answered(
    target: bytes, headers: list[tuple[bytes, bytes]], expected: object
) -> None:
    """Encoding and subprotocol are chosen as the endpoint chooses them."""
    assert plain(target, [HOST, *headers], ORIGINS) == expected


@pytest.mark.parametrize(
    ("target", "headers"),
    [
        (PATH, [(b"authorization", b"Bearer x")]),
        (PATH, [(b"authorization", b"")]),
        (PATH, [(b"cookie", b"parley_token=x")]),
        (PATH, [(b"cookie", b"theme=dark")]),
        (PATH + b"?ticket=x", []),
        (PATH + b"?a=b&ticket=x", []),
        (PATH + b"?%74icket=x", []),
        (PATH, [(b"sec-websocket-protocol", b"ticket.x, centrifuge-json")]),
        (PATH, [(b"sec-websocket-protocol", b"centrifuge-json"), (b"sec-websocket-protocol", b"ticket.x")]),
        (PATH, [(b"origin", b"https://evil.example.com")]),
        (PATH, [(b"origin", b"https://app.example.com.evil.com")]),
        (PATH, [(b"origin", b"HTTPS://APP.EXAMPLE.COM")]),
        (PATH, [(b"origin", b"null")]),
        (PATH, [(b"origin", b"")]),
        (PATH, [(b"origin", b"https://app.example.com"), (b"origin", b"https://evil.example.com")]),
        (b"/connection/websocket/", []),
        (b"//connection/websocket", []),
        (b"/connection/%77ebsocket", []),
        (b"/Connection/websocket", []),
        (b"/connection/sse", []),
        (b"http://chat.example.com/connection/websocket", []),
    ],
)
def test_everything_else_is_looked_at(target: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    """A credential, a foreign origin or an unusual address takes the way through the dependency."""
    assert plain(target, [HOST, *headers], ORIGINS) is None
