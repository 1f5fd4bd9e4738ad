"""HTTP streaming and server-sent events: a client behind a proxy that breaks WebSockets misses nothing but speed."""

import asyncio
from typing import Any

import pytest

from tests.bench.clients import bearer, guest, http
from tests.bench.metrics import metric
from tests.bench.ring import Ring
from tests.bench.streamed import FORMS, Streamed
from tests.system.conftest import Come


@pytest.mark.parametrize("form", FORMS)
async def test_a_client_lives_over_http(calm_ring: Ring, come: Come, form: str) -> None:
    """Connect, rooms, messages both ways and presence, as over a WebSocket, in JSON lines, Protobuf and events."""
    ann, bob = await come(calm_ring, form), await come(calm_ring, form)
    room = (await ann.call("room.create", name="A room"))["room"]["id"]
    await bob.call("room.join", room=room)
    assert (await ann.follow(room, join_leave=True))["recoverable"] is True
    await bob.follow(room)
    await ann.until(lambda: sum("join" in push for push in ann.pushes) == 2, "both joined")
    await ann.say(room, "a", "ä\nö 🎈")
    await bob.say(room, "c")
    for one in (ann, bob):
        await one.until(lambda one=one: len(one.texts) == 3, "all messages")
        assert one.texts == ["a", "ä\nö 🎈", "c"]
    presence = (await ann.ask(presence={"channel": f"room:{room}"}))["presence"]["presence"]
    assert len(presence) == 2
    await bob.leave()
    await ann.until(lambda: any("leave" in push for push in ann.pushes), "bob is seen to leave")


@pytest.mark.parametrize("form", ["lines", "events"])
async def test_line_ends_in_json_end_no_message(calm_ring: Ring, come: Come, form: str) -> None:
    """JSON may hold carriage returns between its tokens, which end a line of an event stream; replies arrive whole."""
    one = await come(calm_ring, form)
    await one.post(b'{"id":70,"rpc":{"method":"echo","data":{"a":\r1,\r"b":"\\r\\n"}}}')
    await one.until(lambda: 70 in one.replies, "the reply")
    assert one.replies[70]["rpc"]["data"] == {"a": 1, "b": "\r\n"}
    if form == "events":
        assert b"\r" not in one.all


@pytest.mark.parametrize("form", FORMS)
async def test_what_was_missed_is_recovered(calm_ring: Ring, come: Come, form: str) -> None:
    """Who comes back over HTTP with a position gets each event after it, in order."""
    account = await guest(calm_ring)
    ann, bob = await come(calm_ring, form, token=account.access), await come(calm_ring, form)
    room = (await ann.call("room.create", name="A room"))["room"]["id"]
    position = await ann.follow(room)
    await bob.call("room.join", room=room)
    await ann.leave()
    await bob.say(room, *"xyz")
    ann = await come(calm_ring, form, token=account.access)
    result = await ann.follow(
        room, recover=True, recoverable=True, epoch=position["epoch"], offset=position.get("offset", 0)
    )
    assert result["recovered"] is True
    assert [one["offset"] for one in result["publications"]] == [3, 4, 5, 6]
    assert [one["data"].get("text") for one in result["publications"]] == [None, "x", "y", "z"]


async def test_socket_and_stream_share_a_room(calm_ring: Ring, come: Come, entered: Any) -> None:
    """A room does not tell transports apart."""
    ann, bob = await come(calm_ring), await entered(calm_ring)
    room = await bob.make_room()
    await bob.follow(room)
    await ann.call("room.join", room=room)
    await ann.follow(room)
    await ann.say(room, "from a stream")
    await bob.say(room, "from a socket")
    await bob.until(lambda: len(bob.texts(room)) == 2, "both arrive")
    await ann.until(lambda: ann.texts == bob.texts(room) == ["from a stream", "from a socket"], "both arrive")


@pytest.mark.parametrize("form", FORMS)
async def test_frames_reach_their_stream_through_any_process(calm_ring: Ring, come: Come, form: str) -> None:
    """A frame may be posted to a process that does not hold the stream: it is passed on, and in order."""
    one = await come(calm_ring, form)
    before = {way: await metric(calm_ring, "parley_emulated_frames_total", result=way) for way in ("here", "passed_on")}

    async def grown(way: str) -> bool:
        return await metric(calm_ring, "parley_emulated_frames_total", result=way) > before[way]

    sent = 0
    while sent < 20 or not (await grown("here") and await grown("passed_on")):
        assert sent < 400, "every post reaches one process"
        sent += 1
        assert (await one.call("echo", number=sent)) == {"number": sent}


async def test_a_burst_of_frames_is_answered_whole(calm_ring: Ring, come: Come) -> None:
    """A hundred posts at once are all taken and all answered."""
    one = await come(calm_ring)
    replies = await asyncio.gather(*(one.call("echo", number=number) for number in range(100)))
    assert [reply["number"] for reply in replies] == list(range(100))


@pytest.mark.parametrize("form", FORMS)
async def test_pings_are_answered_by_posts(strict_ring: Ring, come: Come, form: str) -> None:
    """The heartbeat works over HTTP: three rounds with a pong each, and the stream is still there."""
    one = await come(strict_ring, form)
    await one.until(lambda: one.pings >= 3, "three pings")
    assert await one.call("echo", still="here") == {"still": "here"}


@pytest.mark.parametrize("form", FORMS)
async def test_without_a_pong_the_stream_ends(strict_ring: Ring, come: Come, form: str) -> None:
    """A client that does not answer is told so by the last message, and the response ends."""
    one = await come(strict_ring, form, pong=False)
    assert await one.end() == (3012, "no pong")


async def test_an_http_header_proves_who_asks(calm_ring: Ring, come: Come) -> None:
    """The dependency of the WebSocket endpoint serves streams as well; a wrong token gets no stream."""
    account = await guest(calm_ring)
    one = Streamed(calm_ring, "lines")
    try:
        await one.open(headers=bearer(account))
        await one.until(lambda: 1 in one.replies, "a connect reply")
        assert f"user:{account.id}" in one.replies[1]["connect"]["subs"]
    finally:
        await one.leave()
    answer = await http(
        "POST", f"{calm_ring.gateway_url}/connection/http_stream", headers={"Authorization": "Bearer x"}
    )
    assert answer.status_code == 401
