"""HTTP streams under a transport of a test, and the way of posted frames to their sessions."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chassis.bus import Message, Nobody, Unavailable
from gateway import emulation
from gateway.emulation import Emulation, Gone
from gateway.publications import Encoded, encoded
from gateway.streaming import EVENTS, JSON_LINES, PROTOBUF_MESSAGES, Form, Stream
from protocol.client import Error, Reply
from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF
from protocol.frames import Codec

FORMS = [(JSON, JSON_LINES), (PROTOBUF, PROTOBUF_MESSAGES), (JSON, EVENTS)]


class Transport:
    """Takes what is written, as far as a stream needs it."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waiting = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Listener:
    """Notes what a stream or an emulation tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def frame_received(self, frame: bytes, text: bool) -> None:
        self.told.append((frame, text))

    def socket_closed(self, code: int) -> None:
        self.told.append(code)

    def writing_paused(self) -> None:
        self.told.append("paused")

    def writing_resumed(self) -> None:
        self.told.append("resumed")

    def shutdown(self) -> None:
        self.told.append("shutdown")


def stream(codec: Codec = JSON, form: Form = JSON_LINES) -> tuple[Stream, Transport, Listener]:
    """A stream with somebody attached."""
    transport, listener = Transport(), Listener()
    made = Stream(transport, codec, form)  # type: ignore[arg-type]
    made.attach(listener)
    return made, transport, listener


def content(transport: Transport) -> bytes:
    """What the client reads: the chunks without their frames."""
    rest, found = b"".join(transport.written), b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        found, end, rest = found + rest[:length], rest[length : length + 2], rest[length + 2 :]
        assert end == b"\r\n"
    return found


@pytest.mark.parametrize(
    ("codec", "form", "expected"),
    [
        (JSON, JSON_LINES, b'{"id":1,"error":{"code":1,"message":"x"}}\n{}\n'),
        (JSON, EVENTS, b'data: {"id":1,"error":{"code":1,"message":"x"}}\n\ndata: {}\n\n'),
        (PROTOBUF, PROTOBUF_MESSAGES, b"\x09\x08\x01\x12\x05\x08\x01\x12\x01x\x00"),
    ],
)
async def test_replies_stand_in_their_form(codec: Codec, form: Form, expected: bytes) -> None:
    """Replies written together are one chunk: lines, events, or messages behind their lengths."""
    made, transport, _ = stream(codec, form)
    replies = [encoded(codec, Reply(id=1, error=Error(1, "x"))), encoded(codec, Reply())]
    made.write(made.framing(codec).bundle(replies))
    assert content(transport) == expected
    assert len(transport.written) == 1


async def test_an_event_is_one_line() -> None:
    """A carriage return between the tokens of somebody's JSON does not end the line."""
    made, transport, _ = stream(JSON, EVENTS)
    made.write(made.framing(JSON).bundle([Encoded(JSON, b'{"a":\r1,"b":"\\r"}')]))
    assert content(transport) == b'data: {"a": 1,"b":"\\r"}\n\n'


def test_streams_of_one_form_share_their_framing() -> None:
    """What is framed once can be written to all of them."""
    for codec, form in FORMS:
        assert stream(codec, form)[0].framing(codec) is stream(codec, form)[0].framing(codec)


@pytest.mark.parametrize(("codec", "form"), FORMS)
async def test_the_end_is_a_push(codec: Codec, form: Form) -> None:
    """The last message says why; nothing is written behind it, and a peer that stays is aborted."""
    made, transport, listener = stream(codec, form)
    made.end(3001, "shutdown")
    written = content(transport)
    assert b"shutdown" in written
    assert await asyncio.wait_for(made.over(), 1) is True
    assert not made.open
    made.end(3000, "again")
    assert content(transport) == written
    assert listener.told == []
    made.lost(None)
    assert listener.told == [1001]


@pytest.mark.parametrize(("error", "code"), [(None, 1001), (ConnectionResetError(), 1006)])
async def test_a_client_that_leaves_is_reported_once(error: Exception | None, code: int) -> None:
    """The receiver learns how; the response is not to be completed."""
    made, _, listener = stream()
    made.lost(error)
    made.lost(error)
    assert listener.told == [code]
    assert await asyncio.wait_for(made.over(), 1) is False
    assert (made.open, made.waiting_bytes) == (False, 0)


async def test_a_client_that_left_before_is_reported() -> None:
    """A connection made for a client that is gone learns so at once."""
    made, listener = Stream(Transport(), JSON, JSON_LINES), Listener()  # type: ignore[arg-type]
    made.lost(None)
    made.attach(listener)
    assert listener.told == [1001]


async def test_what_waits_is_the_transports() -> None:
    """The bytes that the kernel has not taken count, and pauses are passed on."""
    made, transport, listener = stream()
    transport.waiting = 7
    assert made.waiting_bytes == 7
    made.paused()
    made.resumed()
    assert listener.told == ["paused", "resumed"]


async def test_shutdown_ends_a_stream() -> None:
    """A stopping process tells the connection, then the client; without headers yet it can only break off."""
    made, transport, listener = stream()
    made.shutdown()
    assert listener.told == ["shutdown"]
    assert b'"code":3001' in content(transport)
    transport = Transport()
    Stream(transport, JSON, JSON_LINES).shutdown()  # type: ignore[arg-type]
    assert transport.aborted


class Network:
    """Buses of several processes: requests go to whoever answers a subject."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[..., None]] = {}
        self.failure: Exception | None = None
        self.requests = 0
        self.under_way = self.most = 0

    async def answer(self, subject: str, serve: Callable[..., None]) -> None:
        self.answers[subject] = serve

    async def request(self, subject: str, body: bytes, seconds: float) -> Message:
        self.requests += 1
        if self.failure is not None:
            raise self.failure
        if subject not in self.answers:
            raise Nobody(subject)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            self.answers[subject](body, answer.set_result)
            return Message(subject, {}, await answer)
        finally:
            self.under_way -= 1


HERE, THERE = "h" * 20, "t" * 20


@pytest.fixture
def network() -> Network:
    """The network between `here` and `there`."""
    return Network()


@pytest.fixture
async def here(network: Network) -> Emulation:
    """The process that frames are posted to."""
    made = Emulation(HERE, network, 1)  # type: ignore[arg-type]
    await made.run()
    return made


@pytest.fixture
async def there(network: Network) -> Emulation:
    """Another process."""
    made = Emulation(THERE, network, 1)  # type: ignore[arg-type]
    await made.run()
    return made


@pytest.mark.parametrize(("frame", "text"), [(b'{"id":1}\n{}', True), (b"\x00\xff", False)])
async def test_frames_reach_their_session(here: Emulation, there: Emulation, frame: bytes, text: bool) -> None:
    """A frame comes to its session as it was posted, held here or there."""
    for node, holder in ((HERE, here), (THERE, there)):
        one, other = Listener(), Listener()
        holder.enter("one", one)
        holder.enter("other", other)
        await here.deliver(node, "one", frame, text=text)
        assert (one.told, other.told) == ([(frame, text)], [])


@pytest.mark.parametrize("node", [HERE, THERE, "x" * 20, "control", "", "*", ">", "a.b", "x" * 1000])
async def test_frames_for_nobody_are_gone(here: Emulation, there: Emulation, network: Network, node: str) -> None:
    """An unknown session, an unknown process, and what is no id at all."""
    with pytest.raises(Gone):
        await here.deliver(node, "one", b"{}", text=True)
    assert network.requests == (len(node) == 20 and node != HERE)


async def test_a_session_is_forgotten_with_its_client(here: Emulation) -> None:
    """When the client left, its frames are gone at once."""
    here.enter("one", Listener())
    here.leave("one", by_us=False)
    with pytest.raises(Gone):
        await here.deliver(HERE, "one", b"{}", text=True)


async def test_a_session_that_we_ended_is_remembered(here: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its frames are taken for a while, so that no 404 overtakes the push that tells why it ended."""
    monkeypatch.setattr(emulation, "REMEMBERED_SECONDS", 0.05)
    here.enter("one", Listener())
    here.leave("one", by_us=True)
    await here.deliver(HERE, "one", b"{}", text=True)

    async def forgotten() -> None:
        while True:
            await here.deliver(HERE, "one", b"{}", text=True)
            await asyncio.sleep(0.01)

    with pytest.raises(Gone):
        await asyncio.wait_for(forgotten(), 5)


async def test_no_answer_is_not_gone(here: Emulation, network: Network) -> None:
    """While NATS is away nothing is known of the session."""
    network.failure = Unavailable("away")
    with pytest.raises(Unavailable):
        await here.deliver(THERE, "one", b"{}", text=True)


async def test_frames_passed_on_are_bounded(network: Network) -> None:
    """No more than so many wait for an answer at a time; the others get their turn, or time out."""
    answering = False

    def slow(_: bytes, respond: Callable[[bytes], None]) -> None:
        if answering:
            respond(b"taken")

    made = Emulation(HERE, network, 0.2)  # type: ignore[arg-type]
    network.answers[f"gateway.{THERE}"] = slow
    work = [made.deliver(THERE, "one", b"{}", text=True) for _ in range(emulation.MAX_UNDER_WAY + 5)]
    results = await asyncio.gather(*work, return_exceptions=True)
    assert network.most == emulation.MAX_UNDER_WAY
    assert all(isinstance(one, Unavailable) for one in results)
    answering = True
    await made.deliver(THERE, "one", b"{}", text=True)


async def test_a_stranger_on_the_subject_reaches_nobody(there: Emulation, network: Network) -> None:
    """What is no frame of another process is not answered."""
    answers: list[bytes] = []

    for body in (b"", b"{}", b"\x93\xa1a\xa1b\xa1c", b"\xff"):
        network.answers[f"gateway.{THERE}"](body, answers.append)
    assert answers == []
