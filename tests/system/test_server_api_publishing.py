"""Publishing by the server API: what a team's own backend publishes reaches every subscriber, on either process."""

import asyncio
from typing import Any

import centrifuge
import pytest

from tests.bench.clients import SECONDS, Frames, eventually, http
from tests.bench.people import Seat
from tests.bench.ring import Ring
from tests.bench.server_api import KEY, ask, code, fresh
from tests.bench.users import Crowd, token


@pytest.fixture(scope="module")
def ring(api_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return api_ring


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
