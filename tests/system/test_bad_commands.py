"""Bad commands: each is refused by a code, its connection goes on, and nobody else notices."""

from typing import Any

import pytest

from tests.bench.clients import GENERAL, Frames
from tests.bench.health import alive

pytestmark = pytest.mark.usefixtures("unharmed")


async def test_unknown_methods_and_commands_are_refused(sender: Frames) -> None:
    """A method or command nobody knows is error 104, and the connection goes on."""
    for request in ({"rpc": {"method": "room.explode"}}, {"explode": {}}, {"rpc": {"method": "a" * 5000}}):
        assert await sender.refusal(**request) == 104
    await alive(sender)


ROOMS = ["a.b", "a*", "*", ">", "room.>", "a b", "a\r\nb", "a\r\nPUB x 0", "a\x00b", "\t", "é", "A", "../x"]
ROOMS += ["", "a" * 5000, "a" * 33, "\u2028", "a:b", "%00", "$JS.API.STREAM.DELETE.ROOMS"]


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: repr(room)[:30])
async def test_a_room_id_that_is_none_is_refused(sender: Frames, room: str) -> None:
    """Separators, wildcards, white space, control characters and lengths never reach NATS: every method says no."""
    for method in ("room.join", "room.leave", "room.members", "room.history", "message.send"):
        body = {"room": room, "id": "an-id", "text": "hello"}
        assert await sender.refusal(rpc={"method": method, "data": body}) in (400, 404), method
    channel = f"room:{room}"
    for request in ("subscribe", "history", "presence", "presence_stats"):
        assert await sender.refusal(**{request: {"channel": channel}}) in (102, 107), request
    assert await sender.refusal(publish={"channel": channel, "data": "hello"}) in (102, 107)
    assert "unsubscribe" in await sender.ask(unsubscribe={"channel": channel})
    await alive(sender)


@pytest.mark.parametrize("message_id", ["", "a" * 65, "a.b", "a b", "\r\n", "\x00", "é", "*", ">", 5, None])
async def test_a_message_id_that_is_none_is_refused(sender: Frames, message_id: Any) -> None:
    """Ids of messages become NATS headers; what does not follow their grammar is error 400."""
    body = {"room": GENERAL, "id": message_id, "text": "hello"}
    assert await sender.refusal(rpc={"method": "message.send", "data": body}) == 400
    await alive(sender)


@pytest.mark.parametrize(
    "data",
    ["5", '"text"', "[]", "null", "{}", '{"room":5}', '{"room":null}', '{"room":["general"]}', '{"room":{"$gt":""}}'],
)
async def test_a_request_of_the_wrong_shape_is_refused(sender: Frames, data: str) -> None:
    """What a method is asked with must have its fields, of their types."""
    for number, method in enumerate(("room.create", "room.join", "room.members", "room.history", "message.send"), 900):
        await sender.send(f'{{"id":{number},"rpc":{{"method":"{method}","data":{data}}}}}')
        assert (await sender.reply(number))["error"]["code"] == 400, method
    await alive(sender)


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": -1},
        {"limit": 101},
        {"limit": 10**30},
        {"limit": 1.5},
        {"before": -1},
        {"before": 2**63},
        {"after": "1"},
        {"before": 5, "after": 5},
        {"before": 10**400},
    ],
    ids=lambda fields: str(fields)[:30],
)
async def test_a_page_that_cannot_be_is_refused(sender: Frames, fields: dict[str, Any]) -> None:
    """Limits and offsets of room.history have bounds."""
    body = {"room": GENERAL, **fields}
    assert await sender.refusal(rpc={"method": "room.history", "data": body}) == 400
    await alive(sender)


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 2**31 - 1},
        {"limit": -(2**31)},
        {"limit": 5, "since": {"offset": 2**62}},
        {"limit": 5, "reverse": True, "since": {"offset": 2**62}},
    ],
    ids=str,
)
async def test_odd_numbers_in_history_are_answered(sender: Frames, fields: dict[str, Any]) -> None:
    """Any numbers that the wire has are answered, with a result or a refusal."""
    await sender.ask(subscribe={"channel": f"room:{GENERAL}"})
    reply = await sender.ask(history={"channel": f"room:{GENERAL}", **fields})
    assert "history" in reply or reply["error"]["code"] in (107, 112)
    await alive(sender)


@pytest.mark.parametrize(("epoch", "offset"), [("x" * 5000, 1), ("\x00", 0), ("", 2**62), (None, 2**62)])
async def test_odd_positions_are_answered(sender: Frames, epoch: str | None, offset: int) -> None:
    """Whatever position a client claims to recover from, it is subscribed: recovered or not."""
    channel = f"room:{GENERAL}"
    if epoch is None:
        epoch = (await sender.ask(subscribe={"channel": channel}))["subscribe"]["epoch"]
        await sender.ask(unsubscribe={"channel": channel})
    reply = await sender.ask(subscribe={"channel": channel, "recover": True, "epoch": epoch, "offset": offset})
    assert reply["subscribe"]["was_recovering"] is True
    assert not reply["subscribe"].get("recovered")
    await alive(sender)
