"""The JSON encoding of the client protocol: text frames of objects separated by a newline."""

import re

import msgspec
from msgspec import Raw

from protocol.client import Command, EmulationRequest, Reply, Unreadable
from protocol.frames import MOST_COMMANDS, BadFrame, Codec

__all__ = ["JSON", "PING", "BadFrame", "compact", "decode_emulation", "decode_frame", "encode", "is_json", "join"]

SEPARATOR = b"\n"
PING = b"{}"
"""A reply with nothing in it."""

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Command)
_emulation_decoder = msgspec.json.Decoder(EmulationRequest)
_string_decoder = msgspec.json.Decoder(str)
_any_decoder = msgspec.json.Decoder(Raw)
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode_frame(frame: bytes) -> list[Command]:
    """Return the commands of one frame, in order; raise `BadFrame` for an empty, undecodable or crowded one.

    Unknown fields are ignored, as the protocol asks. Nesting is bounded by msgspec, which raises RecursionError.
    """
    lines = [frame] if SEPARATOR not in frame else frame.rstrip(SEPARATOR).split(SEPARATOR)
    if len(lines) > MOST_COMMANDS:
        raise BadFrame("too many commands")
    try:
        _check_utf8(frame)
        return [_command(line) for line in lines]
    except _UNDECODABLE as error:
        raise BadFrame(type(error).__name__) from error


def _command(line: bytes) -> Command:
    try:
        return _decoder.decode(line)
    except msgspec.DecodeError:
        # Applications cut texts in the middle of an emoji, and JavaScript sends such halves: no reason to end them.
        identifier = _id_despite_surrogate(line)
        if identifier:
            return Unreadable(id=identifier)
        raise


def _id_despite_surrogate(line: bytes) -> int:
    """Return the id of a command that only an unpaired surrogate makes undecodable; 0 when it is anything else."""
    if not _SURROGATE.search(line):
        return 0
    try:
        return _decoder.decode(_SURROGATE.sub(b"?", line)).id
    except _UNDECODABLE:
        return 0


def encode(reply: Reply) -> bytes:
    """Return `reply` as one JSON object, without a trailing separator."""
    return _encoder.encode(reply)


def join(replies: list[bytes]) -> bytes:
    """Return one frame that carries `replies` in order."""
    return SEPARATOR.join(replies)


def decode_emulation(body: bytes) -> EmulationRequest:
    """Return a posted request with its frame as `data`, which the JSON carries as a string; raise `BadFrame`."""
    try:
        _check_utf8(body)
        request = _emulation_decoder.decode(body)
        return EmulationRequest(request.node, request.session, Raw(_string_decoder.decode(request.data).encode()))
    except _UNDECODABLE as error:
        raise BadFrame(type(error).__name__) from error


def is_json(data: bytes) -> bool:
    """Tell whether `data` is one JSON value, which subscribers in JSON can be given. A Protobuf client may send any."""
    try:
        _check_utf8(data)
        _any_decoder.decode(data)
    except _UNDECODABLE:
        return False
    return True


def compact(value: bytes) -> bytes:
    """Return the JSON `value` without newlines, which would end its frame's object.

    In valid JSON they stand between tokens only: as a space each, nothing changes, not even how a number is written.
    """
    return value.replace(SEPARATOR, b" ") if SEPARATOR in value else value


def _check_utf8(data: bytes) -> None:
    """Raise UnicodeDecodeError: msgspec does not look into the strings of a `Raw`."""
    if not data.isascii():
        data.decode()


JSON = Codec("json", True, PING, decode_frame, encode, join, decode_emulation)
