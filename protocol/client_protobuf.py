"""The Protobuf encoding of the client protocol: binary frames of messages, each behind its length as a varint.

The messages are built from the types of `client.py` and the numbers below, when this module is loaded; Protobuf's own
library (upb, in C) reads and writes them. A zero, false or empty field is no field, as in JSON; a struct with nothing
in it is there.
"""

import io
from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Any, Final, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClassesForFiles
from google.protobuf.proto import parse_length_prefixed
from msgspec import Raw, Struct
from msgspec.structs import astuple

from protocol import client
from protocol.client import Command, EmulationRequest, Publication, Reply
from protocol.frames import MOST_COMMANDS, BadFrame, Codec

__all__ = ["NUMBERS", "PING", "PROTOBUF", "BadFrame", "decode_emulation", "decode_frame", "encode", "join"]

NUMBERS: Final[dict[type[Struct], dict[str, int]]] = {
    client.Error: {"code": 1, "message": 2, "temporary": 3},
    client.Command: {"id": 1}
    | {"connect": 4, "subscribe": 5, "unsubscribe": 6, "publish": 7, "presence": 8, "presence_stats": 9}
    | {"history": 10, "ping": 11, "send": 12, "rpc": 13, "refresh": 14, "sub_refresh": 15},
    client.Reply: {"id": 1, "error": 2, "push": 4}
    | {"connect": 5, "subscribe": 6, "unsubscribe": 7, "publish": 8, "presence": 9, "presence_stats": 10}
    | {"history": 11, "ping": 12, "rpc": 13, "refresh": 14, "sub_refresh": 15},
    client.Push: {"channel": 2, "pub": 4, "join": 5, "leave": 6, "unsubscribe": 7}
    | {"message": 8, "subscribe": 9, "disconnect": 11, "refresh": 12},
    client.ClientInfo: {"user": 1, "client": 2, "conn_info": 3, "chan_info": 4},
    client.Publication: {"data": 4, "info": 5, "offset": 6, "tags": 7, "delta": 8, "time": 9, "channel": 10},
    client.Join: {"info": 1},
    client.Leave: {"info": 1},
    client.Unsubscribe: {"code": 2, "reason": 3},
    client.Subscribe: {"recoverable": 1, "epoch": 4, "offset": 5, "positioned": 6, "data": 7},
    client.Message: {"data": 1},
    client.Disconnect: {"code": 1, "reason": 2, "reconnect": 3},
    client.Refresh: {"expires": 1, "ttl": 2},
    client.ConnectRequest: {"token": 1, "data": 2, "subs": 3, "name": 4, "version": 5, "headers": 6, "flag": 7},
    client.ConnectResult: {"client": 1, "version": 2, "expires": 3, "ttl": 4, "data": 5, "subs": 6, "ping": 7}
    | {"pong": 8, "session": 9, "node": 10, "time": 11},
    client.RefreshRequest: {"token": 1},
    client.RefreshResult: {"client": 1, "version": 2, "expires": 3, "ttl": 4},
    client.SubscribeRequest: {"channel": 1, "token": 2, "recover": 3, "epoch": 6, "offset": 7, "data": 8}
    | {"positioned": 9, "recoverable": 10, "join_leave": 11, "delta": 12, "flag": 14},
    client.SubscribeResult: {"expires": 1, "ttl": 2, "recoverable": 3, "epoch": 6, "publications": 7, "recovered": 8}
    | {"offset": 9, "positioned": 10, "data": 11, "was_recovering": 12, "delta": 13},
    client.SubRefreshRequest: {"channel": 1, "token": 2},
    client.SubRefreshResult: {"expires": 1, "ttl": 2},
    client.UnsubscribeRequest: {"channel": 1},
    client.PublishRequest: {"channel": 1, "data": 2},
    client.PresenceRequest: {"channel": 1},
    client.PresenceResult: {"presence": 1},
    client.PresenceStatsRequest: {"channel": 1},
    client.PresenceStatsResult: {"num_clients": 1, "num_users": 2},
    client.StreamPosition: {"offset": 1, "epoch": 2},
    client.HistoryRequest: {"channel": 1, "limit": 7, "since": 8, "reverse": 9},
    client.HistoryResult: {"publications": 1, "epoch": 2, "offset": 3},
    client.PingRequest: {},
    client.RPCRequest: {"data": 1, "method": 2},
    client.RPCResult: {"data": 1},
    client.SendRequest: {"data": 1},
    client.Empty: {},
    client.EmulationRequest: {"node": 1, "session": 2, "data": 3},
}
"""The number of each field of each type; facts of the protocol, and never to change."""

_SCALARS: Final[dict[Any, "FieldDescriptorProto.Type.ValueType"]] = {
    client.Uint32: FieldDescriptorProto.TYPE_UINT32,
    client.Uint64: FieldDescriptorProto.TYPE_UINT64,
    client.Int32: FieldDescriptorProto.TYPE_INT32,
    client.Int64: FieldDescriptorProto.TYPE_INT64,
    bool: FieldDescriptorProto.TYPE_BOOL,
    str: FieldDescriptorProto.TYPE_STRING,
    Raw: FieldDescriptorProto.TYPE_BYTES,
}
_PACKAGE = "parley.client"
_FRAME = "Frame"
"""A message that holds a reply: past its tag, of one byte, it is the reply behind its length."""

T = TypeVar("T", bound=Struct)
Fields: TypeAlias = dict[str, Any]
"""A struct as Protobuf's library takes it: names to values, structs within as such dictionaries again."""


# The messages: from annotations to descriptors.


def _shape(hint: Any) -> tuple[type | None, Any]:
    """Return (list, dict or None, type of the values) of a field's annotation; `X | None` is as `X`."""
    if isinstance(hint, UnionType):
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    container = get_origin(hint)
    return (container, get_args(hint)[-1]) if container in (list, dict) else (None, hint)


def _hints(struct: type[Struct]) -> dict[str, Any]:
    return get_type_hints(struct, include_extras=True)


def _describe_field(message: DescriptorProto, name: str, number: int, hint: Any) -> None:
    container, kind = _shape(hint)
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if container is not None:
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if container is dict:  # a map is a list of entries, whose type belongs to the message
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _describe_field(entry, "key", 1, str)
        _describe_field(entry, "value", 2, kind)
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{message.name}.{entry.name}"
    elif kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind.__name__}"


def _message_classes() -> dict[str, Any]:
    """Return the class of each message by the name of its struct, in a pool of our own."""
    file = FileDescriptorProto(name="client.proto", package=_PACKAGE, syntax="proto3")
    for struct, numbers in NUMBERS.items():
        message = file.message_type.add(name=struct.__name__)
        for name, hint in _hints(struct).items():
            _describe_field(message, name, numbers[name], hint)
    _describe_field(file.message_type.add(name=_FRAME), "reply", 1, Reply)
    pool = DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {name.rpartition(".")[2]: found for name, found in GetMessageClassesForFiles([file.name], pool).items()}


_MESSAGES = _message_classes()
_FrameMessage = _MESSAGES[_FRAME]
_CommandMessage = _MESSAGES[Command.__name__]
_EmulationMessage = _MESSAGES[EmulationRequest.__name__]


# The conversions: one function a type and direction, made once.


@cache
def _writer(struct: type[Struct]) -> Callable[[Any], Fields]:
    """Return what turns a `struct` into the fields of its message."""
    if struct is Publication:
        return _write_publication
    columns = [(name, _value_writer(hint)) for name, hint in _hints(struct).items()]

    def write(value: Struct) -> Fields:
        return {
            name: found if convert is None else convert(found)
            for (name, convert), found in zip(columns, astuple(value), strict=True)
            if found
        }

    return write


def _write_publication(publication: Publication) -> Fields:
    """Do what the table would, in a quarter of its time: publications are nearly all there is to encode."""
    fields: Fields = {"data": bytes(publication.data), "offset": publication.offset}
    info = publication.info
    if info is not None:
        fields["info"] = {"user": info.user, "client": info.client}
        if info.conn_info or info.chan_info:
            fields["info"] |= {"conn_info": bytes(info.conn_info), "chan_info": bytes(info.chan_info)}
    if publication.tags or publication.delta or publication.time or publication.channel:
        fields |= {"tags": publication.tags, "delta": publication.delta}
        fields |= {"time": publication.time, "channel": publication.channel}
    return fields


def _value_writer(hint: Any) -> Callable[[Any], Any] | None:
    """Return what turns a field's value into what Protobuf's library takes; None when it takes the value itself."""
    container, kind = _shape(hint)
    if kind in _SCALARS and kind is not Raw:
        return None
    convert: Callable[[Any], Any] = bytes if kind is Raw else _writer(kind)
    if container is list:
        return lambda values: [convert(value) for value in values]
    if container is dict:
        return lambda values: {key: convert(value) for key, value in values.items()}
    return convert


@cache
def _reader(struct: type[T]) -> Callable[[Any], T]:
    """Return what turns a message into its `struct`. What Protobuf does not list is empty or not known to us."""
    hints = _hints(struct)
    columns = {name: _value_reader(hint) for name, hint in hints.items()}

    def read(message: Any) -> T:
        found = {}
        for descriptor, value in message.ListFields():
            name = descriptor.name
            convert = columns[name]
            found[name] = value if convert is None else convert(value)
        return struct(**found)

    if not all(hint in _SCALARS for hint in hints.values()):
        return read

    rows = list(columns.items())

    def read_flat(message: Any) -> T:  # to ask for every field is faster than to list those that are set
        return struct(*[convert(getattr(message, n)) if convert else getattr(message, n) for n, convert in rows])

    return read_flat


def _value_reader(hint: Any) -> Callable[[Any], Any] | None:
    """Return what turns a message's value into a field's; None when it is the value itself."""
    container, kind = _shape(hint)
    if kind in _SCALARS and kind is not Raw:
        return container
    convert: Callable[[Any], Any] = Raw if kind is Raw else _reader(kind)
    if container is list:
        return lambda values: [convert(value) for value in values]
    if container is dict:
        return lambda values: {key: convert(value) for key, value in values.items()}
    return convert


_write_reply = _writer(Reply)
_read_command: Callable[[Any], Command] = _reader(Command)
_read_emulation: Callable[[Any], EmulationRequest] = _reader(EmulationRequest)


# The encoding.

PING = b"\0"
"""A reply with nothing in it: a length of zero."""

_UNDECODABLE = (DecodeError, ValueError, OverflowError)
"""Wrong inside of a message; cut short; a length beyond all sizes."""


def decode_frame(frame: bytes) -> list[Command]:
    """Return the commands of one frame, in order; raise `BadFrame` for an empty, undecodable or crowded one.

    Unknown fields are ignored, as the protocol asks. Nesting is bounded by upb.
    """
    commands: list[Command] = []
    unread = io.BytesIO(frame)
    try:
        while (message := parse_length_prefixed(_CommandMessage, unread)) is not None:
            commands.append(_read_command(message))
            if len(commands) > MOST_COMMANDS:
                break
    except _UNDECODABLE as error:
        raise BadFrame(type(error).__name__) from error
    if not 0 < len(commands) <= MOST_COMMANDS:
        raise BadFrame("no command" if not commands else "too many commands")
    return commands


def encode(reply: Reply) -> bytes:
    """Return `reply` as one message behind its length. Raise ValueError for a number that its field cannot hold."""
    push = reply.push
    if push is not None and push.pub is not None:  # nearly all there is to encode: such a reply holds nothing else
        fields: Fields = {"push": {"channel": push.channel, "pub": _write_publication(push.pub)}}
    else:
        fields = _write_reply(reply)
    framed: bytes = _FrameMessage(reply=fields).SerializeToString()
    return framed[1:]


def join(replies: list[bytes]) -> bytes:
    """Return one frame that carries `replies` in order; each brings its length."""
    return b"".join(replies)


def decode_emulation(body: bytes) -> EmulationRequest:
    """Return a posted request, a message without a length before it; raise `BadFrame`."""
    try:
        return _read_emulation(_EmulationMessage.FromString(body))
    except _UNDECODABLE as error:
        raise BadFrame(type(error).__name__) from error


PROTOBUF = Codec("protobuf", False, PING, decode_frame, encode, join, decode_emulation)
