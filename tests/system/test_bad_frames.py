"""Bad frames: a clear answer to whoever sent them, and nobody else notices.

After each case a bystander on the same worker says something and hears it, and the services' logs hold no traceback.
In the end NATS was never lost and nothing failed through our fault.
"""

import json
import socket
from typing import Any

import pytest
import websockets

from tests.bench.clients import Frames, guest
from tests.bench.health import alive
from tests.bench.ring import Ring

pytestmark = pytest.mark.usefixtures("unharmed")
KIB = 1024


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


FRAMES: dict[str, tuple[str | bytes, int]] = {
    "not JSON": ("hello", 3501),
    "half a JSON object": ('{"id": 9, "rpc": {"method": "echo"', 3501),
    "two objects without a newline": ('{"id":8,"rpc":{"method":"echo"}}{"id":9,"rpc":{"method":"echo"}}', 3501),
    "60,000 opening brackets": ("[" * 60_000, 3501),
    "60,000 opening braces": ('{"a":' * 12_000, 3501),
    "60,000 brackets as payload": ('{"id":9,"rpc":{"method":"echo","data":' + "[" * 60_000, 3501),
    "30,000 nested arrays as payload": (
        '{"id":9,"rpc":{"method":"echo","data":' + "[" * 30_000 + "]" * 30_000 + "}}",
        3501,
    ),
    "NaN": ('{"id":9,"rpc":{"method":"echo","data":NaN}}', 3501),
    "Infinity": ('{"id":9,"rpc":{"method":"echo","data":-Infinity}}', 3501),
    "a fraction as id": ('{"id":1.5,"rpc":{"method":"echo"}}', 3501),
    "an offset below zero": ('{"id":9,"subscribe":{"channel":"room:general","recover":true,"offset":-5}}', 3501),
    "a limit of 63 bits": ('{"id":9,"history":{"channel":"room:general","limit":4611686018427387904}}', 3501),
    "60,000 digits": ('{"id":' + "9" * 60_000 + "}", 3501),
    "a BOM": ('\ufeff{"id":9,"rpc":{"method":"echo"}}', 3501),
    "a binary frame": (b'{"id":9,"rpc":{"method":"echo"}}', 3506),
    "64 KiB and a byte": ("x" * (64 * KIB + 1), 1009),
    "200,000 opening brackets": ("[" * 200_000, 1009),
    "a megabyte": ("x" * KIB * KIB, 1009),
    "a megabyte, binary": (b"x" * KIB * KIB, 1009),
    "more commands than may wait": (
        "\n".join(json.dumps({"id": number, "rpc": {"method": "echo"}}) for number in range(9, 1009)),
        3013,
    ),
}


SURROGATES = {
    "in a text": {"rpc": {"method": "message.send", "data": {"room": "general", "id": "x", "text": "\ud800"}}},
    "in a name": {"rpc": {"method": "room.create", "data": {"name": "a\udc00b"}}},
    "in what is published": {"publish": {"channel": "room:general", "data": "\udfff"}},
    "in a channel": {"subscribe": {"channel": "room:\ud800"}},
    "in a method": {"rpc": {"method": "\udfff"}},
}


@pytest.mark.parametrize("where", SURROGATES)
async def test_half_a_character_is_refused(sender: Frames, where: str) -> None:
    """An unpaired surrogate, as applications make by cutting an emoji, is an error for that command alone."""
    await sender.socket.send(json.dumps({"id": 9} | SURROGATES[where]))
    assert (await sender.reply(9))["error"]["code"] == 107
    await alive(sender)


@pytest.mark.parametrize("kind", FRAMES)
async def test_a_bad_frame_ends_its_connection_with_a_code(sender: Frames, kind: str) -> None:
    """What cannot be understood, or is too large, closes that connection with the code that says so."""
    frame, code = FRAMES[kind]
    await sender.socket.send(frame)
    assert (await sender.end())[0] == code


async def test_a_frame_of_exactly_64_kib_is_taken(sender: Frames) -> None:
    """The limit is 65,536 bytes: a frame of that size is answered."""
    start, end = '{"id":900,"rpc":{"method":"echo","data":"', '"}}'
    text = "x" * (64 * KIB - len(start) - len(end))
    await sender.socket.send(start + text + end)
    assert (await sender.reply(900))["rpc"]["data"] == text


async def test_a_large_message_in_many_fragments_is_too_big(sender: Frames) -> None:
    """Fragments are counted together: a message of 100 pieces of 1 KiB is closed with 1009."""
    try:
        await sender.socket.send("x" * KIB for _ in range(100))
    except websockets.ConnectionClosed:
        pass  # closed before the last piece was sent
    assert (await sender.end())[0] == 1009


async def test_a_text_frame_that_is_no_utf_8_closes(ring: Ring, sender: Frames) -> None:
    """Invalid UTF-8 in a text frame is 1007, in a whole frame and across fragments."""
    await sender.socket.send(b'{"id":9,"rpc":{"method":"echo","data":"\xff\xfe"}}', text=True)
    assert (await sender.end())[0] == 1007
    async with await Frames.open(ring) as other:
        await other.enter((await guest(ring)).access)
        await other.socket.send([b'{"id":9,"rpc":{"method":"echo","data":"\xe2', b'\x28"}}'], text=True)
        assert (await other.end())[0] == 1007


@pytest.mark.parametrize(
    "wire",
    [b"\x81\x05hello", b"\xf1\x80\x00\x00\x00\x00", b"\x83\x80\x00\x00\x00\x00", b"\x80\x80\x00\x00\x00\x00"],
    ids=["unmasked", "reserved bits", "unknown opcode", "continuation of nothing"],
)
async def test_broken_framing_closes(sender: Frames, wire: bytes) -> None:
    """Bytes that break the WebSocket framing rules close with 1002."""
    transport: Any = sender.socket.transport
    transport.write(wire)
    assert (await sender.end())[0] == 1002


async def test_rubbish_instead_of_a_handshake(ring: Ring, sender: Frames) -> None:
    """Bytes that are no HTTP at all get an answer or a close, and a half handshake harms nobody."""
    del sender  # it watches
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: short\r\n\r\n",
        b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Protocol: \xff\xfe,\x80\r\n\r\n",
        b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + b"X-Filler: %s\r\n\r\n" % (b"x" * 9000),
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", ring.ports["gateway"]), 10) as raw:
            raw.settimeout(10)
            raw.sendall(sent)
            answer = raw.recv(65536)
            assert answer.split(b" ")[1][:1] in (b"4", b""), (sent[:60], answer)
