"""The server API: a team's own backend publishes, reads and ends, whatever gateway process it reaches.

Two gateway processes with clients on both, on the official SDK. Requests go one connection each, so that either process
gets some.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import centrifuge
import httpx
import jwt
import pytest
import pytest_asyncio
from centrifuge import Client, ClientEventHandler

from tests.bench import processes
from tests.bench.clients import SECONDS, Frames, eventually, http
from tests.bench.people import Person, Seat, person
from tests.bench.ring import ROOT, Ring

KEY = "the API key of a test, which is long enough"
SECRET = "the secret of a test's own backend, 32 bytes and more"
QUIET = '\n[namespace.quiet]\nsubscribe = "anyone"\npublish = "subscriber"\n'


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system with two gateway processes, the API, and the conformance suite's channels and `quiet:`."""
    directory: Path = tmp_path_factory.mktemp("api")
    channels = directory / "channels.toml"
    channels.write_text((ROOT / "tests" / "conformance" / "channels.toml").read_text() + QUIET)
    settings = {
        "API_KEY": KEY,
        "TOKEN_HMAC_SECRET": SECRET,
        "CHANNELS_FILE": str(channels),
        "GATEWAY_WORKERS": "2",
        "LEASE_SECONDS": "3",
    }
    whole = Ring(directory / "data", settings)
    try:
        yield whole.start()
    finally:
        whole.end()


async def post(ring: Ring, method: str, headers: dict[str, str] | None = None, **body: Any) -> Any:
    """Make one request; return the response."""
    return await http("POST", f"{ring.gateway_url}/api/{method}", headers=headers or {"X-API-Key": KEY}, json=body)


async def ask(ring: Ring, method: str, **body: Any) -> Any:
    """Make one request that must succeed; return its result."""
    answer = await post(ring, method, **body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"result"}, answer.text
    return answer.json()["result"]


async def code(ring: Ring, method: str, **body: Any) -> int:
    """Make one request that must be refused; return the error's code."""
    answer = await post(ring, method, **body)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"error"}, answer.text
    assert answer.json()["error"]["message"]
    number: int = answer.json()["error"]["code"]
    return number


def fresh(word: str = "news") -> str:
    """Return the name of a channel (or a user) that nobody used."""
    return f"{word}{uuid.uuid4().hex[:12]}"


def token(user: str) -> str:
    """Return a connection token of the team's own backend."""
    return jwt.encode({"sub": user, "info": {"name": user}}, SECRET, "HS256")


class Somebody(ClientEventHandler):
    """A user of the team's own backend, with the official SDK."""

    def __init__(self, ring: Ring, user: str) -> None:
        self.user = user
        self.ended: list[tuple[int, str]] = []
        self.ended_at = 0.0
        self.ids: list[str] = []
        self.client = Client(
            ring.websocket_url, events=self, token=token(user), proxy=None, max_reconnect_delay=0.5, timeout=10
        )

    async def on_connected(self, ctx: Any) -> None:
        self.ids.append(ctx.client)

    async def on_connecting(self, ctx: Any) -> None:
        if ctx.code:
            self.ended.append((ctx.code, ctx.reason))

    async def on_disconnected(self, ctx: Any) -> None:
        self.ended_at = time.monotonic()
        self.ended.append((ctx.code, ctx.reason))

    async def connect(self) -> Self:
        """Connect; return when let in."""
        await self.client.connect()
        await self.client.ready(SECONDS)
        return self

    async def follow(self, channel: str) -> Seat:
        """Subscribe to a channel."""
        seat = Seat()
        seat.subscription = self.client.new_subscription(channel, seat, recoverable=True, positioned=True)
        await seat.subscription.subscribe()
        await seat.subscription.ready(SECONDS)
        return seat

    async def leave(self) -> None:
        """Disconnect, and wait until the SDK's own tasks are done."""
        await Person.leave(self)  # type: ignore[arg-type]  # the same client


class Crowd:
    """Clients that leave with the test."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.all: list[Somebody] = []

    async def come(self, user: str) -> Somebody:
        """Connect one client of `user`."""
        somebody = await Somebody(self.ring, user).connect()
        self.all.append(somebody)
        return somebody

    async def on_both(self, user: str, least: int = 2) -> list[Somebody]:
        """Connect clients of `user` until each gateway process has at least `least` more clients than before."""
        before = {node["uid"]: node["num_clients"] for node in await self.nodes()}
        assert len(before) == 2
        came = []
        for _ in range(60):
            came.append(await self.come(user))
            now = {node["uid"]: node["num_clients"] for node in await self.nodes()}
            if len(came) >= 2 * least and all(now[uid] - before[uid] >= least for uid in before):
                return came
        raise AssertionError("one process takes every connection")

    async def nodes(self) -> list[dict[str, Any]]:
        """Return the gateway processes."""
        found: list[dict[str, Any]] = (await ask(self.ring, "info"))["nodes"]
        return found


@pytest_asyncio.fixture
async def crowd(ring: Ring) -> AsyncIterator[Crowd]:
    """Clients of this ring; it is empty when the test begins."""
    made = Crowd(ring)

    async def empty() -> bool:
        nodes = await made.nodes()
        return len(nodes) == 2 and sum(node["num_clients"] for node in nodes) == 0

    await eventually(empty, "the ring is empty and whole")
    yield made
    for somebody in made.all:
        await somebody.leave()


# Publishing.


async def test_publications_reach_every_subscriber_in_order(ring: Ring, crowd: Crowd) -> None:
    """Each subscriber of either process gets what the API acknowledged, with its offset, in one epoch."""
    channel = fresh()
    seats = [await one.follow(channel) for one in await crowd.on_both("ann")]
    positions = [await ask(ring, "publish", channel=channel, data={"n": n}) for n in range(60)]
    epoch = positions[0]["epoch"]
    assert positions == [{"offset": n + 1, "epoch": epoch} for n in range(60)]
    assert {seat.subscribed[0].stream_position.epoch for seat in seats} == {epoch}
    for seat in seats:
        await eventually(lambda seat=seat: len(seat.publications) >= 60, "all publications")
        assert [(pub.offset, pub.data, pub.info) for pub in seat.publications] == [
            (n + 1, {"n": n}, None) for n in range(60)
        ]


async def test_publications_at_the_same_time_get_one_order(ring: Ring, crowd: Crowd) -> None:
    """Requests to both processes at once are numbered without a gap, and everybody sees the same order."""
    channel = fresh()
    seats = [await one.follow(channel) for one in await crowd.on_both("ann", least=1)]
    positions = await asyncio.gather(*(ask(ring, "publish", channel=channel, data=n) for n in range(40)))
    assert sorted(position["offset"] for position in positions) == list(range(1, 41))
    expected = [n for _, n in sorted((position["offset"], n) for n, position in enumerate(positions))]
    for seat in seats:
        await eventually(lambda seat=seat: len(seat.publications) >= 40, "all publications")
        assert [pub.data for pub in seat.publications] == expected


async def test_tags_and_bytes_travel(ring: Ring) -> None:
    """A subscriber gets the tags; line breaks in JSON do no harm; history has bytes that are not JSON as base64."""
    channel = fresh()
    async with await Frames.open(ring) as one:
        await one.enter(token("ann"))
        await one.ask(subscribe={"channel": channel})
        answer = await http(
            "POST",
            f"{ring.gateway_url}/api/publish",
            headers={"X-API-Key": KEY},
            content=b'{"channel": "%s", "data": {"a":\n 1},\n "tags": {"t": "\xc3\xbc"}}' % channel.encode(),
        )
        assert answer.json()["result"]["offset"] == 1

        def pubs() -> list[dict[str, Any]]:
            return [push["pub"] for push in one.pushes if "pub" in push]

        await one.until(pubs, "the publication")
        assert pubs() == [{"data": {"a": 1}, "offset": 1, "tags": {"t": "ü"}}]
    await ask(ring, "publish", channel=channel, b64data="/wA=")
    history = (await ask(ring, "history", channel=channel, limit=10))["publications"]
    assert history == [
        {"data": {"a": 1}, "offset": 1, "tags": {"t": "ü"}},
        {"data": None, "b64data": "/wA=", "offset": 2},
    ]


async def test_a_broadcast_reaches_each_channel(ring: Ring, crowd: Crowd) -> None:
    """Every channel gets the data, and every channel has its own answer, in the order of the request."""
    one, other, small = fresh(), fresh(), f"smallhistory:{fresh('')}"
    anns = await crowd.on_both("ann", least=1)
    seats = [(await ann.follow(one), await ann.follow(other)) for ann in anns]
    channels = [one, "nowhere:x", other, small, "room:general", "user:ann", ""]
    responses = (await ask(ring, "broadcast", channels=channels, data={"b": 1}))["responses"]
    assert [answer["result"]["offset"] if "result" in answer else None for answer in responses] == (
        [1, None, 1, 1, None, None, None]
    )
    assert [answer.get("error", {}).get("code") for answer in responses] == [None, 102, None, None, 103, 103, 107]
    for pair in seats:
        for seat in pair:
            await eventually(lambda seat=seat: seat.publications, "the broadcast")
            assert [(pub.offset, pub.data) for pub in seat.publications] == [(1, {"b": 1})]


async def test_a_broadcast_to_a_thousand_channels(ring: Ring) -> None:
    """The most channels that are allowed are all served; one more is refused as a whole."""
    channels = [fresh("many") for _ in range(1000)]
    responses = (await ask(ring, "broadcast", channels=channels, data=1))["responses"]
    assert [answer.get("result", {}).get("offset") for answer in responses] == [1] * 1000
    assert await code(ring, "broadcast", channels=[*channels, fresh()], data=1) == 106


async def test_a_repeated_key_counts_once(ring: Ring, crowd: Crowd) -> None:
    """Retries with the same idempotency key, to either process, find the first publication; per channel."""
    channel, other = fresh(), fresh()
    seat = await (await crowd.come("ann")).follow(channel)
    answers = [
        await ask(ring, "publish", channel=channel, data={"try": n}, idempotency_key="k: ü\r\n") for n in range(8)
    ]
    assert answers == [{"offset": 1, "epoch": answers[0]["epoch"]}] * 8
    assert (await ask(ring, "publish", channel=channel, data="last", idempotency_key="other"))["offset"] == 2
    assert (await ask(ring, "publish", channel=other, data=1, idempotency_key="k: ü\r\n"))["offset"] == 1
    await eventually(lambda: len(seat.publications) >= 2, "both publications")
    assert [pub.data for pub in seat.publications] == [{"try": 0}, "last"]


async def test_without_history_a_publication_is_passed_on(ring: Ring, crowd: Crowd) -> None:
    """A channel of a namespace without history has no positions, and its subscribers get what is published."""
    channel = f"quiet:{fresh('')}"
    seats = [await one.follow(channel) for one in await crowd.on_both("ann", least=1)]
    assert await ask(ring, "publish", channel=channel, data={"q": 1}) == {"offset": 0, "epoch": ""}
    for seat in seats:
        await eventually(lambda seat=seat: seat.publications, "the publication")
        assert [(pub.offset, pub.data) for pub in seat.publications] == [(0, {"q": 1})]


async def test_a_publication_past_the_history(ring: Ring, crowd: Crowd) -> None:
    """Who listens gets it, with deltas too; positions, history and what comes after are as if it had not been."""
    channel, long = fresh(), "a text that is long enough for patches to pay " * 5
    seats = [await one.follow(channel) for one in await crowd.on_both("ann", least=1)]
    for bob in await crowd.on_both("bob", least=1):
        seat = Seat()
        seats.append(seat)
        seat.subscription = bob.client.new_subscription(channel, seat, delta=centrifuge.DeltaType.FOSSIL)
        await seat.subscription.subscribe()
        await seat.subscription.ready(SECONDS)
    offsets = []
    for n in range(6):
        skipped = n in (1, 2, 4)
        position = await ask(ring, "publish", channel=channel, data=f"{long}{n}", skip_history=skipped)
        offsets.append(position["offset"])
        for seat in seats:
            await eventually(lambda seat=seat, n=n: len(seat.publications) > n, "the publication")
    assert offsets == [1, 0, 0, 2, 0, 3]
    for seat in seats:
        assert [(pub.offset, pub.data) for pub in seat.publications] == [
            (offset, f"{long}{n}") for n, offset in enumerate(offsets)
        ]
    history = (await ask(ring, "history", channel=channel, limit=10))["publications"]
    assert [(one["offset"], one["data"]) for one in history] == [(1, f"{long}0"), (2, f"{long}3"), (3, f"{long}5")]


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        (102, {"channel": "nowhere:x", "data": 1}),
        (103, {"channel": "room:general", "data": 1}),
        (103, {"channel": "user:ann", "data": 1}),
        (106, {"channel": "news", "data": "x" * 300_000}),
        (107, {"channel": "news"}),
        (107, {"data": 1}),
    ],
)
async def test_publications_that_are_refused(ring: Ring, expected: int, body: dict[str, Any]) -> None:
    """Unknown channels, rooms and users, what NATS does not carry, and what is missing."""
    assert await code(ring, "publish", **body) == expected


# Reading.


async def test_history_is_read_in_both_directions(ring: Ring) -> None:
    """Limits, positions and directions give what the client protocol gives; without a limit the position only."""
    channel = fresh()
    epoch = ""
    for n in range(1, 6):
        epoch = (await ask(ring, "publish", channel=channel, data=n))["epoch"]

    async def offsets(**fields: Any) -> list[int]:
        result = await ask(ring, "history", channel=channel, **fields)
        assert (result["offset"], result["epoch"]) == (5, epoch)
        assert [one["data"] for one in result["publications"]] == [one["offset"] for one in result["publications"]]
        return [one["offset"] for one in result["publications"]]

    for _ in range(4):  # either process
        assert await offsets() == []
        assert await offsets(limit=2) == [1, 2]
        assert await offsets(limit=-1) == [1, 2, 3, 4, 5]
        assert await offsets(limit=2, reverse=True) == [5, 4]
        assert await offsets(limit=2, since={"offset": 2, "epoch": epoch}) == [3, 4]
        assert await offsets(limit=9, since={"offset": 3, "epoch": epoch}, reverse=True) == [2, 1]
    assert await code(ring, "history", channel=channel, limit=1, since={"offset": 1, "epoch": "other"}) == 112
    assert await code(ring, "history", channel=f"quiet:{fresh('')}", limit=1) == 108
    assert await code(ring, "history", channel="room:nosuchroom", limit=1) == 102
    small = f"smallhistory:{fresh('')}"
    for n in range(5):
        await ask(ring, "publish", channel=small, data=n)
    assert [one["offset"] for one in (await ask(ring, "history", channel=small, limit=10))["publications"]] == [4, 5]


async def test_a_room_can_be_read_and_not_written(ring: Ring) -> None:
    """What was said in a room stands in its history with its events; presence lists its people."""
    ann = await person(ring)
    try:
        room = await ann.make_room()
        await ann.follow(room)
        await ann.say("hello", room)
        history = (await ask(ring, "history", channel=f"room:{room}", limit=10))["publications"]
        assert [one["data"]["type"] for one in history][-1] == "message"
        assert history[-1]["data"]["text"] == "hello"

        async def present() -> Any:
            return (await ask(ring, "presence", channel=f"room:{room}"))["presence"]

        found = await eventually(present, "presence in the room")
        assert [info["user"] for info in found.values()] == [ann.account.id]
    finally:
        await ann.leave()


async def test_presence_lists_the_clients_of_both_processes(ring: Ring, crowd: Crowd) -> None:
    """Everybody who follows a channel is there, with client and user id and what the token says; stats count them."""
    channel = fresh()
    everybody = [*await crowd.on_both("ann"), await crowd.come("bob")]
    for one in everybody:
        await one.follow(channel)
    expected = {
        one.ids[-1]: {"user": one.user, "client": one.ids[-1], "conn_info": {"name": one.user}} for one in everybody
    }
    for _ in range(4):  # either process

        async def complete() -> bool:
            return bool((await ask(ring, "presence", channel=channel))["presence"] == expected)

        await eventually(complete, "everybody is present")
        stats = await ask(ring, "presence_stats", channel=channel)
        assert stats == {"num_clients": len(everybody), "num_users": 2}
    assert await code(ring, "presence", channel="smallhistory:x") == 108
    assert await code(ring, "presence_stats", channel="nowhere:x") == 102
    assert (await ask(ring, "presence", channel=fresh()))["presence"] == {}


async def test_info_counts_every_process(ring: Ring, crowd: Crowd) -> None:
    """Whichever process is asked tells of both: their clients, users, channels and subscriptions."""
    anns = await crowd.on_both("ann")
    await crowd.come("bob")
    one, other = fresh(), fresh()
    for ann in anns:
        await ann.follow(one)
    await anns[0].follow(other)
    for _ in range(6):
        nodes = await crowd.nodes()
        assert len({node["uid"] for node in nodes}) == len({node["name"] for node in nodes}) == 2
        assert sum(node["num_clients"] for node in nodes) == len(anns) + 1
        assert sum(node["num_users"] for node in nodes) == 3  # ann on both, bob on one
        assert sum(node["num_channels"] for node in nodes) == 3
        assert sum(node["num_subs"] for node in nodes) == len(anns) + 1
        assert all(node["version"] and node["uptime"] >= 0 for node in nodes)


# Ending.


async def gone(crowd: Crowd, those: list[Somebody], ending: tuple[int, str], since: float) -> None:
    """Hold that `those` were disconnected for good within a second, and that everybody else is still connected."""
    for one in those:
        await eventually(lambda one=one: one.ended_at, "the connection is ended", 5)
        assert one.ended == [ending]
        assert one.client.state is centrifuge.ClientState.DISCONNECTED
    assert max(one.ended_at for one in those) - since < 1
    for one in crowd.all:
        if one not in those:
            await one.client.ready(1)
            assert one.ended == []


async def test_a_user_is_disconnected_everywhere(ring: Ring, crowd: Crowd) -> None:
    """Every connection of the user ends for good, on both processes, within a second; other users stay."""
    anns, bobs = await crowd.on_both("ann"), await crowd.on_both("bob", least=1)
    started = time.monotonic()
    assert await ask(ring, "disconnect", user="ann") == {}
    await gone(crowd, anns, (3503, "force disconnect"), started)

    async def left() -> bool:
        return sum(node["num_clients"] for node in await crowd.nodes()) == len(bobs)

    await eventually(left, "only bob is counted")


async def test_a_code_and_a_reason_of_ones_own(ring: Ring, crowd: Crowd) -> None:
    """The close frame carries them; from 4500 on SDKs stay away, and metrics do not name them."""
    anns = await crowd.on_both("ann", least=1)
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", disconnect={"code": 4790, "reason": "zu spät"})
    await gone(crowd, anns, (4790, "zu spät"), started)
    page = (await http("GET", f"{ring.gateway_url}/metrics")).text
    assert 'parley_disconnects_total{cause="custom",code="custom"}' in page
    assert "4790" not in page


async def test_one_client_or_all_others(ring: Ring, crowd: Crowd) -> None:
    """A client id picks one connection of the user, the whitelist spares some; ids of others pick nobody."""
    anns, bob = await crowd.on_both("ann"), await crowd.come("bob")
    await ask(ring, "disconnect", user="ann", client=bob.ids[0])
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", client=anns[0].ids[0])
    await gone(crowd, anns[:1], (3503, "force disconnect"), started)
    crowd.all.remove(anns[0])
    spared = anns[1]
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", whitelist=[spared.ids[0]])
    await gone(crowd, anns[2:], (3503, "force disconnect"), started)


async def test_a_session_is_disconnected(ring: Ring, crowd: Crowd) -> None:
    """The session that the connect reply named picks that connection, whichever process holds it."""
    async with await Frames.open(ring) as one, await Frames.open(ring) as other:
        session = (await one.enter(token("ann")))["session"]
        await other.enter(token("ann"))
        await ask(ring, "disconnect", user="bob", session=session)
        await ask(ring, "disconnect", user="ann", session=session)
        assert await one.end(1) == (3503, "force disconnect")
        assert (await other.ask(rpc={"method": "echo", "data": 1}))["rpc"] == {"data": 1}


async def test_an_account_is_disconnected_and_comes_back(ring: Ring) -> None:
    """A code that lets SDKs reconnect closes a chat user's connection, who is connected again by herself."""
    ann = await person(ring)
    try:
        await ask(ring, "disconnect", user=ann.account.id, disconnect={"code": 3011, "reason": "force reconnect"})
        await eventually(lambda: len(ann.connected) == 2, "a second connection")
        assert (3011, "force reconnect") in ann.connecting
        assert ann.disconnected == []
    finally:
        await ann.leave()


async def test_a_user_is_unsubscribed_everywhere(ring: Ring, crowd: Crowd) -> None:
    """Every subscription of the user to that channel ends with 2000; connections, other channels and users stay."""
    channel, other = fresh(), fresh()
    anns, bob = await crowd.on_both("ann"), await crowd.come("bob")
    seats = [await ann.follow(channel) for ann in anns]
    kept = [await ann.follow(other) for ann in anns] + [await bob.follow(channel)]
    started = time.monotonic()
    assert await ask(ring, "unsubscribe", user="ann", channel=channel) == {}
    for seat in seats:
        await eventually(lambda seat=seat: seat.unsubscribed, "the subscription is ended", 5)
        assert seat.unsubscribed == [2000]
        assert seat.subscription is not None
        assert seat.subscription.state is centrifuge.SubscriptionState.UNSUBSCRIBED
    assert time.monotonic() - started < 1
    for name in (channel, other):
        await ask(ring, "publish", channel=name, data="after")
    for seat in kept:
        await eventually(lambda seat=seat: seat.publications, "publications go on")
        assert seat.unsubscribed == []
    assert all(seat.publications == [] for seat in seats)
    assert all(one.ended == [] for one in crowd.all)
    await anns[0].client.ready(1)
    assert seats[0].subscription is not None
    await seats[0].subscription.subscribe()  # nothing keeps a user away who may subscribe
    await seats[0].subscription.ready(SECONDS)


async def test_whom_nobody_knows(ring: Ring) -> None:
    """Users without a connection are ended with success; nobody in particular, and codes of others, are refused."""
    assert await ask(ring, "disconnect", user=fresh("user")) == {}
    assert await ask(ring, "unsubscribe", user=fresh("user"), channel="news") == {}
    assert await code(ring, "disconnect") == 107
    assert await code(ring, "disconnect", user="ann", disconnect={"code": 1000}) == 107
    assert await code(ring, "unsubscribe", user="ann") == 107
    assert await code(ring, "unsubscribe", user="ann", channel="nowhere:x") == 102


# Who may ask, and how.


async def test_only_the_key_opens_the_api(ring: Ring) -> None:
    """Both headers work; a wrong key or none is 401, a page's request 403."""
    assert (await post(ring, "info", {"Authorization": f"apikey {KEY}"})).status_code == 200
    for headers in ({"X-API-Key": "wrong"}, {"Authorization": f"Bearer {KEY}"}, {"X-Other": KEY}):
        answer = await post(ring, "info", headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "apikey"
    for origin in (ring.page_url, "https://example.org"):
        assert (await post(ring, "info", {"X-API-Key": KEY, "Origin": origin})).status_code == 403


async def test_without_a_key_there_is_no_api(calm_ring: Ring) -> None:
    """A deployment that sets no key answers 404, whatever key is shown."""
    for headers in ({"X-API-Key": ""}, {"X-API-Key": KEY}, {"Authorization": "apikey"}, {}):
        answer = await post(calm_ring, "publish", headers or {"X-Other": "x"}, channel="room:general", data=1)
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"{"),
        (400, b"[]"),
        (400, b'{"channel": 5, "data": 1}'),
        (400, b'{"channel": "news", "data": "\xff"}'),
        (400, b"[" * 100_000),
        (413, b'{"channel": "news", "data": "' + b"x" * 1024 * 1024 + b'"}'),
    ],
)
async def test_bodies_that_are_not_understood(ring: Ring, status: int, body: bytes) -> None:
    """They are answered by status, and the next request by its result."""
    url = f"{ring.gateway_url}/api/publish"
    answer = await http("POST", url, headers={"X-API-Key": KEY}, content=body)
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (await ask(ring, "publish", channel=fresh(), data=1))["offset"] == 1


async def test_methods_that_are_not_offered(ring: Ring) -> None:
    """Known ones are not available (108), others do not exist (404), and only POST asks."""
    for method in ("batch", "channels", "history_remove", "subscribe", "refresh", "rpc"):
        assert await code(ring, method) == 108
    assert (await post(ring, "nosuch")).status_code == 404
    assert (await http("GET", f"{ring.gateway_url}/api/info", headers={"X-API-Key": KEY})).status_code in (404, 405)


# When a process dies.


async def test_a_killed_process_is_not_waited_for_long(ring: Ring, crowd: Crowd) -> None:
    """While one process is dead, info and disconnect answer within their deadline; then both are there again."""
    anns = await crowd.on_both("ann", least=1)
    before = {node["uid"] for node in await crowd.nodes()}
    processes.kill(ring.worker_pids()[0])

    async def living() -> list[dict[str, Any]] | None:
        try:
            answer = (await post(ring, "info")).json()
        except httpx.HTTPError:  # the request was on the process that died
            return None
        return answer["result"]["nodes"] if "result" in answer else None  # one that starts has no NATS yet

    started = time.monotonic()
    nodes = await eventually(living, "an answer")
    assert time.monotonic() - started < 5
    assert len({node["uid"] for node in nodes} & before) == 1

    async def whole() -> bool:
        found = {node["uid"] for node in await living() or []}
        return len(found) == 2 and len(found & before) == 1

    await eventually(whole, "two processes again", 30)
    ring.wait_until_ready()
    for ann in anns:
        await ann.client.ready(SECONDS)
        ann.ended.clear()
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann")
    await gone(crowd, anns, (3503, "force disconnect"), started)
