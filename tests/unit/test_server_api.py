"""The server API's own rules: its key, its bodies, what it refuses, and orders that reach every gateway process."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fastapi import Request

from chassis.bus import Bus, Message, TooLarge, Unavailable
from chassis.lifecycle import Background
from chassis.streams import Record
from gateway.connection import _labels
from gateway.control import Control, EndConnections, EndSubscriptions, Whose, disconnect_code
from gateway.hub import Follower, Hub
from gateway.namespaces import Namespaces
from gateway.outbox import Outbox
from gateway.parts import Parts
from gateway.postman import Postman
from gateway.publishing import Tail
from gateway.server_api import METHODS, NOT_OFFERED, ServerAPI, shows_key
from gateway.settings import GatewaySettings
from gateway.wire import Wire
from protocol import codes, subjects
from protocol.client_json import JSON
from protocol.codes import DisconnectCode, UnsubscribeCode

SETTINGS = GatewaySettings(api_seconds=0.3, api_gather_seconds=0.3, api_channels=5)
NAMESPACES = Namespaces.from_text(
    "[namespace.news]\nhistory_size = 10\n[namespace.quiet]\nsubscribe = 'anyone'", "test.toml", SETTINGS.history_limit
)
KEY = "k€y".encode()


# The key.


def request(**headers: bytes) -> Request:
    """Return a request with these headers."""
    raw = [(name.replace("_", "-").lower().encode(), value) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw})


@pytest.mark.parametrize(
    "headers",
    [
        {"X_API_Key": KEY},
        {"Authorization": b"apikey " + KEY},
        {"Authorization": b"APIKEY  " + KEY},
        {"X_API_Key": KEY, "Authorization": b"Bearer of something else"},
    ],
)
def test_the_key_is_taken_from_either_header(headers: dict[str, bytes]) -> None:
    """`X-API-Key` and `Authorization: apikey` show the key, whatever bytes it has."""
    assert shows_key(request(**headers), KEY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X_API_Key": b""},
        {"X_API_Key": KEY[:-1]},
        {"X_API_Key": KEY + b"x"},
        {"X_API_Key": b"apikey " + KEY},
        {"X_API_Key": b"wrong", "Authorization": b"apikey " + KEY},
        {"Authorization": KEY},
        {"Authorization": b"Bearer " + KEY},
        {"Authorization": b"apikey"},
    ],
)
def test_nothing_else_is_the_key(headers: dict[str, bytes]) -> None:
    """A missing, shortened, longer or otherwise labelled key is none."""
    assert not shows_key(request(**headers), KEY)


@pytest.mark.parametrize("shown", [b"", b"x"])
def test_an_empty_key_opens_nothing(shown: bytes) -> None:
    """A deployment without a key has no key that fits."""
    assert not shows_key(request(X_API_Key=shown), b"", b"")


def test_the_key_before_opens_as_well() -> None:
    """While a backend changes its key, both open; one that is not named does not."""
    assert shows_key(request(X_API_Key=KEY), b"new" * 16, KEY)
    assert shows_key(request(X_API_Key=b"new" * 16), b"new" * 16, KEY)
    assert not shows_key(request(X_API_Key=KEY), b"new" * 16, b"")


# Bodies and refusals.


class Publisher:
    """Remembers publications; `fail` says what happens to those into a channel."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes, dict[str, str] | None, str]] = []
        self.fail: dict[str, Callable[[], Any]] = {}

    async def publish(self, channel: str, rules: object, data: bytes, *, tags: Any, key: str) -> Tail:
        """Take a publication."""
        if channel in self.fail:
            await self.fail[channel]()
        self.published.append((channel, data, tags, key))
        return Tail(len(self.published), 0, "e")


class API:
    """The server API over fakes."""

    def __init__(self) -> None:
        self.publisher = Publisher()
        self.orders: list[object] = []
        parts = SimpleNamespace(settings=SETTINGS, namespaces=NAMESPACES, publisher=self.publisher)

        async def order(one: object) -> None:
            self.orders.append(one)

        self.api = ServerAPI(cast(Parts, parts), cast(Control, SimpleNamespace(order=order)))

    async def ask(self, method: str, **body: Any) -> dict[str, Any]:
        """Return the answer to a request."""
        content, result = await self.api.answer(method, json.dumps(body).encode())
        answer: dict[str, Any] = json.loads(content)
        assert result == (str(answer["error"]["code"]) if "error" in answer else "ok")
        return answer

    async def code(self, method: str, **body: Any) -> int:
        """Return the code of the error that a request is answered with."""
        code: int = (await self.ask(method, **body))["error"]["code"]
        return code


@pytest.fixture
def api() -> API:
    """A server API of its own."""
    return API()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"channel": 1}', b'{"tags": {"a": 1}}', b'{"data": "\xff"}', b"[" * 100_000],
)
async def test_what_is_not_understood_is_no_request(api: API, body: bytes) -> None:
    """Undecodable bodies, other types and bytes that are not UTF-8 raise, which becomes status 400."""
    with pytest.raises((ValueError, RecursionError)):
        await api.api.answer("publish", body)


async def test_null_counts_as_absent(api: API) -> None:
    """Clients that send null for what they leave out are understood, and unknown fields are ignored."""
    body = {"tags": None, "b64data": None, "skip_history": None, "idempotency_key": None, "delta": None, "x": 1}
    assert await api.ask("publish", channel="news:a", data=None, **body) == {"result": {"offset": 1, "epoch": "e"}}
    assert api.publisher.published == [("news:a", b"null", None, "")]


async def test_data_goes_out_as_it_came_but_on_one_line(api: API) -> None:
    """Numbers and spaces of JSON data stay as written; line breaks, which end a frame's object, do not."""
    await api.api.answer("publish", b'{"channel": "news:a", "data": {"n":\n 1.000, "big": 12345678901234567890123}}')
    encoded = base64.b64encode(b"[1,\n2]").decode()
    await api.ask("publish", channel="news:a", b64data=encoded)
    await api.ask("publish", channel="news:a", data=1, b64data=base64.b64encode(b"\xff\n").decode())
    assert [data for _, data, _, _ in api.publisher.published] == [
        b'{"n":  1.000, "big": 12345678901234567890123}',
        b"[1, 2]",
        b"\xff\n",
    ]


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (107, {"data": 1}),
        (107, {"channel": "", "data": 1}),
        (107, {"channel": "news:a"}),
        (107, {"channel": "news:a", "b64data": "not base64"}),
        (102, {"channel": "other:a", "data": 1}),
        (102, {"channel": "no colon", "data": 1}),
        (102, {"channel": "news:" + "a" * 255, "data": 1}),
        (102, {"channel": "$room:general", "data": 1}),
        (103, {"channel": "room:general", "data": 1}),
        (103, {"channel": "user:ann", "data": 1}),
    ],
)
async def test_publications_that_are_refused(api: API, code: int, body: dict[str, Any]) -> None:
    """Each has its code, alone as in a broadcast, and nothing is published."""
    assert await api.code("publish", **body) == code
    if "channel" in body and ("data" in body):
        answer = await api.ask("broadcast", channels=[body.pop("channel")], **body)
        assert answer["result"]["responses"][0]["error"]["code"] == code
    assert api.publisher.published == []


async def test_a_key_may_hold_anything(api: API) -> None:
    """Idempotency keys become digests: the same for the same, harmless in a header."""
    for key in ("a", "a", "b\r\nInjected: x", "ü" * 500):
        await api.ask("publish", channel="news:a", data=1, idempotency_key=key)
    first, again, odd, long = (key for _, _, _, key in api.publisher.published)
    assert first == again
    assert len({first, odd, long}) == 3
    assert all(len(key) == 64 and key.isalnum() for key in (first, odd, long))


async def test_a_broadcast_tells_what_became_of_each(api: API) -> None:
    """Outcomes come in the order of the channels; what fails or is late does not spoil the others."""

    async def away() -> None:
        raise Unavailable("away")

    async def large() -> None:
        raise TooLarge("large")

    api.publisher.fail = {"news:away": away, "news:large": large, "news:late": asyncio.Event().wait}
    channels = ["news:late", "news:away", "other:x", "news:large", "quiet:b"]
    answer = await api.ask("broadcast", channels=channels, data=1, skip_history=False)
    got = [one.get("error", {}).get("code") for one in answer["result"]["responses"]]
    assert got == [503, 503, 102, 106, None]
    assert answer["result"]["responses"][4] == {"result": {"offset": 1, "epoch": "e"}}


async def test_a_broadcast_has_some_channels_and_not_too_many(api: API) -> None:
    """None at all is a bad request, more than the setting allows a limit."""
    assert await api.code("broadcast", data=1) == 107
    assert await api.code("broadcast", data=1, channels=[]) == 107
    assert await api.code("broadcast", data=1, channels=["news:a"] * 6) == 106
    assert api.publisher.published == []


async def test_a_publication_has_a_deadline(api: API) -> None:
    """What hangs is answered with an error that says to retry."""
    api.publisher.fail = {"news:late": asyncio.Event().wait}
    assert await api.code("publish", channel="news:late", data=1) == 503


@pytest.mark.parametrize("method", ["history", "presence", "presence_stats"])
async def test_a_channel_offers_what_its_namespace_declares(api: API, method: str) -> None:
    """History and presence that are off are not available, and a channel must be named and known."""
    assert await api.code(method, channel="quiet:a") == 108
    assert await api.code(method, channel="other:a") == 102
    assert await api.code(method) == 107


async def test_nothing_is_before_the_first_publication(api: API) -> None:
    """History backwards from 0, and from below it, is a bad request."""
    assert await api.code("history", channel="news:a", reverse=True, since={"offset": 0, "epoch": "e"}) == 107
    assert await api.code("history", channel="news:a", since={"offset": -1}) == 107


@pytest.mark.parametrize("method", sorted(NOT_OFFERED))
async def test_known_methods_that_are_not_offered(api: API, method: str) -> None:
    """They are answered as not available, whatever is asked."""
    assert await api.code(method, anything=1) == 108
    assert method not in METHODS


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (None, (3503, "force disconnect")),
        ({}, (3503, "force disconnect")),
        ({"code": 0, "reason": ""}, (3503, "force disconnect")),
        ({"code": 3014}, (3014, "state invalidated")),
        ({"code": 4500, "reason": "bye"}, (4500, "bye")),
        ({"code": 4999}, (4999, "force disconnect")),
        ({"reason": "bye"}, (3503, "bye")),
    ],
)
async def test_how_connections_end(api: API, ending: Any, expected: tuple[int, str]) -> None:
    """Without more said for good; else with the code and the reason that the caller wants, never without a reason."""
    assert await api.ask("disconnect", user="ann", disconnect=ending) == {"result": {}}
    assert api.orders == [EndConnections(Whose("ann"), *expected)]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"user": ""},
        {"user": "ann", "disconnect": {"code": 2999}},
        {"user": "ann", "disconnect": {"code": 5000}},
        {"user": "ann", "disconnect": {"code": 1000}},
        {"user": "ann", "disconnect": {"code": -1}},
        {"user": "ann", "disconnect": {"reason": "ü" * 62}},
    ],
)
async def test_endings_that_are_refused(api: API, body: dict[str, Any]) -> None:
    """Codes that are not ours to send, reasons that no close frame holds, and nobody in particular."""
    assert await api.code("disconnect", **body) == 107
    assert api.orders == []


async def test_whose_subscriptions_end(api: API) -> None:
    """A channel of a namespace and a user are needed; users without an id are named by their client."""
    assert await api.code("unsubscribe", user="ann") == 107
    assert await api.code("unsubscribe", channel="news:a") == 107
    assert await api.code("unsubscribe", user="ann", channel="other:a") == 102
    assert await api.ask("unsubscribe", channel="news:a", client="c1") == {"result": {}}
    assert api.orders == [EndSubscriptions(Whose("", "c1"), "news:a")]


# Orders.


class Somebody:
    """A connection that remembers how it ended."""

    def __init__(self, client: str, user: str) -> None:
        self.client = client
        self.user = user
        self.ended: list[tuple[int, str]] = []
        self.unsubscribed: list[tuple[str, int]] = []
        self.codec = JSON
        self.outbox = Outbox(
            cast(Follower, self), cast(Wire, SimpleNamespace(framing=lambda codec: codec)), Postman(), 1
        )

    def end(self, code: DisconnectCode) -> None:
        """End."""
        self.ended.append((code.code, code.reason))

    def unsubscribe(self, channel: str, code: UnsubscribeCode) -> None:
        """Lose a subscription."""
        self.unsubscribed.append((channel, code.code))


class Air:
    """Carries what any process says to all that listen; keeps the leases of `alive`."""

    connected = True

    def __init__(self) -> None:
        self.listening: list[tuple[str, Callable[[Message], None]]] = []
        self.alive: list[str] | None = []

    async def subscribe(self, subject: str, receive: Callable[[Message], None]) -> None:
        """Listen."""
        self.listening.append((subject, receive))

    async def flush(self) -> None:
        """Nothing waits here."""

    def send(self, subject: str, body: bytes) -> None:
        """Say."""
        for heard, receive in list(self.listening):
            if heard == subject:
                receive(Message(subject, {}, body))


class Process:
    """One gateway process with connections: (client, user, session)."""

    def __init__(self, node: str, air: Air, background: Background, *connections: tuple[str, str, str]) -> None:
        self.hub = Hub(Postman(), 0.0)
        self.control = Control(node, cast(Bus, air), self.hub, background, SETTINGS)
        self.connections = {client: Somebody(client, user) for client, user, _ in connections}
        for client, _, session in connections:
            self.hub.enter(cast(Follower, self.connections[client]), session)

        async def leases(_: str) -> AsyncIterator[Record]:
            if air.alive is None:
                raise Unavailable("no stream")
            for alive in air.alive:
                yield Record(1, subjects.lease(alive), {}, b"")

        self.control._leases = cast(Any, SimpleNamespace(read_all=leases))

    @property
    def gone(self) -> set[str]:
        """The clients that were ended."""
        return {client for client, one in self.connections.items() if one.ended}


@pytest.fixture
async def processes() -> AsyncIterator[tuple[Process, Process, Air]]:
    """Two processes that hear each other."""
    air = Air()
    async with Background() as background:
        one = Process("one", air, background, ("a1", "ann", "s1"), ("a2", "ann", "s2"), ("b1", "bob", "s3"))
        two = Process("two", air, background, ("a3", "ann", "s1"), ("x1", "", ""), ("x2", "", ""))
        for process in (one, two):
            await process.control.listen()
            process.hub.add("news:a", cast(Follower, next(iter(process.connections.values()))))
        air.alive = ["one", "two"]
        yield one, two, air


@pytest.mark.parametrize(
    ("whose", "gone"),
    [
        (Whose("ann"), {"a1", "a2", "a3"}),
        (Whose("ann", keep=("a2", "b1")), {"a1", "a3"}),
        (Whose("ann", client="a3"), {"a3"}),
        (Whose("ann", client="b1"), set()),
        (Whose("ann", session="s1"), {"a1", "a3"}),
        (Whose("bob", session="s1"), set()),
        (Whose("ann", client="a1", session="s2"), {"a1"}),
        (Whose("nobody"), set()),
        (Whose("", client="x1"), {"x1"}),
    ],
)
async def test_orders_reach_every_process_and_only_those_meant(
    processes: tuple[Process, Process, Air], whose: Whose, gone: set[str]
) -> None:
    """Connections and subscriptions end wherever they are; a client or session of another user is left alone."""
    one, two, _ = processes
    await one.control.order(EndConnections(whose, 4500, "bye"))
    await two.control.order(EndSubscriptions(whose, "news:a"))
    assert one.gone | two.gone == gone
    for somebody in (one.connections | two.connections).values():
        assert somebody.ended in ([], [(4500, "bye")])
        assert somebody.unsubscribed == ([("news:a", 2000)] if somebody.client in gone else [])


async def test_what_is_no_order_is_ignored(processes: tuple[Process, Process, Air]) -> None:
    """Bytes that are not understood do nothing, and what comes after them is heard."""
    one, two, air = processes
    asked = [subject for subject, _ in air.listening if subject != subjects.GATEWAY_CONTROL]
    for body in (b"", b"\xff", b"[]", b'{"type": "other"}', b'{"type": "disconnect"}'):
        for subject in (subjects.GATEWAY_CONTROL, *asked):
            air.send(subject, body)
    await one.control.order(EndConnections(Whose("bob"), 3503, "force disconnect"))
    assert one.gone | two.gone == {"b1"}


async def test_every_process_tells_of_itself(processes: tuple[Process, Process, Air]) -> None:
    """Whoever asks gets one answer of each, with its own counts, as soon as the last one has come."""
    one, two, _ = processes
    for asking in (one, two):
        async with asyncio.timeout(0.2):
            nodes = await asking.control.nodes()
        assert [(node.uid, node.num_clients, node.num_users) for node in nodes] == [("one", 3, 2), ("two", 3, 2)]
        assert [(node.num_channels, node.num_subs) for node in nodes] == [(1, 1), (1, 1)]
        assert len({node.name for node in nodes}) == 1  # host and process id: here both are this test
    assert one.control._asked == {}


@pytest.mark.parametrize("alive", [["one", "two", "killed"], None], ids=["killed", "unknown"])
async def test_who_does_not_answer_is_not_waited_for(
    processes: tuple[Process, Process, Air], alive: list[str] | None
) -> None:
    """At the deadline those are told that answered, also when nobody knows how many there should be."""
    one, _, air = processes
    air.alive = alive
    async with asyncio.timeout(2):
        assert [node.uid for node in await one.control.nodes()] == ["one", "two"]


async def test_a_process_is_ready_once_it_hears(processes: tuple[Process, Process, Air]) -> None:
    """Before it listens, a process says that it is not ready."""
    _, _, air = processes
    async with Background() as background:
        third = Process("three", air, background)
        assert await third.control.ready() is not None
        await third.control.listen()
        assert await third.control.ready() is None


def test_made_up_endings_do_not_become_labels() -> None:
    """Metrics count the catalogue's codes and causes; a caller's own code and reason count as custom."""
    assert _labels(disconnect_code(4777, "a reason of somebody's own"), 4777) == ("custom", "custom")
    assert _labels(disconnect_code(3503, "a reason of somebody's own"), 3503) == ("3503", "force_disconnect")
    assert _labels(codes.SLOW, 3008) == ("3008", "slow")
    assert _labels(None, 1006) == ("1006", "network")
    assert _labels(None, 4321) == ("other", "client")
