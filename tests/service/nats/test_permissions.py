"""Who may say and hear what, tried against the nats.conf that ships.

nats-server answers a forbidden subject with an error to the connection, never to the caller, who sees only silence; so
these tests look at the errors, and at a message that is allowed for the proof that the connection took part.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError

from tests.bench.nats import CONFIG, NatsServer

USERS = ("gateway", "chat", "auth", "operator")

STREAMS = ("ROOMS", "USERS", "CHANNELS", "REVOCATIONS", "PRESENCE")
OPERATOR_VERBS = ("UPDATE", "DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN")

MAY_PUBLISH = {
    "gateway": {
        "chat.room.create",
        "chat.message.send",
        "chat.at.p1.message.send",
        "auth.ticket.redeem",
        "room.general.presence",
        "user.ann.presence",
        "channel.news.today.log",
        "channel.news.today.live",
        "channel.news.today.presence",
        "gateway.g1",
        "presence.lease.g1",
        "presence.room.general.g1.c1",
        "presence.news.today.g1.c1",
        "$JS.API.STREAM.INFO.ROOMS",
        "$JS.API.STREAM.INFO.USERS",
        "$JS.API.STREAM.INFO.CHANNELS",
        "$JS.API.STREAM.CREATE.CHANNELS",
        "$JS.API.STREAM.UPDATE.CHANNELS",
        "$JS.API.DIRECT.GET.USERS",
        "$JS.API.DIRECT.GET.CHANNELS",
        "$JS.API.STREAM.INFO.REVOCATIONS",
        "$JS.API.STREAM.INFO.PRESENCE",
        "$JS.API.STREAM.CREATE.PRESENCE",
        "$JS.API.DIRECT.GET.ROOMS",
        "$JS.API.DIRECT.GET.REVOCATIONS",
        "$JS.API.DIRECT.GET.PRESENCE",
    },
    "chat": {
        "chat.here",
        "room.general.log",
        "user.ann.log",
        "$JS.API.STREAM.INFO.USERS",
        "$JS.API.STREAM.CREATE.USERS",
        "$JS.API.DIRECT.GET.USERS",
        "$JS.API.STREAM.INFO.ROOMS",
        "$JS.API.STREAM.CREATE.ROOMS",
        "$JS.API.DIRECT.GET.ROOMS",
        "$JS.API.STREAM.INFO.REVOCATIONS",
        "$JS.API.DIRECT.GET.REVOCATIONS",
    },
    "auth": {
        "auth.revoked.s1",
        "$JS.API.STREAM.INFO.REVOCATIONS",
        "$JS.API.STREAM.CREATE.REVOCATIONS",
        "$JS.API.DIRECT.GET.REVOCATIONS",
    },
    "operator": {
        *(f"$JS.API.STREAM.INFO.{stream}" for stream in STREAMS),
        *(f"$JS.API.STREAM.{verb}.{stream}" for verb in OPERATOR_VERBS for stream in STREAMS),
        "$JS.SNAPSHOT.ACK.ROOMS.x",
    },
}
NOBODY_MAY_PUBLISH = {
    "anything",
    "room.general.live",  # only nats-server itself, for what is stored
    "room.general.log.more",
    "user.ann.live",
    "channel.news.log",
    "gateway.g1.more",
    "auth.ticket.other",
    "auth.revoked",
    "presence.lease.g1.more",
    "_INBOX_gateway.a.b",
    "_INBOX_chat.a.b",
    "_INBOX_auth.a.b",
    "_INBOX_operator.a.b",
    "_INBOX.a",
    "$SRV.PING",
    "$SYS.REQ.SERVER.PING",
    "$JS.API.INFO",
    "$JS.API.STREAM.NAMES",
    "$JS.API.CONSUMER.CREATE.ROOMS",
    "$JS.API.STREAM.MSG.GET.ROOMS",
    "$JS.ACK.ROOMS.c.1.1.1.1.1",
    *(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("PURGE", "MSG.DELETE", "PEER.REMOVE") for stream in STREAMS),
}

MAY_SUBSCRIBE = {
    "gateway": {
        ("_INBOX_gateway.a.*", ""),
        ("room.general.live", ""),
        ("room.*.live", ""),
        ("room.general.presence", ""),
        ("user.ann.live", ""),
        ("channel.news.today.live", ""),
        ("channel.news.today.presence", ""),
        ("gateway.g1", ""),
        ("auth.revoked.*", ""),
        ("chat.here", ""),
    },
    "chat": {
        ("_INBOX_chat.a.*", ""),
        ("chat.room.create", "chat"),
        ("chat.message.send", "chat"),
        ("chat.at.p1.message.send", "chat"),
        ("room.*.live", ""),
        ("auth.revoked.*", ""),
        ("$SRV.PING", ""),
        ("$SRV.INFO.chat.x", ""),
    },
    "auth": {
        ("_INBOX_auth.a.*", ""),
        ("auth.ticket.redeem", "auth"),
        ("auth.revoked.*", ""),
        ("$SRV.STATS", ""),
    },
    "operator": {("_INBOX_operator.a.*", "")},
}
NOBODY_MAY_SUBSCRIBE = {
    (">", ""),
    ("*", ""),
    ("room.>", ""),
    ("room.*.log", ""),
    ("user.*.log", ""),
    ("channel.*.*.log", ""),
    ("chat.>", ""),  # beside the queue: a copy of every command
    ("chat.>", "spies"),
    ("auth.>", ""),
    ("auth.ticket.redeem", ""),
    ("auth.ticket.redeem", "spies"),
    ("presence.>", ""),
    ("_INBOX.>", ""),
    ("$SYS.>", ""),
    ("$JS.>", ""),
    ("$JS.API.STREAM.CREATE.ROOMS", ""),
    ("$JS.EVENT.>", ""),
}

OPEN_TO_AUTH = (("auth", "$SRV.PING"), ("auth", "$SRV.INFO.chat.x"))

PUBLICATIONS = [
    (user, subject, subject in MAY_PUBLISH[user])
    for user in USERS
    for subject in sorted(set().union(*MAY_PUBLISH.values()) | NOBODY_MAY_PUBLISH)
]
SUBSCRIPTIONS = [
    (user, subject, queue, (subject, queue) in MAY_SUBSCRIBE[user])
    for user in USERS
    for subject, queue in sorted(set().union(*MAY_SUBSCRIBE.values()) | NOBODY_MAY_SUBSCRIBE)
    if (user, subject) not in (("chat", "room.general.live"), ("chat", "$SRV.STATS"), *OPEN_TO_AUTH)  # allowed as well
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> "AsyncIterator[NatsServer]":
    """One server for the whole matrix."""
    running = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield running
    running.stop()


@asynccontextmanager
async def connection(server: NatsServer, user: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """Connect as `user`; give the connection and the errors that nats-server reports on it."""
    errors: list[str] = []

    async def note(error: Exception) -> None:
        errors.append(str(error).lower())

    client = await nats.connect(
        server.url,
        user=user,
        password=server.passwords[user],
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=note,
        allow_reconnect=False,
    )
    try:
        yield client, errors
    finally:
        await client.close()


async def settle(client: Client, errors: list[str]) -> None:
    """Wait until every error that nats-server has for what was sent so far is in `errors`.

    They come in order, so a last forbidden publication marks the end; its own error is taken out again.
    """
    await client.publish("sentinel", b"")
    async with asyncio.timeout(5):
        while not (errors and "sentinel" in errors[-1]):
            await asyncio.sleep(0.001)
    errors.pop()


@pytest.mark.parametrize(("user", "subject", "allowed"), PUBLICATIONS)
async def test_publish(server: NatsServer, user: str, subject: str, allowed: bool) -> None:
    """Each user publishes to exactly the subjects it needs; anything else is reported as a violation."""
    async with connection(server, user) as (client, errors):
        await client.publish(subject, b"{}")
        await settle(client, errors)
        if allowed:
            assert errors == []
        else:
            assert [e for e in errors if "permissions violation for publish" in e and subject.lower() in e], errors
        assert client.is_connected


@pytest.mark.parametrize(("user", "subject", "queue", "allowed"), SUBSCRIPTIONS)
async def test_subscribe(server: NatsServer, user: str, subject: str, queue: str, allowed: bool) -> None:
    """Each user hears exactly what it needs, in its own queue group where there is one."""
    async with connection(server, user) as (client, errors):
        await client.subscribe(subject, queue)
        await settle(client, errors)
        if allowed:
            assert errors == []
        else:
            assert [e for e in errors if "permissions violation for subscription" in e], errors
        assert client.is_connected


async def test_answers_reach_the_asker_and_only_once(server: NatsServer) -> None:
    """A service answers a request into the gateway's inbox; a second answer to the same request is a violation."""
    async with connection(server, "chat") as (chat, chat_errors), connection(server, "gateway") as (gateway, _):
        answered = asyncio.Event()

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(b"first")
            await message.respond(b"second")
            answered.set()

        await chat.subscribe("chat.message.send", "chat", cb=answer)
        await settle(chat, chat_errors)
        reply = await gateway.request("chat.message.send", b"{}", timeout=5)
        assert reply.data == b"first"
        await asyncio.wait_for(answered.wait(), 5)
        await settle(chat, chat_errors)
        assert ["publish" in error for error in chat_errors] == [True]


async def test_auth_answers_for_tickets(server: NatsServer) -> None:
    """The gateway's question about a ticket is answered by the auth service."""
    async with connection(server, "auth") as (auth, errors), connection(server, "gateway") as (gateway, _):

        async def answer(message: nats.aio.msg.Msg) -> None:
            await message.respond(b"ok")

        await auth.subscribe("auth.ticket.redeem", "auth", cb=answer)
        await settle(auth, errors)
        assert (await gateway.request("auth.ticket.redeem", b"{}", timeout=5)).data == b"ok"
        assert errors == []


@pytest.mark.parametrize(
    ("user", "password"),
    [("gateway", "wrong"), ("gateway", ""), ("chat", "gateway-password-of-a-test"), ("nobody", "x"), ("", "")],
)
async def test_no_entry_without_the_right_password(server: NatsServer, user: str, password: str) -> None:
    """A wrong, a missing and another user's password are refused; there is no user for those who name none."""
    problems: list[str] = []

    async def note(error: Exception) -> None:
        problems.append(str(error).lower())

    client = Client()
    given = {"user": user, "password": password} if user else {}
    with pytest.raises(nats.errors.Error):
        await client.connect(server.url, error_cb=note, allow_reconnect=False, connect_timeout=5, **given)
    await client.close()
    assert any("authorization violation" in problem for problem in problems)


async def test_the_gateway_cannot_write_into_the_stored_log(server: NatsServer) -> None:
    """A forbidden append stays out of the stream, and a permitted one is republished as live."""
    async with connection(server, "chat") as (chat, _), connection(server, "gateway") as (gateway, errors):
        config = {
            "name": "ROOMS",
            "subjects": ["room.*.log"],
            "allow_direct": True,
            "republish": {"src": "room.*.log", "dest": "room.{{wildcard(1)}}.live"},
        }
        made = json.loads((await chat.request("$JS.API.STREAM.CREATE.ROOMS", json.dumps(config).encode())).data)
        assert "error" not in made
        heard = await gateway.subscribe("room.general.live")
        await gateway.publish("room.general.log", b"forged")
        await settle(gateway, errors)
        assert any("permissions violation for publish" in error for error in errors)
        stored = json.loads((await chat.request("room.general.log", b"real")).data)
        assert (await heard.next_msg(5)).data == b"real"
        assert stored["seq"] == (made["state"]["last_seq"] or 0) + 1


async def test_a_larger_payload_than_agreed_is_announced(server: NatsServer) -> None:
    """Clients learn the payload limit of 128 KB when they connect."""
    async with connection(server, "gateway") as (client, _):
        assert client.max_payload == 128 * 1024


async def test_nobody_answers_is_said_at_once(server: NatsServer) -> None:
    """A request that no service takes is answered at once, so that a client can be told to retry."""
    async with connection(server, "gateway") as (client, _):
        with pytest.raises(NoRespondersError):
            await client.request("chat.room.list", b"{}", timeout=5)


async def test_a_password_that_looks_like_a_number_works(tmp_path: Path) -> None:
    """Quoted in the environment, any password is taken as a text."""
    server = NatsServer(tmp_path)
    server.passwords["gateway"] = "12345"
    server.start()
    try:
        async with connection(server, "gateway") as (client, _):
            assert client.is_connected
    finally:
        server.stop()


async def test_acknowledged_survives_kill(nats_server: Callable[[], NatsServer]) -> None:
    """What was acknowledged is there after kill -9 and a restart on the same store."""
    server = nats_server()
    config = json.dumps({"name": "ROOMS", "subjects": ["room.*.log"], "allow_direct": True}).encode()
    async with connection(server, "chat") as (chat, _):
        await chat.request("$JS.API.STREAM.CREATE.ROOMS", config)
        for number in range(20):
            await chat.request("room.general.log", str(number).encode())
    server.restart()
    async with connection(server, "chat") as (chat, _):
        last = await chat.request("$JS.API.DIRECT.GET.ROOMS", b'{"last_by_subj": "room.general.log"}')
        assert last.data == b"19"


def test_configuration_opens_nothing_else() -> None:
    """No monitoring port, no other listener, no user for the nameless, no deny rule, and every append synced."""
    lines = [line.partition("#")[0] for line in CONFIG.read_text().splitlines()]
    settings = " ".join(lines)
    for word in ("http", "https", "monitor_port", "leafnodes", "mqtt", "websocket", "no_auth_user", "deny", "cluster"):
        assert not re.search(rf"\b{word}\b", settings), word
    assert "sync_interval: always" in settings
    assert '">"' not in settings
