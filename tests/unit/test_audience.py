"""Fan-out by channel: everybody gets everything once and in order, in its own form, whenever it joins or leaves."""

import asyncio
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audience import FRAME_BYTES, Audience, rest_after
from gateway.outbox import Outbox
from gateway.postman import SLICE, Postman
from gateway.publications import Encoded, PublicationPush, encoded
from gateway.ring import Entry
from protocol.client import Reply
from protocol.client_json import JSON
from protocol.client_protobuf import PROTOBUF
from protocol.frames import Codec


class Lines:
    """A framing that keeps replies apart."""

    def bundle(self, replies: list[Encoded]) -> bytes:
        """Return them in lines."""
        return b"".join(reply.payload + b"\n" for reply in replies)


LINES = Lines()


class Client:
    """A follower with a wire that remembers its writes."""

    kind = "test"

    def __init__(self, postman: Postman, codec: Codec = JSON, limit: int = 1 << 30) -> None:
        self.codec = codec
        self.writes: list[bytes] = []
        self.ended: list[int] = []
        self.waiting_bytes = 0
        self.outbox = Outbox(self, self, postman, limit)  # type: ignore[arg-type]

    def framing(self, _: Codec) -> Lines:
        """Frame as all do."""
        return LINES

    @property
    def open(self) -> bool:
        """Until ended."""
        return not self.ended

    @property
    def ready(self) -> bool:
        """As long as it is open and reads."""
        return self.open and not self.waiting_bytes

    @property
    def transport(self) -> "Client":
        """Stand for its own transport."""
        return self

    def write(self, data: bytes) -> None:
        """Remember."""
        self.writes.append(data)

    def end(self, code: Any) -> None:
        """Remember."""
        self.ended.append(code.code)

    @property
    def offsets(self) -> list[int]:
        """Offsets of what was received, in order."""
        lines = b"".join(self.writes).splitlines()
        return [int(line.split(b'"offset":')[1].split(b"}")[0].split(b",")[0]) for line in lines if b"offset" in line]


def push(offset: int, body: bytes = b'"x"', previous: bytes | None = None) -> PublicationPush:
    """Return an event."""
    return PublicationPush("room:a", Entry(offset, offset, "message", "u", "", body), previous)


async def settled(audience: Audience) -> None:
    """Return when nothing waits any more."""
    async with asyncio.timeout(5):
        while audience._pending or audience._flush is not None or audience._queued:
            await asyncio.sleep(0)


async def test_what_comes_in_one_turn_is_one_write() -> None:
    """Ten events, one write each to two clients, the same bytes object."""
    postman = Postman()
    audience = Audience(postman, 0.0)
    one, two = Client(postman), Client(postman)
    for client in (one, two):
        audience.add(client.outbox, wants_delta=False, has_previous=False)
    out = []
    for offset in range(1, 11):
        event = push(offset)
        event.on_sockets = partial(out.append, offset)
        audience.broadcast(event)
    await settled(audience)
    assert one.offsets == two.offsets == list(range(1, 11))
    assert len(one.writes) == 1
    assert one.writes[0] is two.writes[0]
    assert out == list(range(1, 11))


async def test_a_reply_that_waits_goes_first() -> None:
    """What was put into the outbox before an event is written before it: the subscribe reply is."""
    postman = Postman()
    audience = Audience(postman, 0.0)
    others = [Client(postman) for _ in range(SLICE)]
    for client in others:
        client.outbox.put(encoded(JSON, Reply(id=1)))
    late = Client(postman)
    late.outbox.put(encoded(JSON, Reply(id=77)))
    audience.add(late.outbox, wants_delta=False, has_previous=False)
    audience.broadcast(push(1))
    await settled(audience)
    written = b"".join(late.writes)
    assert written.index(b'"id":77') < written.index(b'"offset":1')


async def test_a_large_audience_is_written_to_in_slices() -> None:
    """Others have their turn while thousands are written to, and events meanwhile come behind, in order."""
    postman = Postman()
    audience, small = Audience(postman, 0.0), Audience(postman, 0.0)
    crowd = [Client(postman) for _ in range(4 * SLICE)]
    for client in crowd:
        audience.add(client.outbox, wants_delta=False, has_previous=False)
    alone = Client(postman)
    small.add(alone.outbox, wants_delta=False, has_previous=False)
    audience.broadcast(push(1))
    await asyncio.sleep(0)
    small.broadcast(push(9))
    audience.broadcast(push(2))
    await settled(small)
    assert alone.offsets == [9]
    assert not crowd[-1].writes, "the crowd is not through when the small room is"
    await settled(audience)
    assert all(client.offsets == [1, 2] for client in crowd)


async def test_who_leaves_gets_what_waits_and_no_more() -> None:
    """Before its turn in a flush and with more pending."""
    postman = Postman()
    audience = Audience(postman, 0.0)
    crowd = [Client(postman) for _ in range(2 * SLICE)]
    for client in crowd:
        audience.add(client.outbox, wants_delta=False, has_previous=False)
    audience.broadcast(push(1))
    await asyncio.sleep(0)
    audience.broadcast(push(2))
    leaving = crowd[-1]
    assert not leaving.writes
    audience.remove(leaving.outbox)
    assert leaving.offsets == [1, 2]
    audience.broadcast(push(3))
    await settled(audience)
    assert leaving.offsets == [1, 2]
    assert crowd[0].offsets == [1, 2, 3]


async def test_data_that_is_not_json_ends_json_followers_alone() -> None:
    """A Protobuf follower gets it; one in JSON is ended with the code for that."""
    postman = Postman()
    audience = Audience(postman, 0.0)
    text, binary = Client(postman), Client(postman, PROTOBUF)
    for client in (text, binary):
        audience.add(client.outbox, wants_delta=False, has_previous=False)
    audience.broadcast(push(1, b"\xff\x00"))
    await settled(audience)
    assert text.ended == [3506]
    assert binary.writes


async def test_one_that_takes_nothing_is_ended_and_nobody_else_notices() -> None:
    """Its unread bytes and the new ones are above the limit."""
    postman = Postman()
    audience = Audience(postman, 0.0)
    slow, good = Client(postman, limit=1000), Client(postman, limit=1000)
    slow.waiting_bytes = 990
    for client in (slow, good):
        audience.add(client.outbox, wants_delta=False, has_previous=False)
    audience.broadcast(push(1))
    await settled(audience)
    assert slow.ended == [3008]
    assert good.offsets == [1]


async def test_a_frame_has_a_bound() -> None:
    """Many large events leave as several frames, in order, none much above the bound."""
    postman = Postman()
    audience = Audience(postman, 10.0)
    client = Client(postman)
    audience.add(client.outbox, wants_delta=False, has_previous=False)
    body = b'"' + b"x" * 10_000 + b'"'
    for offset in range(1, 41):
        audience.broadcast(push(offset, body))
    await settled(audience)
    assert client.offsets == list(range(1, 41))
    assert max(map(len, client.writes)) <= FRAME_BYTES
    assert len(client.writes) == 4


@pytest.mark.parametrize(
    ("cost", "longest", "rest"), [(0.0, 1, 0.0), (0.0005, 1, 0.0), (0.004, 0.025, 0.008), (0.1, 0.025, 0.025)]
)
def test_a_channel_rests_after_what_it_cost(cost: float, longest: float, rest: float) -> None:
    """Cheap flushes need no rest; the longest is the setting."""
    assert rest_after(cost, longest) == rest


step = st.one_of(
    st.tuples(st.just("event"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["join", "join delta", "leave"]), st.integers(0, 5)),
    st.tuples(st.just("turn"), st.integers(0, 2)),
)


@given(st.lists(step, max_size=40))
def test_everybody_gets_exactly_what_was_broadcast_while_it_followed(steps: list[tuple[str, int]]) -> None:
    """Whatever the interleaving of events, joins, leaves and turns of the event loop, with deltas and without."""

    async def walk() -> None:
        postman = Postman()
        audience = Audience(postman, 0.001)
        here: dict[int, tuple[Client, list[int]]] = {}
        gone: list[tuple[Client, list[int]]] = []
        top = 0
        for what, which in steps:
            if what == "event":
                for _ in range(which + 1):
                    top += 1
                    audience.broadcast(push(top, b'{"n":%d}' % top, b'{"n":%d}' % (top - 1)))
                    for _, due in here.values():
                        due.append(top)
            elif what.startswith("join") and which not in here:
                here[which] = (Client(postman, PROTOBUF if which % 2 and what == "join delta" else JSON), [])
                audience.add(here[which][0].outbox, wants_delta=what == "join delta", has_previous=False)
            elif what == "leave" and which in here:
                gone.append(here.pop(which))
                audience.remove(gone[-1][0].outbox)
            else:
                for _ in range(which):
                    await asyncio.sleep(0)
        await settled(audience)
        for client, due in [*here.values(), *gone]:
            if client.codec is JSON:
                assert client.offsets == due
            if due:
                first = b"".join(client.writes).splitlines()[0]
                assert b'"delta":true' not in first, "the first event has to be whole"

    asyncio.run(walk())
