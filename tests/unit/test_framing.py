"""The framing rules of RFC 6455: what was sent is read, however it is cut; what may not be sent is named."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from gateway.framing import BINARY, CLOSE, PING, PONG, TEXT, Broken, Reader, close_code, close_frame, frame

MOST = 1000
KINDS = [(Opcode.TEXT, TEXT), (Opcode.BINARY, BINARY)]


def masked(opcode: int, payload: bytes, *, fin: bool = True, rsv: int = 0, mask: bytes = b"abcd") -> bytes:
    """Return a frame as a client sends it, made without the code under test."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += struct.pack("!BH", 0x80 | 126, size)
    else:
        head += struct.pack("!BQ", 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def refused(*frames: bytes, most: int = MOST) -> int:
    """Return the code with which a connection that sends these is failed."""
    reader = Reader(most)
    for one in frames[:-1]:
        reader.feed(one)
    with pytest.raises(Broken) as caught:
        reader.feed(frames[-1])
    return caught.value.code


messages = st.lists(
    st.one_of(
        st.tuples(st.just(TEXT), st.text(max_size=200).map(str.encode)),
        st.tuples(st.sampled_from([BINARY]), st.binary(max_size=300)),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)),
    ),
    max_size=8,
)


@given(messages, st.data())
def test_what_is_sent_is_read_however_it_is_cut(sent: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Messages in fragments with control frames between, cut at any byte, arrive whole and in order."""
    stream, expected = b"", []
    for opcode, payload in sent:
        if opcode in (PING, PONG):
            stream += masked(opcode, payload)
            expected.append((opcode, payload))
            continue
        at = data.draw(st.integers(0, len(payload)))
        inside = data.draw(st.booleans())
        stream += masked(opcode, payload[:at], fin=False)
        if inside:
            stream += masked(PING, b"between")
            expected.append((PING, b"between"))
        stream += masked(0, payload[at:])
        expected.append((opcode, payload))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    reader, received = Reader(4 * MOST), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[start:end])
    assert [tuple(one) for one in received] == expected


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Nothing but `Broken` comes out, with a code of the three that answer broken frames."""
    code = 0
    try:
        Reader(MOST).feed(data)
    except Broken as broken:
        code = broken.code
    assert code in (0, 1002, 1007, 1009)


def outcome(*packets: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return what is received of these packets, and the code with which the connection is failed, 0 for none."""
    reader, received = Reader(MOST), []
    try:
        for one in packets:
            received += reader.feed(one)
    except Broken as broken:
        return [tuple(one) for one in received + broken.before], broken.code
    return [tuple(one) for one in received], 0


flips = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 7)), max_size=2)


@given(st.sampled_from([TEXT, BINARY, PING, 0]), st.integers(0, 1200), flips, st.integers(-2, 2))
def test_a_frame_in_one_packet_is_read_as_in_two(
    opcode: int, size: int, flipped: list[tuple[int, int]], more: int
) -> None:
    """The short way for a packet that is one whole frame decides as the long one does, whatever bits are wrong."""
    data = bytearray(masked(opcode, b"x" * size))
    for at, bit in flipped:
        data[at] ^= 1 << bit
    data = data[:more] if more < 0 else data + b"x" * more
    assert outcome(bytes(data)) == outcome(bytes(data[:1]), bytes(data[1:]))


@pytest.mark.parametrize("size", [1, 125, 126, 500, MOST, MOST + 1])
@pytest.mark.parametrize(("at", "bit"), [(at, bit) for at in range(4) for bit in range(8)])
def test_each_wrong_bit_is_seen_in_one_packet(size: int, at: int, bit: int) -> None:
    """Any one bit of a head, of which three are flags, four the kind, one the mask, and the others the length."""
    data = bytearray(masked(TEXT, b"x" * size))
    data[at] ^= 1 << bit
    assert outcome(bytes(data)) == outcome(bytes(data[:1]), bytes(data[1:]))


@given(st.sampled_from(KINDS), st.binary(max_size=70_000))
def test_what_we_write_is_what_the_library_writes(kind: tuple[Opcode, int], payload: bytes) -> None:
    """Frames equal those of `websockets`, at each of the three lengths."""
    assert frame(kind[1], payload) == Frame(kind[0], payload).serialize(mask=False)


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_each_length_is_read(size: int) -> None:
    """Lengths around the changes of their form."""
    assert Reader(70_000).feed(masked(BINARY, b"x" * size)) == [(BINARY, b"x" * size)]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([masked(TEXT, b"x", rsv=0x40)], 1002),
        ([masked(TEXT, b"x", rsv=0x10)], 1002),
        ([frame(TEXT, b"x")], 1002),  # not masked
        ([masked(3, b"x")], 1002),
        ([masked(0xB, b"x")], 1002),
        ([masked(PING, b"x" * 126)], 1002),
        ([masked(PING, b"x", fin=False)], 1002),
        ([masked(0, b"x")], 1002),  # a continuation of nothing
        ([masked(TEXT, b"x", fin=False), masked(TEXT, b"x")], 1002),
        ([masked(TEXT, b"\xff")], 1007),
        ([masked(TEXT, b"\xc3", fin=False), masked(0, b"\x28")], 1007),
        ([masked(TEXT, b"\xed\xa0\x80")], 1007),  # a surrogate
        ([masked(BINARY, b"x" * (MOST + 1))], 1009),
        ([masked(BINARY, b"x" * MOST, fin=False), masked(0, b"x")], 1009),
        ([masked(BINARY, b"x" * (MOST + 1))[:4]], 1009),  # as soon as the length is known
        ([struct.pack("!BBQ", 0x82, 0xFF, 1 << 63)], 1009),
    ],
)
def test_what_may_not_be_sent_is_named(frames: list[bytes], code: int) -> None:
    """The close code says what was wrong (RFC 6455, 7.4.1)."""
    assert refused(*frames) == code


def test_what_came_before_the_fault_is_kept() -> None:
    """A good message and a bad frame in one packet: the message counts."""
    with pytest.raises(Broken) as caught:
        Reader(MOST).feed(masked(TEXT, b"good") + masked(0xF, b""))
    assert caught.value.before == [(TEXT, b"good")]


@pytest.mark.parametrize(
    ("payload", "code"),
    [(b"", 1005), (b"\x03\xe8", 1000), (b"\x03\xe8bye", 1000), (b"\x0b\xb8", 3000), (b"\x13\x87", 4999)],
)
def test_a_close_code_is_read(payload: bytes, code: int) -> None:
    """Codes that may be sent."""
    assert close_code(payload) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_breaks_the_rules(code: int) -> None:
    """RFC 6455, 7.4.2."""
    with pytest.raises(Broken) as caught:
        close_code(struct.pack("!H", code))
    assert caught.value.code == 1002


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007)])
def test_a_close_frame_may_not_be_malformed(payload: bytes, code: int) -> None:
    """One byte of a code, or a reason that is not UTF-8."""
    with pytest.raises(Broken) as caught:
        close_code(payload)
    assert caught.value.code == code


@given(st.integers(1000, 4999), st.text(max_size=200))
def test_a_close_frame_always_fits(code: int, reason: str) -> None:
    """At most 125 bytes, cut between characters."""
    made = close_frame(code, reason)
    assert made[0] == 0x80 | CLOSE
    assert made[1] == len(made) - 2 <= 125
    assert reason.startswith(made[4:].decode())
