"""The JSON encoding: frames of several objects, what is left out, what is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from protocol import client_json
from protocol.client import (
    ClientInfo,
    ConnectResult,
    Disconnect,
    Empty,
    Error,
    HistoryResult,
    Join,
    Message,
    PresenceResult,
    Publication,
    Push,
    Refresh,
    Reply,
    RPCResult,
    SubRefreshResult,
    Subscribe,
    SubscribeRequest,
    SubscribeResult,
    Unreadable,
)
from protocol.frames import MOST_COMMANDS


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
        b'{"rpc":{"method":"\\ud800"}}',
        b'{"id":1,"rpc":{"data":"\xff"}}',
        b'{"id":-1}',
        b'{"id":4294967296}',
        b'{"id":1,"history":{"limit":2147483648}}',
        b'{"id":1,"subscribe":{"offset":-1}}',
        b"{}\n" * (MOST_COMMANDS + 1),
    ],
)
def test_what_is_no_command_is_a_bad_frame(frame: bytes) -> None:
    """Whatever cannot be decoded raises BadFrame and nothing else."""
    with pytest.raises(client_json.BadFrame):
        client_json.decode_frame(frame)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"a \\uDC00 b"', b'{"text":"\\ud83d"}'])
def test_half_a_character_makes_one_command_unreadable(text: bytes) -> None:
    """An unpaired surrogate spoils its own command, of which the id is known, and no other in the frame."""
    frame = b'{"id":1,"rpc":{"method":"echo","data":1}}\n{"id":2,"rpc":{"method":"echo","data":' + text + b"}}"
    first, second = client_json.decode_frame(frame)
    assert first.rpc is not None
    assert second == Unreadable(id=2)


def test_whole_characters_are_readable() -> None:
    """A pair of surrogates is a character like any other."""
    (command,) = client_json.decode_frame(b'{"id":1,"rpc":{"method":"echo","data":"\\ud83d\\ude00"}}')
    assert command.rpc is not None


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
        (Reply(id=1, sub_refresh=SubRefreshResult()), b'{"id":1,"sub_refresh":{}}'),
        (Reply(id=1, ping=Empty()), b'{"id":1,"ping":{}}'),
        (
            Reply(id=1, subscribe=SubscribeResult(expires=True, ttl=9, data=Raw(b"[]"), delta=True)),
            b'{"id":1,"subscribe":{"expires":true,"ttl":9,"data":[],"delta":true}}',
        ),
        (
            Reply(push=Push("a", pub=Publication(tags={"k": "v"}, delta=True, time=5, channel="b"))),
            b'{"push":{"channel":"a","pub":{"tags":{"k":"v"},"delta":true,"time":5,"channel":"b"}}}',
        ),
        (
            Reply(push=Push("a", join=Join(ClientInfo("", "", Raw(b"1"), Raw(b"2"))))),
            b'{"push":{"channel":"a","join":{"info":{"user":"","client":"","conn_info":1,"chan_info":2}}}}',
        ),
        (Reply(push=Push(message=Message(Raw(b"0")))), b'{"push":{"message":{"data":0}}}'),
        (Reply(push=Push(message=Message())), b'{"push":{"message":{}}}'),
        (
            Reply(push=Push("a", subscribe=Subscribe(True, "e", 2, True, Raw(b"{}")))),
            b'{"push":{"channel":"a","subscribe":{"recoverable":true,"epoch":"e","offset":2,"positioned":true,"data":{}}}}',
        ),
        (
            Reply(push=Push(disconnect=Disconnect(3000, "closed", True))),
            b'{"push":{"disconnect":{"code":3000,"reason":"closed","reconnect":true}}}',
        ),
        (Reply(push=Push(disconnect=Disconnect(0, ""))), b'{"push":{"disconnect":{"code":0,"reason":""}}}'),
        (Reply(push=Push(refresh=Refresh(True, 60))), b'{"push":{"refresh":{"expires":true,"ttl":60}}}'),
    ],
)
def test_replies_leave_out_what_is_empty(reply: Reply, text: bytes) -> None:
    """Zero, false and empty fields are left out, except those SDKs index; empty results stay as {}."""
    assert client_json.encode(reply) == text


def test_a_connect_carries_positions_and_headers() -> None:
    """What a client says of its server-side subscriptions and headers is read; absent fields are empty."""
    frame = b'{"id":1,"connect":{"subs":{"user:#1":{"recover":true,"epoch":"e","offset":5}},"headers":{"h":"1"}}}'
    connect = client_json.decode_frame(frame)[0].connect
    assert connect is not None
    assert connect.subs == {"user:#1": SubscribeRequest(recover=True, epoch="e", offset=5)}
    assert connect.headers == {"h": "1"}
    assert connect.flag == 0


def test_the_largest_numbers_pass() -> None:
    """Ids and offsets may use every bit that Protobuf gives them."""
    frame = b'{"id":4294967295,"subscribe":{"offset":18446744073709551615,"flag":-9223372036854775808}}'
    (command,) = client_json.decode_frame(frame)
    assert command.id == 2**32 - 1
    assert command.subscribe == SubscribeRequest(offset=2**64 - 1, flag=-(2**63))


def test_an_emulated_frame_is_taken_out() -> None:
    """A posted request holds a frame as a string; a frame as an object, or no text, is refused."""
    request = client_json.decode_emulation(b'{"node":"n","session":"s","data":"{\\"id\\":1}\\n{}"}')
    assert (request.node, request.session, bytes(request.data)) == ("n", "s", b'{"id":1}\n{}')
    for body in (b"", b"{}", b"[]", b'{"node":"n","data":{"id":1}}', b'{"node":"\xff","data":""}', b'{"data":"\xff"}'):
        with pytest.raises(client_json.BadFrame):
            client_json.decode_emulation(body)


@pytest.mark.parametrize(
    "data",
    [b"null", b'""', b" 1 ", b'{"a":[1,2.5e3,true]}', '"\u00e9\U0001f600"'.encode(), b'[\n1,\r\n"\\n"]\n', b"1e999"],
)
def test_a_value_is_json(data: bytes) -> None:
    """Any one value with whitespace around it, numbers of any size."""
    assert client_json.is_json(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"hello",
        b"1 2",
        b"{}{}",
        b"[1,]",
        b"01",
        b"NaN",
        b'"\xff"',
        b'{"\xff":1}',
        b'"\xed\xa0\x80"',
        b'"a\nb"',
        b'"\x00"',
        b'"\\ud800"',
        b"\xef\xbb\xbf1",
        b'"a',
        b"[" * 60000,
    ],
)
def test_a_value_is_not_json(data: bytes) -> None:
    """What a browser could not parse, or would end its connection for, subscribers in JSON are not given."""
    assert not client_json.is_json(data)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@settings(deadline=None)
@given(VALUES.filter(lambda value: "\\ud" not in json.dumps(value)), st.sampled_from([None, 0, 2]), st.booleans())
def test_compacting_changes_nothing_but_lines(value: object, indent: int | None, ascii_only: bool) -> None:
    """Any JSON is recognised, and compacted it is one line of the same meaning."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only).encode()
    assert client_json.is_json(text)
    one_line = client_json.compact(text)
    assert b"\n" not in one_line
    assert json.loads(one_line) == value
    assert len(one_line) == len(text)


def test_compacting_keeps_how_numbers_are_written() -> None:
    """More digits than a float has are kept, since nothing is parsed; one line stays the same object."""
    assert client_json.compact(b"[\n1.00000000000000000001,\n1e999]") == b"[ 1.00000000000000000001, 1e999]"
    line = b'{"a":1}'
    assert client_json.compact(line) is line


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_garbage_is_decoded_or_refused(data: bytes) -> None:
    """Whatever bytes arrive, the only exception is BadFrame, and what is called JSON is."""
    for decode in (client_json.decode_frame, client_json.decode_emulation):
        try:
            decode(data)
        except client_json.BadFrame:
            pass
    if client_json.is_json(data):
        json.loads(data)
