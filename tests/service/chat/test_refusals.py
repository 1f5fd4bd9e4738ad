"""What a client may send: refused with a code, never a traceback, and the connection to NATS stays."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocol import codes
from protocol.commands import Command
from tests.service.chat.replica import ADA, GENERAL, Asker, Replica

Replicas = Callable[..., Replica]

BAD_IDS = [".", "*", ">", " ", "a b", "a.b", "\r\n", "a\r\nPUB x 0\r\n", "\x00", "é", "A", "x" * 33, "x" * 5000, ""]
COMMAND = b'{"user":{"id":"ada","name":"Ada"},"client":"c1","data":%b}'


@pytest.fixture
def database(tmp_path: Any) -> str:
    """Refusals do not depend on the kind of database."""
    return f"sqlite:///{tmp_path / 'archive.db'}"


async def test_bad_room_ids_never_reach_a_subject(replicas: Replicas, asker: Asker) -> None:
    """Each method answers a room id outside the grammar with 400, or 404, and goes on working."""
    replica = replicas()
    for id in BAD_IDS:
        for method in ("room.join", "room.leave", "room.members", "room.history", "room.access", "message.send"):
            more = {"id": "m", "text": "hello"} if method == "message.send" else {}
            answer = await asker.ask(ADA, method, room=id, **more)
            assert answer.code == codes.INVALID.code, (method, id)
    await still_well(replica, asker)


async def test_bad_message_ids_are_refused(replicas: Replicas, asker: Asker) -> None:
    """A message id outside the grammar is answered 400."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    for id in [".", "*", ">", " ", "a b", "\r\n", "\x00", "é", "x" * 65, "x" * 5000, ""]:
        answer = await asker.send(ADA, GENERAL, id)
        assert answer.code == codes.INVALID.code, id
    await still_well(replica, asker)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", codes.BAD_REQUEST),
        (b"{", codes.BAD_REQUEST),
        (b"\xff\xff", codes.BAD_REQUEST),
        (b"null", codes.BAD_REQUEST),
        (b'{"user":{"id":"a.b","name":"x"},"data":{}}', codes.BAD_REQUEST),
        (b'{"user":{"id":"ada","name":"Ada"},"client":"a b","data":{}}', codes.BAD_REQUEST),
        (b'{"user":{"id":"ada","name":"\\ud800"},"data":{}}', codes.BAD_REQUEST),
        (COMMAND % (b"[" * 60_000), codes.BAD_REQUEST),
        (COMMAND % (b'{"a":' * 20_000 + b"1" + b"}" * 20_000), codes.BAD_REQUEST),
        (COMMAND % b"NaN", codes.BAD_REQUEST),
        (COMMAND % b"null", codes.INVALID),
        (COMMAND % b"[]", codes.INVALID),
        (COMMAND % b"7", codes.INVALID),
        (COMMAND % b"{}", codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":"\\ud800"}', codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":"a\\udfffb"}', codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":7}', codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":null}', codes.INVALID),
        (COMMAND % b'{"room":["general"],"id":"m","text":"x"}', codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":" \\n "}', codes.INVALID),
        (COMMAND % b'{"room":"general","id":"m","text":"\\u0000\\u202e"}', codes.INVALID),
        (COMMAND % (b'{"room":"general","id":"m","text":"' + b"x" * 4097 + b'"}'), codes.TEXT_TOO_LONG),
        (COMMAND % b'{"room":"nowhere","id":"m","text":"x"}', codes.NO_SUCH_ROOM),
    ],
)
async def test_bad_commands_are_refused(replicas: Replicas, asker: Asker, body: bytes, code: codes.ErrorCode) -> None:
    """Whatever the bytes, the answer is a refusal with the right code."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)

    answer = await asker.raw("message.send", body)

    assert answer.refusal is not None
    # Nesting within what the decoder stands is looked at as data, and then is not what was asked for.
    assert answer.refusal.code in {code.code, codes.INVALID.code} if b'"a":{"a"' in body else code.code
    await still_well(replica, asker)


@pytest.mark.parametrize(
    "fields",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": -1},
        {"limit": 2**70},
        {"limit": "50"},
        {"before": 1, "after": 1},
        {"before": -1},
        {"after": 2**70},
        {"after": 1.5},
    ],
)
async def test_bad_pages_are_refused(replicas: Replicas, asker: Asker, fields: dict[str, Any]) -> None:
    """History takes a limit from 1 to 100 and one offset from 0 on."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)

    answer = await asker.ask(ADA, "room.history", room=GENERAL, **fields)

    assert answer.code == codes.INVALID.code
    await still_well(replica, asker)


@pytest.mark.parametrize("name", ["", " ", "x" * 81, "a\x00", "a\u202eb", "a\nb", 7, None])
async def test_bad_room_names_are_refused(replicas: Replicas, asker: Asker, name: Any) -> None:
    """No room is made with a name that breaks the rules."""
    replica = replicas()

    answer = await asker.ask(ADA, "room.create", name=name)

    assert answer.code == codes.INVALID.code
    assert len((await asker.ask(ADA, "room.list"))["rooms"]) == 1
    await still_well(replica, asker)


async def test_no_fields_may_be_left_out_altogether(replicas: Replicas, asker: Asker) -> None:
    """A method without fields takes a command without data."""
    replicas()

    answer = await asker.raw("room.list", msgspec.json.encode(Command(user=ADA)))

    assert answer.refusal is None


async def test_logs_hold_nothing_that_people_write(replicas: Replicas, asker: Asker) -> None:
    """Neither texts nor names of people or rooms are in the log at its most talkative."""
    replica = replicas()
    await asker.ask(ADA, "room.join", room=GENERAL)
    await asker.send(ADA, GENERAL, "m1", "kept out of logs")
    await asker.send(ADA, GENERAL, "m1", "also kept out of logs")
    await asker.ask(ADA, "room.create", name="Kept out as well")
    await asker.ask(ADA, "room.history", room=GENERAL)

    log = replica.log.read_text()
    assert not [word for word in ("kept out", "Kept out", "Ada") if word in log]


async def still_well(replica: Replica, asker: Asker) -> None:
    """Check that the service works, has not reconnected, and logged no traceback."""
    assert (await asker.ask(ADA, "room.list"))["rooms"]
    assert replica.metric("parley_nats_reconnects_total") == 0
    assert "Traceback" not in replica.log.read_text()
