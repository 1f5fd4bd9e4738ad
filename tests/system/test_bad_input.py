"""Bad input: a clear answer to whoever sent it, and nobody else notices.

After each case a bystander on the same worker says something and hears it, and the services' logs hold no traceback.
In the end NATS was never lost and nothing failed through our fault.
"""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import websockets

from tests.bench.clients import GENERAL, Account, Frames, bearer, guest, http, new_message_id, registered, ticket
from tests.bench.metrics import metrics_page, total
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
KIB = 1024


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


def logs(ring: Ring) -> dict[str, str]:
    """Return every log of the ring by file name."""
    return {path.name: path.read_text(errors="replace") for path in Path(ring.directory, "logs").iterdir()}


async def health(ring: Ring) -> dict[str, float]:
    """Return what must not change: NATS connections and errors, endings through our fault."""
    counted: dict[str, float] = {}
    for part in ("gateway", "chat", "auth"):
        page = await metrics_page(ring, part)
        counted[f"{part} connected"] = total(page, "parley_nats_connected")
        counted[f"{part} reconnects"] = total(page, "parley_nats_reconnects_total")
        counted[f"{part} NATS errors"] = total(page, "parley_nats_errors_total")
        counted[f"{part} 500"] = total(page, "parley_http_requests_total", status="500")
        counted[f"{part} ended by our fault"] = total(page, "parley_disconnects_total", code="3004")
    return counted


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def unharmed(ring: Ring) -> AsyncIterator[None]:
    """What the metrics say of faults must be the same before and after all tests of this file."""
    before = await health(ring)
    assert before["gateway connected"] == before["chat connected"] == before["auth connected"] == 1
    yield
    assert await health(ring) == before


@pytest_asyncio.fixture
async def sender(ring: Ring, frames: Open) -> AsyncIterator[Frames]:
    """A client in the room `general`; after the test a bystander on its worker must be well."""
    account = await guest(ring, "Sender")
    one = await frames(ring)
    node = (await one.enter(account.access))["node"]
    await one.call("room.join", room=GENERAL)
    while True:
        bystander = await frames(ring)
        if (await bystander.enter((await guest(ring, "Bystander")).access))["node"] == node:
            break
    room = await bystander.make_room()
    await bystander.follow(room)
    yield one
    await bystander.say(room, "still here")
    await bystander.until(lambda: bystander.texts(room), "the bystander hears itself")
    assert [name for name, text in logs(ring).items() if "Traceback" in text] == []


async def alive(one: Frames) -> None:
    """Assert that the connection goes on."""
    assert await one.call("echo", x=1) == {"x": 1}


# Frames.

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


# Commands.


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


# Texts and names.


async def send(one: Frames, text: str) -> dict[str, Any]:
    """Send a message; return the reply, whatever it is."""
    return await one.ask(
        rpc={"method": "message.send", "data": {"room": GENERAL, "id": new_message_id(), "text": text}}
    )


@pytest.mark.parametrize("unit", ["a", "é", "€", "😀"])
async def test_a_text_has_4096_bytes_at_most(sender: Frames, unit: str) -> None:
    """4,096 bytes of UTF-8 are taken, one byte more is error 413, however many characters that is."""
    longest = unit * (4096 // len(unit.encode()))
    longest += "a" * (4096 - len(longest.encode()))
    assert len(longest.encode()) == 4096
    reply = await send(sender, longest)
    assert "rpc" in reply, reply
    history = await sender.call("room.history", room=GENERAL, limit=1)
    assert history["events"][0]["text"] == longest
    assert (await send(sender, longest + "a"))["error"]["code"] == 413
    await alive(sender)


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u200b\u200d", "\x00", "\u202e\u2066", "\ufeff"], ids=repr)
async def test_a_text_with_nothing_to_see_is_refused(sender: Frames, text: str) -> None:
    """White space, control and invisible characters alone are no message."""
    assert (await send(sender, text))["error"]["code"] == 400


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("a\x00b\x07c\x1b[31md\x7f\x9b", "abc[31md"),
        ("safe \u202etxt.exe\u202c end", "safe txt.exe end"),
        ("line\r\nline\rline\ttab", "line\nline\nline\ttab"),
        ("e\u0301", "é"),
        ("Z\u0335" + "\u0301" * 50, None),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("family 👩‍👩‍👧", "family 👩‍👩‍👧"),
        ("\uffff\ufffe", None),
    ],
    ids=lambda value: repr(value)[:25],
)
async def test_control_and_bidi_characters_do_not_get_through(sender: Frames, text: str, stored: str | None) -> None:
    """Texts are stored without control characters and bidi overrides, in one normal form, and otherwise as written."""
    reply = await send(sender, text)
    assert "rpc" in reply or reply["error"]["code"] == 400
    if stored is not None:
        event = (await sender.call("room.history", room=GENERAL, limit=1))["events"][0]
        assert event["text"] == stored
    await alive(sender)


async def test_bytes_that_are_no_utf_8_inside_a_payload(sender: Frames) -> None:
    """A surrogate in UTF-8's own clothes (CESU) is no UTF-8: 1007, before anybody else sees it."""
    await sender.socket.send(b'{"id":9,"rpc":{"method":"echo","data":"\xed\xa0\x80"}}', text=True)
    assert (await sender.end())[0] == 1007


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a\x00", "\u202eabc", "x" * 81, "\u200b", 5, None, ["a"]], ids=repr)
async def test_a_room_name_that_is_none_is_refused(sender: Frames, name: Any) -> None:
    """Names are one visible line of at most 80 characters."""
    assert await sender.refusal(rpc={"method": "room.create", "data": {"name": name}}) == 400
    await alive(sender)


@pytest.mark.parametrize(
    "name", ['"\\ud800"', '""', '" "', '"a\\u0000b"', '"\\u202ea"', '"%s"' % ("x" * 5000), "5", "[]"]
)
async def test_a_persons_name_that_is_none_is_refused(ring: Ring, sender: Frames, name: str) -> None:
    """The auth service answers 422 with a problem that does not repeat what was sent."""
    del sender  # it watches
    headers = {"Content-Type": "application/json"}
    answer = await http("POST", f"{ring.auth_url}/guest", content=f'{{"name":{name}}}', headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_request"
    assert "xxxxx" not in answer.text


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 100_000, '{"name":NaN}', '{"name":' + "[" * 5000 + "}", "\xff", "null", '{"name":1e999}']
)
async def test_a_body_that_is_none_is_refused(ring: Ring, sender: Frames, body: str) -> None:
    """A body of a sign-in that is no JSON object, or too large, is a 4xx."""
    del sender  # it watches
    headers = {"Content-Type": "application/json"}
    answer = await http("POST", f"{ring.auth_url}/guest", content=body.encode("latin-1"), headers=headers)
    assert answer.status_code in (413, 422), answer.text


# Nothing of it in the logs.


async def test_no_secret_and_no_text_is_in_any_log(ring: Ring, frames: Open) -> None:
    """Tokens, tickets, passwords and what people write never appear in a log, however they were used."""
    account = await registered(ring)
    made = [await ticket(ring, account) for _ in range(3)]
    secrets = [account.access, account.access.split(".")[2], account.refresh, *made, "correct horse battery"]
    secrets.append("words nobody may log")
    first = await frames(ring)
    await first.enter(account.access)
    await first.call("room.join", room=GENERAL)
    await first.say(GENERAL, secrets[-1])
    await first.ask(rpc={"method": secrets[-1]})
    await first.ask(refresh={"token": account.access})
    await (await frames(ring, f"?ticket={made[0]}")).enter()
    await (await frames(ring, subprotocols=[f"ticket.{made[1]}"])).enter()
    await (await frames(ring, additional_headers=bearer(account))).enter()
    for query in (f"?ticket={made[0]}", f"?ticket={made[2]}x", f"?ticket={account.access}"):
        with pytest.raises(websockets.InvalidStatus):
            await frames(ring, query)
    with pytest.raises(websockets.InvalidStatus):
        await frames(ring, additional_headers={"Authorization": f"Bearer {account.access}x"})
    for url in (f"{ring.auth_url}/me?token={account.access}", f"{ring.gateway_url}/nothing/{account.access}"):
        await http("GET", url, headers=bearer(account))
    answer = await refreshed(ring, account)
    secrets += [answer["access_token"], answer["refresh_token"]]
    broken = await frames(ring)
    await broken.send('{"id":1,"connect":{"token":"' + account.access + '"}')
    await broken.end()
    for name, text in logs(ring).items():
        for secret in secrets:
            assert secret not in text, f"a secret is in {name}"
            assert secret.replace(" ", "%20") not in text


async def refreshed(ring: Ring, account: Account) -> dict[str, Any]:
    """Use the refresh token; return the answer."""
    answer = await http("POST", f"{ring.auth_url}/refresh", json={"refresh_token": account.refresh})
    found: dict[str, Any] = json.loads(answer.text)
    return found
