"""The framing rules of RFC 6455 for a server: frames written, frames read (pure).

Security code: what a peer may send, and which close code answers what it may not (tests/unit/test_framing.py tries any
cut and any bytes; ADR 0016). Extensions are never negotiated, so reserved bits are errors.
"""

import struct
from typing import TYPE_CHECKING, NamedTuple

from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF
from protocol.frames import Codec

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without the compiled part
    from websockets.utils import apply_mask

if TYPE_CHECKING:
    from gateway.publications import Encoded

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
NORMAL, PROTOCOL_ERROR, NO_STATUS, ABNORMAL, INVALID_DATA, TOO_BIG = 1000, 1002, 1005, 1006, 1007, 1009
_RESERVED = frozenset((1004, NO_STATUS, ABNORMAL, 1015))
"""Close codes that no endpoint may send (RFC 6455, 7.4.1)."""
_WHOLE = frozenset((0x80 | TEXT, 0x80 | BINARY))
"""How a message begins that is one frame."""


class Broken(Exception):
    """The peer broke the rules; the connection is to be failed with `code` (RFC 6455, 7.1.7)."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.before: list[Received] = []
        """What was whole before the fault."""


class Received(NamedTuple):
    """A whole message (TEXT, BINARY) or a control frame (CLOSE, PING, PONG)."""

    opcode: int
    payload: bytes


def frame(opcode: int, payload: bytes) -> bytes:
    """Return an unfragmented, unmasked frame (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x80 | opcode, 126, size) + payload
    return struct.pack("!BBQ", 0x80 | opcode, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; `code` NO_STATUS makes an empty one. A long reason is cut to what fits."""
    if code == NO_STATUS:
        return frame(CLOSE, b"")
    text = reason.encode()[:123].decode(errors="ignore").encode()
    return frame(CLOSE, struct.pack("!H", code) + text)


def close_code(payload: bytes) -> int:
    """Return the code in a close frame, NO_STATUS when it has none; raise `Broken` when it may not be sent."""
    if not payload:
        return NO_STATUS
    if len(payload) == 1:
        raise Broken(PROTOCOL_ERROR, "a close code of one byte")
    code: int = struct.unpack_from("!H", payload)[0]
    if not (1000 <= code <= 1014 or 3000 <= code <= 4999) or code in _RESERVED:
        raise Broken(PROTOCOL_ERROR, "a close code that may not be sent")
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise Broken(INVALID_DATA, "a reason that is not UTF-8") from None
    return code


class Reader:
    """Reads frames from a stream of bytes; keeps what is not whole yet."""

    __slots__ = ("_message", "_opcode", "_rest", "most")

    def __init__(self, most: int) -> None:
        """`most` is the size of the largest message in bytes."""
        self.most = most
        self._rest = b""
        self._message: bytearray | None = None  # fragments so far
        self._opcode = 0

    def feed(self, data: bytes) -> list[Received]:
        """Return what is whole with `data`, in order; raise `Broken`, which has what came before the fault."""
        if self._rest:
            data = self._rest + data
        elif self._message is None and (whole := _alone(data, self.most)) is not None:
            return [whole]
        received: list[Received] = []
        at, end = 0, len(data)
        try:
            while end - at >= 2:
                start, size = self._head(data, at, end)
                if size < 0 or start + size > end:
                    break
                payload = apply_mask(data[start : start + size], data[start - 4 : start]) if size else b""
                whole = self._take(data[at] & 0x0F, payload, final=bool(data[at] & 0x80))
                if whole is not None:
                    received.append(whole)
                at = start + size
        except Broken as broken:
            broken.before = received
            raise
        self._rest = data[at:]
        return received

    def _head(self, data: bytes, at: int, end: int) -> tuple[int, int]:
        """Return where the payload starts and its size, -1 while that is not known; raise `Broken`."""
        first, second = data[at], data[at + 1]
        opcode, size = first & 0x0F, second & 0x7F
        if first & 0x70:
            raise Broken(PROTOCOL_ERROR, "reserved bits")
        if not second & 0x80:
            raise Broken(PROTOCOL_ERROR, "not masked")
        if opcode >= CLOSE:
            if opcode > PONG or size > 125 or not first & 0x80:
                raise Broken(PROTOCOL_ERROR, "a control frame that is unknown, long or fragmented")
        elif opcode > BINARY:
            raise Broken(PROTOCOL_ERROR, "an unknown opcode")
        elif (opcode == CONTINUATION) != (self._message is not None):
            raise Broken(PROTOCOL_ERROR, "a fragment out of order")
        start = at + 6
        if size >= 126:
            form = "!H" if size == 126 else "!Q"
            width = struct.calcsize(form)
            start += width
            if end < at + 2 + width:
                return start, -1
            size = struct.unpack_from(form, data, at + 2)[0]
        if size + len(self._message or b"") > self.most and opcode < CLOSE:
            raise Broken(TOO_BIG, "a message that is too big")
        return (start, size) if end >= start else (start, -1)

    def _take(self, opcode: int, payload: bytes, *, final: bool) -> Received | None:
        if opcode >= CLOSE:
            return Received(opcode, payload)
        if opcode != CONTINUATION:
            if final:
                return _message(opcode, payload)
            self._opcode, self._message = opcode, bytearray(payload)
            return None
        assert self._message is not None
        self._message += payload
        if not final:
            return None
        whole, self._message = bytes(self._message), None
        return _message(self._opcode, whole)


def _alone(data: bytes, most: int) -> Received | None:
    """Return the whole message that `data` is and no more, which is how commands come; None for anything else."""
    start = 6
    size = len(data) - start
    if size < 126:
        if size < 1 or data[1] != 0x80 | size:
            return None
    else:
        start = 8
        size -= 2
        if not 126 <= size <= min(most, 65535) or data[1] != 0xFE or data[2] << 8 | data[3] != size:
            return None
    if data[0] not in _WHOLE:
        return None
    return _message(data[0] & 0x0F, apply_mask(data[start:], data[start - 4 : start]))


def _message(opcode: int, payload: bytes) -> Received:
    if opcode == TEXT and not payload.isascii():
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise Broken(INVALID_DATA, "a text that is not UTF-8") from None
    return Received(opcode, payload)


class Replies:
    """How replies travel on a WebSocket: one message carries many (`gateway.wire.Framing`)."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._opcode = TEXT if codec.text else BINARY

    def bundle(self, replies: "list[Encoded]") -> bytes:
        """Return one frame that carries `replies`."""
        return frame(self._opcode, self._codec.join([reply.payload for reply in replies]))


REPLIES = {codec.name: Replies(codec) for codec in (JSON, PROTOBUF)}
"""The framing of each encoding, shared by all sockets."""
