"""The client protocol on the wire, frame by frame: order, deadlines, codes, history and recovery."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets

from tests.bench.clients import GENERAL, Frames, guest
from tests.bench.people import Person
from tests.bench.ring import Ring

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]
CHANNEL = f"room:{GENERAL}"


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


# Connect.


async def test_connect_tells_what_a_client_needs(ring: Ring, frames: Open) -> None:
    """The reply to connect has client id, version, token life, ping interval, session, node and time."""
    one = await frames(ring)
    result = await one.enter((await guest(ring)).access)
    assert result["version"]
    assert len(result["client"]) >= 16
    assert result["session"]
    assert result["node"]
    assert result["expires"] is True
    assert 500 < result["ttl"] <= 600
    assert result["ping"] == 25
    assert result["pong"] is True
    assert abs(result["time"] / 1000 - time.time()) < 60


@pytest.mark.parametrize(
    "command",
    [
        {"id": 1, "rpc": {"method": "echo", "data": 1}},
        {"id": 1, "subscribe": {"channel": CHANNEL}},
        {"id": 1, "refresh": {"token": "x"}},
        {},
    ],
    ids=["rpc", "subscribe", "refresh", "pong"],
)
async def test_nothing_comes_before_connect(ring: Ring, frames: Open, command: dict[str, Any]) -> None:
    """Any other first command closes with 3501."""
    one = await frames(ring)
    await one.send(command)
    assert await one.end() == (3501, "bad request")
    assert not one.replies


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "\n",
        "[]",
        "null",
        "1",
        '"connect"',
        '{"connect": {}}',
        '{"id": -1, "connect": {}}',
        '{"id": 1, "connect": 5}',
    ],
)
async def test_a_first_frame_without_a_command_closes(ring: Ring, frames: Open, frame: str) -> None:
    """An empty frame, and one that is no command, closes with 3501."""
    one = await frames(ring)
    await one.send(frame)
    assert (await one.end())[0] == 3501


async def test_connect_twice_closes(ring: Ring, entered: Open) -> None:
    """A second connect closes with 3501."""
    one = await entered(ring)
    await one.send(one.numbered(connect={}))
    assert (await one.end())[0] == 3501


async def test_a_stray_pong_closes(ring: Ring, entered: Open) -> None:
    """A pong that nobody asked for closes with 3501."""
    one = await entered(ring)
    await one.send({})
    assert (await one.end())[0] == 3501


async def test_no_token_closes(ring: Ring, frames: Open) -> None:
    """Connect without any credentials closes with 3501."""
    one = await frames(ring)
    await one.send(one.numbered(connect={}))
    assert (await one.end())[0] == 3501


async def test_no_connect_in_time_closes(strict_ring: Ring, frames: Open) -> None:
    """A socket that stays silent is closed with 3502 after CONNECT_SECONDS, and not before."""
    started = time.monotonic()
    one = await frames(strict_ring)
    assert await one.end() == (3502, "stale")
    assert 1.9 < time.monotonic() - started < 5


async def test_what_follows_connect_in_its_frame_waits_for_it(ring: Ring, frames: Open) -> None:
    """Connect, subscribe and a call in one frame, as the JavaScript SDK sends them, are answered in that order."""
    account = await guest(ring)
    first = await frames(ring)
    await first.enter(account.access)
    await first.call("room.join", room=GENERAL)
    one = await frames(ring)
    await one.send(
        one.numbered(connect={"token": account.access}),
        one.numbered(subscribe={"channel": CHANNEL}),
        one.numbered(rpc={"method": "echo", "data": "after"}),
    )
    assert (await one.reply(3))["rpc"] == {"data": "after"}
    assert one.order == [1, 2, 3]
    assert one.replies[2]["subscribe"]["recoverable"] is True


async def test_the_json_subprotocol_is_echoed(ring: Ring, frames: Open) -> None:
    """`centrifuge-json` is answered with itself, whatever is offered beside it; an unknown one with none."""
    for offered, answered in (
        (["centrifuge-json"], "centrifuge-json"),
        (["something", "centrifuge-json"], "centrifuge-json"),
        (["something"], None),
        (None, None),
    ):
        one = await frames(ring, subprotocols=offered)
        assert one.socket.subprotocol == answered
        assert (await one.enter((await guest(ring)).access))["client"]


async def test_an_empty_subprotocol_is_tolerated(ring: Ring, frames: Open) -> None:
    """Old Python SDKs send an empty Sec-WebSocket-Protocol; they are let in."""
    one = await frames(ring, additional_headers={"Sec-WebSocket-Protocol": ""})
    assert one.socket.subprotocol is None
    assert (await one.enter((await guest(ring)).access))["client"]


async def test_what_is_unknown_is_ignored(ring: Ring, frames: Open) -> None:
    """Query keys and fields that we do not know change nothing: newer clients keep working."""
    one = await frames(ring, "?cf_protocol_version=v2&utm=1&x")
    token = (await guest(ring)).access
    await one.enter(token, name="js", version="99", flag=255, profile="x", dict={"a": [1]}, headers={"a": "b"})
    reply = await one.ask(rpc={"method": "echo", "data": {"x": 1}, "since": 5}, trace={"a": 1})
    assert reply["rpc"]["data"] == {"x": 1}
    await one.follow(GENERAL, tf={"op": "and"}, map=True, delta="fossil", flag=7)


async def test_one_frame_may_end_with_a_newline(ring: Ring, entered: Open) -> None:
    """Commands are separated by newlines, and the last one may be followed by one."""
    one = await entered(ring)
    await one.socket.send('{"id":11,"rpc":{"method":"echo","data":1}}\n{"id":12,"rpc":{"method":"echo","data":2}}\n')
    assert (await one.reply(12))["rpc"]["data"] == 2
    assert one.replies[11]["rpc"]["data"] == 1


# Heartbeat.


async def test_pings_come_on_schedule_on_a_busy_connection(strict_ring: Ring, entered: Open) -> None:
    """The first ping comes within the interval, the others one interval apart, however much else is sent."""
    started = time.monotonic()
    one = await entered(strict_ring)
    while len(one.pings) < 3:
        await one.call("echo", x="busy")
        assert time.monotonic() - started < 15
    assert 0.9 < one.pings[0] - started < 4
    for earlier, later in zip(one.pings, one.pings[1:], strict=False):
        assert 1.8 < later - earlier < 3


async def test_an_unanswered_ping_closes(strict_ring: Ring, entered: Open) -> None:
    """Without a pong the connection is closed with 3012, though other frames come."""
    one = await entered(strict_ring, pong=False)
    await one.call("echo", x=1)
    assert await one.end() == (3012, "no pong")
    assert len(one.pings) == 1
    # one PONG_SECONDS after the ping
    assert 1.8 < time.monotonic() - one.pings[0] < 4


async def test_a_second_pong_closes(strict_ring: Ring, entered: Open) -> None:
    """One pong per ping: a second one closes with 3501."""
    one = await entered(strict_ring, pong=False)
    await one.until(lambda: one.pings, "a ping")
    await one.send({}, {})
    assert (await one.end())[0] == 3501


# Refusals and endings of single commands.


@pytest.mark.parametrize(
    ("code", "request_"),
    [
        (102, {"subscribe": {"channel": "nowhere"}}),
        (102, {"subscribe": {"channel": "user:abc"}}),
        (102, {"subscribe": {"channel": "room:nobodyhasthisid"}}),
        (102, {"publish": {"channel": "nowhere", "data": "x"}}),
        (102, {"history": {"channel": "nowhere"}}),
        (103, {"subscribe": {"channel": CHANNEL}}),
        (103, {"history": {"channel": CHANNEL}}),
        (103, {"presence": {"channel": CHANNEL}}),
        (103, {"presence_stats": {"channel": CHANNEL}}),
        (104, {"rpc": {"method": "room.destroy", "data": {}}}),
        (104, {"rpc": {"method": "", "data": {}}}),
        (104, {"rpc": {"method": "room.access", "data": {"room": GENERAL}}}),
        (104, {"dance": {}}),
        (107, {"subscribe": {"channel": "room:" + "a" * 300}}),
        (107, {"subscribe": {"channel": "room:é"}}),
        (107, {"publish": {"channel": CHANNEL, "data": 5}}),
        (108, {"ping": {}}),
        (103, {"sub_refresh": {"channel": CHANNEL, "token": "x"}}),
        (400, {"rpc": {"method": "room.join"}}),
        (400, {"rpc": {"method": "room.join", "data": {"room": 5}}}),
        (400, {"rpc": {"method": "room.join", "data": "text"}}),
        (400, {"rpc": {"method": "message.send", "data": {"room": GENERAL, "id": "a b", "text": "x"}}}),
        (400, {"rpc": {"method": "message.send", "data": {"room": GENERAL, "id": "a", "text": "  "}}}),
        (403, {"rpc": {"method": "message.send", "data": {"room": GENERAL, "id": "a", "text": "x"}}}),
        (403, {"publish": {"channel": CHANNEL, "data": "x"}}),
        (404, {"rpc": {"method": "room.join", "data": {"room": "nobodyhasthisid"}}}),
        (404, {"rpc": {"method": "message.send", "data": {"room": "nobodyhasthisid", "id": "a", "text": "x"}}}),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else str(value),
)
async def test_refusals_have_their_codes(ring: Ring, entered: Open, code: int, request_: dict[str, Any]) -> None:
    """A command that is refused gets its error, and the connection goes on."""
    one = await entered(ring)
    assert await one.refusal(**request_) == code
    assert (await one.call("echo", x=1)) == {"x": 1}


async def test_refusals_of_those_who_follow(ring: Ring, entered: Open) -> None:
    """Twice the same channel is 105; history since another epoch 112, reversed since 0 107."""
    one = await entered(ring)
    await one.follow()
    assert await one.refusal(subscribe={"channel": CHANNEL}) == 105
    assert await one.refusal(history={"channel": CHANNEL, "limit": 1, "since": {"offset": 1, "epoch": "x"}}) == 112
    assert await one.refusal(history={"channel": CHANNEL, "reverse": True, "limit": 1, "since": {"offset": 0}}) == 107


async def test_one_subscription_too_many_is_refused(strict_ring: Ring, entered: Open) -> None:
    """Beyond MAX_SUBSCRIPTIONS the next is refused with 106; giving one up makes room for it."""
    one = await entered(strict_ring)
    rooms = [await one.make_room() for _ in range(4)]
    for room in rooms[:3]:
        assert "subscribe" in await one.ask(subscribe={"channel": f"room:{room}"})
    assert await one.refusal(subscribe={"channel": f"room:{rooms[3]}"}) == 106
    await one.ask(unsubscribe={"channel": f"room:{rooms[0]}"})
    assert "subscribe" in await one.ask(subscribe={"channel": f"room:{rooms[3]}"})


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (3508, {"send": {"data": {}}}),
        (3501, {"id": 7, "subscribe": {"channel": ""}}),
        (3501, {"id": 7, "unsubscribe": {"channel": ""}}),
        (3501, {"id": 7, "history": {"channel": ""}}),
        (3501, {"rpc": {"method": "echo", "data": 1}}),
        (3501, {"subscribe": {"channel": CHANNEL}}),
        (3501, {"id": "seven", "rpc": {"method": "echo"}}),
        (3501, {"id": 7, "rpc": []}),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else str(value),
)
async def test_what_breaks_the_protocol_closes(ring: Ring, entered: Open, code: int, command: dict[str, Any]) -> None:
    """A command without an id or a channel, or of the wrong shape, closes with its code."""
    one = await entered(ring)
    await one.send(command)
    assert (await one.end())[0] == code


async def test_a_binary_frame_closes(ring: Ring, entered: Open) -> None:
    """A JSON connection takes text only: 3506."""
    one = await entered(ring)
    await one.socket.send(b"\x00\x01")
    assert (await one.end())[0] == 3506


# History.


async def test_history_gives_any_part_of_the_log(ring: Ring, entered: Open) -> None:
    """Limit, since and reverse choose what is returned; the position is always told."""
    one = await entered(ring)
    room = await one.make_room()
    await one.follow(room)
    await one.say(room, *"abcdef")  # offsets 3 to 8, after created and joined

    async def history(**fields: Any) -> tuple[list[int], int]:
        found = (await one.ask(history={"channel": f"room:{room}", **fields}))["history"]
        assert found["epoch"]
        return [one["offset"] for one in found["publications"]], found["offset"]

    epoch = (await one.ask(history={"channel": f"room:{room}"}))["history"]["epoch"]
    assert await history() == ([], 8)
    assert await history(limit=0) == ([], 8)
    assert await history(limit=3) == ([1, 2, 3], 8)
    assert await history(limit=-1) == (list(range(1, 9)), 8)
    assert await history(limit=2, reverse=True) == ([8, 7], 8)
    assert await history(limit=2, since={"offset": 4, "epoch": epoch}) == ([5, 6], 8)
    assert await history(limit=2, since={"offset": 4}) == ([5, 6], 8)
    assert await history(limit=2, since={"offset": 4, "epoch": epoch}, reverse=True) == ([3, 2], 8)
    assert await history(limit=10, since={"offset": 8, "epoch": epoch}) == ([], 8)
    assert await history(limit=10, since={"offset": 99, "epoch": epoch}) == ([], 8)


async def test_history_ends_at_its_limit(strict_ring: Ring, entered: Open) -> None:
    """More than HISTORY_LIMIT is never returned at once."""
    one = await entered(strict_ring)
    room = await one.make_room()
    await one.follow(room)
    await one.say(room, *"abcdefghijkl")
    for limit in (-1, 1000):
        found = (await one.ask(history={"channel": f"room:{room}", "limit": limit, "reverse": True}))["history"]
        assert [one["offset"] for one in found["publications"]] == list(range(14, 4, -1))


# Subscribe and unsubscribe.


async def test_bursts_end_as_the_last_command_says(ring: Ring, entered: Open) -> None:
    """Subscribing and unsubscribing again and again without waiting ends subscribed, and each event comes once."""
    one = await entered(ring)
    room = await one.make_room()
    channel = f"room:{room}"
    on = [one.numbered(subscribe={"channel": channel}) for _ in range(20)]
    off = [one.numbered(unsubscribe={"channel": channel}) for _ in range(19)]
    burst = [command for pair in zip(on, off, strict=False) for command in pair] + [on[-1]]
    await one.send(*burst[:20])
    for command in burst[20:]:
        await one.send(command)
    for command in burst:
        reply = await one.reply(command["id"])
        assert "error" not in reply, reply
    await one.say(room, *"abc")
    await one.until(lambda: len(one.texts(room)) >= 3, "the messages arrive")
    assert one.texts(room) == ["a", "b", "c"]
    await one.ask(unsubscribe={"channel": channel})
    await one.say(room, "z")
    assert one.texts(room) == ["a", "b", "c"]


async def test_unsubscribing_from_anything_succeeds(ring: Ring, entered: Open) -> None:
    """Unsubscribe is answered with an empty result, also for a channel that was not followed."""
    one = await entered(ring)
    for channel in (CHANNEL, "nowhere", "room:nobodyhasthisid"):
        assert (await one.ask(unsubscribe={"channel": channel}))["unsubscribe"] == {}


async def test_the_close_frame_is_answered(ring: Ring) -> None:
    """A client that leaves gets the answer the WebSocket protocol promises, at once."""
    async with websockets.connect(ring.websocket_url, proxy=None) as socket:
        await socket.send(json.dumps({"id": 1, "connect": {"token": (await guest(ring)).access}}))
        await socket.recv()
        started = time.monotonic()
        await asyncio.wait_for(socket.close(1000, "bye"), 5)
    assert socket.close_code == 1000
    assert time.monotonic() - started < 1
