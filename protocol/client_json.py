"""The JSON encoding of the client protocol: text frames of objects separated by a newline."""

import msgspec

from protocol.client import Command, Reply

SEPARATOR = b"\n"
PING = b"{}"
"""A reply with nothing in it."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Command)


class BadFrame(ValueError):
    """A frame holds no command, or one that cannot be decoded."""


def decode_frame(frame: bytes) -> list[Command]:
    """Return the commands of one frame, in order; raise `BadFrame` for an empty or undecodable one.

    Unknown fields are ignored, as the protocol asks. Nesting is bounded by msgspec, which raises RecursionError.
    """
    lines = frame.rstrip(SEPARATOR).split(SEPARATOR)
    try:
        return [_decoder.decode(line) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(type(error).__name__) from error


def encode(reply: Reply) -> bytes:
    """Return `reply` as one JSON object, without a trailing separator."""
    return _encoder.encode(reply)


def join(replies: list[bytes]) -> bytes:
    """Return one frame that carries `replies` in order."""
    return SEPARATOR.join(replies)
