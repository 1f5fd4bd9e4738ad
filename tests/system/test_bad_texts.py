"""Bad texts and names: they are refused or cleaned before anybody else sees them."""

from typing import Any

import pytest

from tests.bench.clients import GENERAL, Frames, http, new_message_id
from tests.bench.health import alive
from tests.bench.ring import Ring

pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


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
