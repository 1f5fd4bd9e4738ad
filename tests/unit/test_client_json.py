"""The JSON encoding: frames of several objects, what is left out, what is refused."""

import pytest
from msgspec import Raw

from protocol import client_json
from protocol.client import (
    ClientInfo,
    ConnectResult,
    Empty,
    Error,
    HistoryResult,
    PresenceResult,
    Publication,
    Push,
    Reply,
    RPCResult,
    SubscribeResult,
)


def test_a_frame_carries_commands_in_order() -> None:
    """Objects are separated by a newline, one trailing newline is allowed, unknown fields are ignored."""
    frame = b'{"id":1,"connect":{"token":"t","headers":{"a":"b"}}}\n{"id":2,"rpc":{"method":"echo","data":[1]}}\n'
    first, second = client_json.decode_frame(frame)
    assert first.connect is not None
    assert first.connect.token == "t"
    assert second.rpc is not None
    assert bytes(second.rpc.data or b"") == b"[1]"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\n",
        b"hello",
        b"[]",
        b"null",
        b"{",
        b'{"id":"1"}',
        b'{"id":1.5}',
        b'{"id":1,"rpc":{"method":1}}',
        b'{"id":NaN}',
        b'{"id":1}\n\n{"id":2}',
        b'{"id":1,"rpc":{"method":"\xff"}}',
        b'{"id":1,"rpc":{"data":' + b"[" * 60000,
        b'{"id":1,"rpc":{"method":"\\ud800"}}',
    ],
)
def test_what_is_no_command_is_a_bad_frame(frame: bytes) -> None:
    """Whatever cannot be decoded raises BadFrame and nothing else."""
    with pytest.raises(client_json.BadFrame):
        client_json.decode_frame(frame)


def test_an_empty_command_is_decoded() -> None:
    """A pong is an object with nothing in it."""
    assert client_json.decode_frame(b"{}")[0].id == 0


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(), b"{}"),
        (Reply(id=1, unsubscribe=Empty()), b'{"id":1,"unsubscribe":{}}'),
        (Reply(id=1, rpc=RPCResult()), b'{"id":1,"rpc":{}}'),
        (Reply(id=1, subscribe=SubscribeResult()), b'{"id":1,"subscribe":{}}'),
        (Reply(id=1, error=Error(100, "m", True)), b'{"id":1,"error":{"code":100,"message":"m","temporary":true}}'),
        (
            Reply(id=1, history=HistoryResult([], "", 0)),
            b'{"id":1,"history":{"publications":[],"epoch":"","offset":0}}',
        ),
        (Reply(id=1, presence=PresenceResult({})), b'{"id":1,"presence":{"presence":{}}}'),
        (
            Reply(push=Push("room:a", pub=Publication(Raw(b'{"a":1}'), ClientInfo("u", "c"), 3))),
            b'{"push":{"channel":"room:a","pub":{"data":{"a":1},"info":{"user":"u","client":"c"},"offset":3}}}',
        ),
        (Reply(id=1, connect=ConnectResult("c", "v")), b'{"id":1,"connect":{"client":"c","version":"v"}}'),
    ],
)
def test_replies_leave_out_what_is_empty(reply: Reply, text: bytes) -> None:
    """Zero, false and empty fields are left out, except those SDKs index; empty results stay as {}."""
    assert client_json.encode(reply) == text
