"""The Protobuf encoding, held against the messages that centrifuge-python was generated with."""

import io
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from centrifuge.protocol import client_pb2
from google.protobuf.message import Message
from google.protobuf.proto import serialize_length_prefixed
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw, Struct

from protocol import client
from protocol.client import (
    REQUESTS,
    ClientInfo,
    Command,
    ConnectResult,
    Empty,
    Error,
    HistoryRequest,
    Publication,
    Push,
    RefreshResult,
    Reply,
    RPCRequest,
    SubscribeRequest,
    SubscribeResult,
)
from protocol.client_protobuf import _MESSAGES, NUMBERS, PING, PROTOBUF, decode_emulation, decode_frame, encode, join
from protocol.frames import MOST_COMMANDS, BadFrame

NOT_SPOKEN = {
    "Push": {"id", "connect"},  # compaction; for transports of one direction
    "SubscribeRequest": {"tf"},
    "SubscribeResult": {"id"},
}
"""Fields of the generated messages that we leave out."""

BOUNDS = {client.Uint32: (0, 2**32), client.Uint64: (0, 2**64), client.Int32: (-(2**31), 2**31)}
BOUNDS[client.Int64] = (-(2**63), 2**63)
SCALARS = {hint: st.integers(low, above - 1) for hint, (low, above) in BOUNDS.items()} | {
    bool: st.booleans(),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
    Raw: st.binary(max_size=9).map(Raw),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field."""
    container, inner = get_origin(hint), get_args(hint)
    if hint in SCALARS:
        return SCALARS[hint]
    if container is list:
        return st.lists(values(inner[0]), max_size=3)
    if container is dict:
        return st.dictionaries(values(str), values(inner[1]), max_size=3)
    if inner:
        return st.none() | values(inner[0])
    return structs(hint)


@cache
def structs(kind: type[Struct]) -> st.SearchStrategy[Any]:
    """Any struct of a type."""
    return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind, include_extras=True).items()})


def fill(message: Any, struct: Struct) -> None:
    """Copy `struct` into a generated message, field by field."""
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, Struct):
            getattr(message, name).SetInParent()
            fill(getattr(message, name), value)
        elif isinstance(value, list):
            for one in value:
                fill(getattr(message, name).add(), one)
        elif isinstance(value, dict):
            for key, one in value.items():
                if isinstance(one, Struct):
                    fill(getattr(message, name)[key], one)
                else:
                    getattr(message, name)[key] = one
        elif value is not None:
            setattr(message, name, bytes(value) if isinstance(value, Raw) else value)


def framed(*messages: Message) -> bytes:
    """A frame as Protobuf's own library writes one."""
    frame = io.BytesIO()
    for message in messages:
        serialize_length_prefixed(message, frame)
    return frame.getvalue()


def generated(kind: type[Message], struct: Struct) -> Any:
    """`struct` as a generated message."""
    message = kind()
    fill(message, struct)
    return message


def test_every_field_has_the_number_and_type_of_the_protocol() -> None:
    """Nothing is left out but what is named here, and our messages differ from the generated ones in nothing else."""
    for struct in NUMBERS:
        ours = _MESSAGES[struct.__name__].DESCRIPTOR.fields_by_name
        name = "PublishResult" if struct is Empty else struct.__name__
        theirs = client_pb2.DESCRIPTOR.message_types_by_name[name].fields_by_name
        assert set(ours) == set(NUMBERS[struct]) == set(theirs) - NOT_SPOKEN.get(name, set()), name
        for field in ours:
            for fact in ("number", "type", "is_repeated"):
                assert getattr(ours[field], fact) == getattr(theirs[field], fact), (name, field, fact)


def test_every_type_is_in_the_table() -> None:
    """A type that is added to the protocol cannot be forgotten here."""
    types = {value for value in vars(client).values() if isinstance(value, type) and issubclass(value, Struct)}
    assert types - {Struct, client.Unreadable} == set(NUMBERS)  # the latter never travels


@pytest.mark.parametrize(
    ("kind", "name"),
    [(Reply, name) for name in Reply.__struct_fields__ if name not in ("id", "push")]
    + [(Push, name) for name in Push.__struct_fields__ if name != "channel"],
)
@settings(deadline=None, max_examples=25)
@given(st.data())
def test_every_reply_is_read_by_the_generated_messages(kind: type[Struct], name: str, data: st.DataObject) -> None:
    """Each result, error and push, whatever its fields hold, is what the generated code would have sent."""
    content = data.draw(values(get_type_hints(kind, include_extras=True)[name]).filter(lambda value: value is not None))
    if kind is Push:
        reply = Reply(push=Push(channel=data.draw(values(str)), **{name: content}))
    else:
        reply = Reply(id=data.draw(values(client.Uint32)), **{name: content})
    expected = generated(client_pb2.Reply, reply)
    frame = encode(reply)
    assert len(frame) == len(framed(expected))
    received = client_pb2.Reply.FromString(frame[len(frame) - expected.ByteSize() :])
    assert received == expected
    assert (received.push if kind is Push else received).HasField(name)


@settings(deadline=None, max_examples=50)
@given(st.lists(structs(Command), min_size=1, max_size=3))
def test_any_commands_arrive_in_order(commands: list[Command]) -> None:
    """What the generated code sends in one frame is decoded to the same commands."""
    assert decode_frame(framed(*(generated(client_pb2.Command, command) for command in commands))) == commands


@pytest.mark.parametrize("name", REQUESTS)
@settings(deadline=None, max_examples=25)
@given(st.data())
def test_every_kind_of_request_arrives(name: str, data: st.DataObject) -> None:
    """Each request, also an empty one, is decoded as what was sent and as nothing else."""
    kind = get_args(get_type_hints(Command, include_extras=True)[name])[0]
    command = Command(id=1, **{name: data.draw(structs(kind))})
    assert decode_frame(framed(generated(client_pb2.Command, command))) == [command]


def test_a_reply_alone_is_a_frame() -> None:
    """What is encoded carries its length; joined replies follow each other."""
    first, second = Reply(id=1, publish=Empty()), Reply(push=Push("a", pub=Publication(Raw(b"x" * 300))))
    expected = framed(generated(client_pb2.Reply, first), generated(client_pb2.Reply, second))
    assert join([encode(first), encode(second)]) == expected
    assert join([encode(second)]) == encode(second)


def test_a_ping_is_a_message_of_no_length() -> None:
    """A reply with nothing in it is one zero byte, and so is the pong of a client."""
    assert encode(Reply()) == PING == PROTOBUF.ping == b"\0"
    assert decode_frame(b"\0") == [Command()]


def test_a_publication_is_encoded_as_the_table_says() -> None:
    """The faster way of publications leaves out and puts in what the general way does."""
    publication = Publication(
        Raw(b"{}"), ClientInfo("u", "c", Raw(b"1"), Raw(b"2")), 2**64 - 1, {"k": "v"}, True, 2**63 - 1, "a"
    )
    for pub in (publication, Publication(), Publication(info=ClientInfo("", "")), Publication(time=-1)):
        history = client.HistoryResult([pub], "", 0)
        for reply in (Reply(push=Push("a", pub=pub)), Reply(id=1, history=history)):
            assert encode(reply) == framed(generated(client_pb2.Reply, reply))


@pytest.mark.parametrize("data", [b"not json", b"\x00\xff\n", b'{"a":\n1}', bytes(range(256))])
def test_any_bytes_survive(data: bytes) -> None:
    """Data of the application is neither looked into nor changed, in either direction."""
    (command,) = decode_frame(framed(client_pb2.Command(id=1, rpc={"method": "echo", "data": data})))
    assert command == Command(id=1, rpc=RPCRequest("echo", Raw(data)))
    assert command.rpc is not None
    reply = Reply(id=1, rpc=client.RPCResult(command.rpc.data))
    assert encode(reply) == framed(client_pb2.Reply(id=1, rpc={"data": data}))


def test_what_a_newer_client_adds_is_ignored() -> None:
    """Unknown fields are passed over, at the top, within a request, and with any kind of value."""
    inner = b"\x0a\x01a" + b"\xc2\x3e\x03abc" + b"\xc8\x3e\x01" + b"\xd5\x3e1234" + b"\xd9\x3e12345678"
    message = b"\x08\x07" + b"\xca\x3e\x00" + b"\x2a" + bytes([len(inner)]) + inner
    assert decode_frame(bytes([len(message)]) + message) == [Command(id=7, subscribe=SubscribeRequest(channel="a"))]
    filtered = client_pb2.SubscribeRequest(channel="a", tf={"op": "and", "nodes": [{"key": "k"}]})
    assert decode_frame(framed(client_pb2.Command(subscribe=filtered))) == [
        Command(subscribe=SubscribeRequest(channel="a"))
    ]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"hello",
        b'{"id":1}',
        b"\x80",
        b"\x05",
        b"\x02\x08",
        b"\x02\x08\x01\x05",
        b"\xff" * 12,
        b"\xff" * 9 + b"\x01",
        b"\x80\x80\x80\x80\x10",
        b"\x04\x6a\x02\x08\x01\x01",
        b"\x05\x6a\x03\x12\x01\xff",
        b"\x01\x0b" + b"\x0b" * 500,
        b"\xf4\x03" + b"\x0b" * 500,
        b"\x02\x0f\x00",
        b"\0" * (MOST_COMMANDS + 1),
    ],
)
def test_what_is_no_command_is_a_bad_frame(frame: bytes) -> None:
    """Nothing, too much, cut short, of a wrong kind, of an absurd length or depth: BadFrame and nothing else."""
    with pytest.raises(BadFrame):
        decode_frame(frame)


@settings(deadline=None, max_examples=500)
@given(st.binary(max_size=60), st.sampled_from([decode_frame, decode_emulation]))
def test_garbage_is_decoded_or_refused(frame: bytes, decode: Callable[[bytes], object]) -> None:
    """Whatever bytes arrive, the only exception is BadFrame."""
    try:
        decode(frame)
    except BadFrame:
        pass


@settings(deadline=None, max_examples=50)
@given(structs(Command), st.data())
def test_a_frame_cut_short_is_refused(command: Command, data: st.DataObject) -> None:
    """Half a message is no message."""
    frame = framed(client_pb2.Command(id=1), generated(client_pb2.Command, command))
    with pytest.raises(BadFrame):
        decode_frame(frame[: data.draw(st.integers(0, len(frame) - 1).filter(lambda length: length != 3))])


def test_numbers_reach_their_limits_and_no_further() -> None:
    """The largest of each kind passes; above it we raise rather than send another number."""
    widest = HistoryRequest("a", -(2**31), client.StreamPosition(2**64 - 1, ""))
    command = Command(id=2**32 - 1, history=widest)
    assert decode_frame(framed(generated(client_pb2.Command, command))) == [command]
    for reply in (
        Reply(id=2**32),
        Reply(id=-1),
        Reply(refresh=RefreshResult("c", "v", True, -1)),
        Reply(push=Push("a", pub=Publication(offset=2**64))),
        Reply(push=Push("a", pub=Publication(time=2**63))),
    ):
        with pytest.raises(ValueError, match="range"):
            encode(reply)


def test_a_connection_begins() -> None:
    """A connect as SDKs send it, positions and headers included, and its answer."""
    sent = client_pb2.Command(id=1, connect={"token": "t", "name": "dart", "headers": {"h": "1"}})
    sent.connect.subs["user:#1"].recover = True
    sent.connect.subs["user:#1"].offset = 5
    (command,) = decode_frame(framed(sent))
    assert command.connect == client.ConnectRequest(
        token="t", name="dart", headers={"h": "1"}, subs={"user:#1": SubscribeRequest(recover=True, offset=5)}
    )
    subs = {"user:#1": SubscribeResult(epoch="e", offset=5, recovered=True)}
    frame = encode(Reply(id=1, connect=ConnectResult("c", "v", subs=subs, ping=25, pong=True)))
    answer = client_pb2.Reply.FromString(frame[1:])
    assert answer.connect.subs["user:#1"].offset == 5
    assert (answer.connect.ping, answer.connect.pong) == (25, True)


def test_an_error_is_an_answer() -> None:
    """A refusal carries the id, the code, the message and whether to try again."""
    frame = encode(Reply(id=3, error=Error(503, "away", True)))
    assert frame == framed(client_pb2.Reply(id=3, error={"code": 503, "message": "away", "temporary": True}))


def test_an_emulated_frame_is_taken_out() -> None:
    """A posted request is one message without a length, and holds a frame."""
    inner = framed(client_pb2.Command(id=1), client_pb2.Command(id=2))
    body = client_pb2.EmulationRequest(node="n", session="s", data=inner).SerializeToString()
    request = decode_emulation(body)
    assert (request.node, request.session) == ("n", "s")
    assert [command.id for command in decode_frame(bytes(request.data))] == [1, 2]
    with pytest.raises(BadFrame):
        decode_emulation(body[:-1])
