"""The server API's own rules: its bodies, and what it refuses."""

import asyncio
import base64
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chassis.bus import TooLarge, Unavailable
from gateway.control import Control, EndConnections, EndSubscriptions, Whose
from gateway.namespaces import Namespaces
from gateway.parts import Parts
from gateway.publishing import Tail
from gateway.server_api import METHODS, NOT_OFFERED, ServerAPI
from gateway.settings import GatewaySettings

SETTINGS = GatewaySettings(api_seconds=0.3, api_channels=5)
NAMESPACES = Namespaces.from_text(
    "[namespace.news]\nhistory_size = 10\n[namespace.quiet]\nsubscribe = 'anyone'", "test.toml", SETTINGS.history_limit
)


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
