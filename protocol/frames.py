"""What the encodings of the client protocol have in common, so that the gateway can hold either of them."""

from collections.abc import Callable
from dataclasses import dataclass

from protocol.client import Command, EmulationRequest, Reply

MOST_COMMANDS = 1000
"""Commands in one frame: more are more than a connection may have waiting, and take long to decode (64 KiB of the
smallest in Protobuf: 0.1 s)."""


class BadFrame(ValueError):
    """A frame holds no command, too many, or one that cannot be decoded."""


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoding: `client_json.JSON` or `client_protobuf.PROTOBUF`."""

    name: str
    """`json` or `protobuf`, as in the subprotocol `centrifuge-<name>`."""
    text: bool
    """Whether its frames are WebSocket text frames; binary ones otherwise."""
    ping: bytes
    """A reply with nothing in it, encoded."""
    decode_frame: Callable[[bytes], list[Command]]
    """Return the commands of one frame, in order; raise `BadFrame` when it cannot be done."""
    encode: Callable[[Reply], bytes]
    """Return a reply as it stands in a frame: what one reply encodes to is a frame of its own."""
    join: Callable[[list[bytes]], bytes]
    """Return one frame that carries these encoded replies in order."""
    decode_emulation: Callable[[bytes], EmulationRequest]
    """Return what was posted to `/emulation`, with the frame itself as `data`; raise `BadFrame`."""
