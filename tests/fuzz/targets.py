"""What is fuzzed, and what must hold whatever comes: each is a test of hypothesis that is run again and again."""

import asyncio
import json
import struct
import time
from typing import Any

import jwt
from centrifuge.fossil import apply_delta
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nats.errors import ProtocolError

from chassis.nats_reading import Direct, LeanParser, Message, parsed
from gateway import fossil
from gateway.framing import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_DATA,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Broken,
    Reader,
    Received,
    close_code,
)
from gateway.handshake import Unfit, accept_key
from gateway.tokens import BadToken, Rules, keys_of, verify
from protocol import client_json, client_protobuf, names, subjects
from protocol.client import Publication, Push, Reply, RPCResult
from protocol.frames import BadFrame
from tests.fuzz.bytes_of import CUTS, pieces, spoilt

EXAMPLES = 200
"""Examples of one round; rounds follow each other until the time is over."""
fuzz = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)

# Frames.

MOST = 2000


@st.composite
def _masked(draw: st.DrawFn) -> bytes:
    opcode = draw(st.sampled_from([CONTINUATION, TEXT, TEXT, BINARY, CLOSE, PING, PONG]))
    text = st.text(max_size=150).map(str.encode)
    payload = draw(st.one_of(text, st.binary(max_size=140), st.sampled_from([b"x" * MOST, b"x" * (MOST + 1)])))
    mask = draw(st.binary(min_size=4, max_size=4))
    first = (0x80 if draw(st.integers(0, 3)) else 0) | opcode
    size = len(payload)
    head = struct.pack("!BB", first, 0x80 | size) if size < 126 else struct.pack("!BBH", first, 0xFE, size)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


def _read(data: bytes, cuts: list[int]) -> tuple[list[Received], int]:
    """Return what a reader makes of `data` cut so, and the code it breaks with (0: it does not)."""
    reader = Reader(MOST)
    received: list[Received] = []
    try:
        for piece in pieces(data, cuts):
            received += reader.feed(piece)
    except Broken as broken:
        return received + broken.before, broken.code
    return received, 0


@fuzz
@given(spoilt(st.lists(_masked(), max_size=6).map(b"".join)), CUTS)
def frames(data: bytes, cuts: list[int]) -> None:
    """Any bytes, cut anywhere, give the same messages and the same fault; none is too large, and a text is a text."""
    whole, cut = _read(data, []), _read(data, cuts)
    assert whole == cut
    received, code = whole
    assert code in (0, PROTOCOL_ERROR, INVALID_DATA, TOO_BIG)
    for one in received:
        assert len(one.payload) <= (125 if one.opcode >= CLOSE else MOST)
        if one.opcode == TEXT:
            one.payload.decode()
        if one.opcode == CLOSE:
            assert _close(one.payload) in (None, PROTOCOL_ERROR, INVALID_DATA)


def _close(payload: bytes) -> int | None:
    """Return the code with which a close frame is refused, if it is."""
    try:
        close_code(payload)
    except Broken as broken:
        return broken.code
    return None


_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [b"host", b"upgrade", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol", b"x"]
        ),
        st.one_of(st.sampled_from([b"13", b"AAAAAAAAAAAAAAAAAAAAAA==", b"localhost"]), st.binary(max_size=60)),
    ),
    max_size=9,
)


@fuzz
@given(st.sampled_from(["GET", "POST", "get", ""]), _HEADERS)
def handshakes(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Any headers give an answer or a refusal with a status."""
    accepted, status = b"", 0
    try:
        accepted = accept_key(method, headers)
    except Unfit as unfit:
        status = unfit.status
    assert len(accepted) == 28 or status in (400, 426, 431)


# The client protocol.

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_REQUESTS = st.fixed_dictionaries(
    {"id": st.integers(0, 2**33)},
    optional={
        "connect": st.fixed_dictionaries({}, optional={"token": st.text(max_size=30), "data": _JSON}),
        "subscribe": st.fixed_dictionaries({"channel": st.text(max_size=30)}, optional={"offset": st.integers()}),
        "publish": st.fixed_dictionaries({"channel": st.text(max_size=30), "data": _JSON}),
        "rpc": st.fixed_dictionaries({"method": st.text(max_size=20), "data": _JSON}),
    },
)
_LINES = st.lists(_REQUESTS.map(lambda one: json.dumps(one).encode()), min_size=1, max_size=4).map(b"\n".join)


@fuzz
@given(spoilt(_LINES))
def json_frames(frame: bytes) -> None:
    """Commands or `BadFrame`; what others would get of them is one line of JSON in UTF-8."""
    try:
        client_json.decode_emulation(frame)
    except BadFrame:
        pass
    try:
        commands = client_json.decode_frame(frame)
    except BadFrame:
        return
    for command in commands:
        for request in (command.rpc, command.publish, command.connect):
            if request is not None and bytes(request.data):
                _harmless(bytes(request.data))


def _harmless(data: bytes) -> None:
    line = client_json.compact(data)
    assert client_json.is_json(line)
    made = [
        client_json.encode(Reply(id=1, rpc=RPCResult(client_json.Raw(line)))),
        client_json.encode(Reply(push=Push(channel="c", pub=Publication(data=client_json.Raw(line))))),
    ]
    for reply in client_json.join(made).split(b"\n"):
        json.loads(reply.decode())


_VARINT = st.integers(0, 2**64 - 1)


def _varint(number: int) -> bytes:
    found = b""
    while number > 127:
        found, number = found + bytes([number & 127 | 128]), number >> 7
    return found + bytes([number])


_FIELD = st.one_of(
    st.builds(lambda tag, value: _varint(tag << 3) + _varint(value), st.integers(1, 40), _VARINT),
    st.builds(
        lambda tag, body: _varint(tag << 3 | 2) + _varint(len(body)) + body, st.integers(1, 40), st.binary(max_size=20)
    ),
)
_MESSAGE = st.lists(_FIELD, max_size=5).map(b"".join)
_NESTED = st.builds(
    lambda tag, body: _varint(1 << 3) + b"\x01" + _varint(tag << 3 | 2) + _varint(len(body)) + body,
    st.integers(4, 20),
    _MESSAGE,
)
_PROTOBUF = st.lists((_MESSAGE | _NESTED).map(lambda one: _varint(len(one)) + one), max_size=4).map(b"".join)


@fuzz
@given(spoilt(_PROTOBUF))
def protobuf_frames(frame: bytes) -> None:
    """Commands or `BadFrame`; a text in them can be sent to others."""
    for decode in (client_protobuf.decode_emulation, client_protobuf.decode_frame):
        try:
            found: Any = decode(frame)
        except BadFrame:
            continue
        for command in found if isinstance(found, list) else ():
            if command.rpc is not None:
                command.rpc.method.encode()
            if command.publish is not None:
                client_json.is_json(bytes(command.publish.data))


# Deltas: made by us, read by the SDKs.

_PART = st.sampled_from([b"a", b"\x80", b"0123456789abcdef", b'{"id":1,"name":"x"},', b"\n", "é🟢".encode()])
_BODY = st.one_of(st.lists(_PART, max_size=200).map(b"".join), st.binary(max_size=600))


@fuzz
@given(_BODY, st.data())
def deltas(source: bytes, data: st.DataObject) -> None:
    """Of any two bodies, and of one and its spoilt copy, the delta makes exactly the target."""
    target = data.draw(st.one_of(_BODY, spoilt(st.just(source), 8)))
    assert apply_delta(source, fossil.create(source, target)) == target


# What NATS sends.


class _Client:
    """What nats-py's parser tells its client, remembered."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.stats = {"in_msgs": 0, "in_bytes": 0}
        client: Any = self
        self._subs = {1: Direct(client, 1, "a", "", self._received)}

    def _received(self, one: Message) -> None:
        self.told.append((one.subject, one.headers, one.body, one.reply))

    async def _process_msg(self, *message: Any) -> None:
        self.told.append(message)

    async def _process_ping(self) -> None:
        self.told.append(("PING",))

    async def _process_pong(self) -> None:
        self.told.append(("PONG",))

    async def _process_info(self, info: Any) -> None:
        self.told.append(("INFO",))

    async def _process_err(self, error: str) -> None:
        self.told.append(("ERR", error))


_WORD = st.text("abcXYZ0123._$-", min_size=1, max_size=12).map(str.encode)
_HEAD = st.lists(st.tuples(_WORD, st.binary(max_size=12)), max_size=3).map(
    lambda found: b"NATS/1.0\r\n" + b"".join(key + b": " + value + b"\r\n" for key, value in found) + b"\r\n"
)


@st.composite
def _from_nats(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["MSG", "HMSG", "PING", "PONG", "OK", "ERR", "INFO"]))
    if kind in ("MSG", "HMSG"):
        head = draw(_HEAD) if kind == "HMSG" else b""
        body = draw(st.binary(max_size=80))
        reply = draw(st.sampled_from([b"", b"_INBOX.x "]))
        sizes = b"%d " % len(head) if head else b""
        number = draw(st.integers(1, 3))
        line = b"%s %s %d %s%s%d\r\n" % (kind.encode(), draw(_WORD), number, reply, sizes, len(head) + len(body))
        return line + head + body + b"\r\n"
    return {
        "PING": b"PING\r\n",
        "PONG": b"PONG\r\n",
        "OK": b"+OK\r\n",
        "ERR": b"-ERR 'Permissions Violation'\r\n",
        "INFO": b'INFO {"server_id":"x"}\r\n',
    }[kind]


def _parse(data: bytes, cuts: list[int]) -> tuple[list[tuple[Any, ...]], bool]:
    """Return what the client is told of `data` cut so, and whether it broke the protocol."""
    client = _Client()
    parser = LeanParser(client)

    async def feed() -> bool:
        try:
            for piece in pieces(data, cuts):
                await parser.parse(piece)
        except ProtocolError:
            return True
        return False

    return client.told, asyncio.run(feed())


@fuzz
@given(st.lists(_from_nats(), max_size=6).map(b"".join), CUTS)
def nats_cut(data: bytes, cuts: list[int]) -> None:
    """However the bytes are cut, every message arrives, once, whole and in order."""
    whole, broken = _parse(data, [])
    assert not broken
    assert _parse(data, cuts) == (whole, False)


@fuzz
@given(spoilt(st.lists(_from_nats(), max_size=4).map(b"".join)), CUTS)
def nats_spoilt(data: bytes, cuts: list[int]) -> None:
    """Whatever bytes arrive, nothing but a fault of the protocol comes out."""
    _parse(data, cuts)
    headers = parsed(data)
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in headers.items())


# Names, subjects, tokens.

_ANY_NAME = st.one_of(
    st.text(max_size=40),
    st.text(max_size=600),
    st.text(".*> :#/=\x00\r\n\tabcé", max_size=20),
    st.builds("{}:{}".format, st.sampled_from(["room", "user", "news", ""]), st.text(max_size=300)),
)
_BUILDERS = (
    subjects.room_log,
    subjects.room_live,
    subjects.gateway,
    subjects.gateway_answers,
    subjects.chat_command,
    subjects.revoked,
    subjects.revoked_user,
    subjects.revoked_key,
    subjects.lease,
    lambda name: subjects.address(name).log,
    lambda name: subjects.address(name).live,
    lambda name: subjects.address(name).presence,
    lambda name: subjects.presence_entry(subjects.address(name), "gateway1", "client1"),
    lambda name: subjects.presence_entry(subjects.address("room:a"), name, "client1"),
    lambda name: subjects.presence_entry(subjects.address("room:a"), "gateway1", name),
)


@fuzz
@given(_ANY_NAME)
def subject_names(name: str) -> None:
    """Whatever a client calls a thing, its subject has no wildcard, no space, no control character, no great length."""
    for build in _BUILDERS:
        try:
            subject = build(name)
        except names.BadName:
            continue
        assert subject.isascii()
        assert subject.isprintable()
        assert not set(subject) & set("*> ")
        assert len(subject) <= 400
        assert all(subject.split("."))


_KEY = ed25519.Ed25519PrivateKey.generate()
_RULES = Rules("parley", "parley", 900, 5, b"s" * 40)
_KEYS = keys_of({"keys": [{**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(_KEY.public_key())), "kid": "k"}]})


def _token() -> bytes:
    now = int(time.time())
    claims = {"sub": "ann", "sid": "s", "aud": "parley", "iss": "parley", "typ": "access", "iat": now, "exp": now + 600}
    return jwt.encode(claims, _KEY, "EdDSA", headers={"typ": "at+jwt", "kid": "k"}).encode()


@fuzz
@given(spoilt(st.builds(_token), 3), st.booleans())
def tokens(token: bytes, hmac: bool) -> None:
    """A spoilt token is refused as such, and by nothing else; only the whole one speaks for its user."""
    text = token.decode("latin-1")
    if hmac:
        text = jwt.encode({"sub": text[:300], "exp": len(text)}, "x" * 40, "HS256") + text[:3]
    try:
        assert verify(text, _KEYS, _RULES).user == "ann"
    except BadToken:
        pass


TARGETS = (
    frames,
    handshakes,
    json_frames,
    protobuf_frames,
    deltas,
    nats_cut,
    nats_spoilt,
    subject_names,
    tokens,
)
