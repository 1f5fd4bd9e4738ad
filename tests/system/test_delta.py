"""Deltas: whoever asks for them sees exactly what others see, through reconnects, losses and every kind of text."""

import json
import logging
import random
from collections.abc import Iterator
from typing import Any

import pytest
from centrifuge import DeltaType, SubscriptionEventHandler

from tests.bench.clients import SECONDS, Frames, eventually, guest
from tests.soak.people import Guest, Sender
from tests.soak.stage import NAMESPACE, Stage

SEED = 20_261_122
PUBLICATIONS = 500
CUT_EVERY = 10
LOSS = 0.02

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A ring, and a gateway beside it that loses live events."""
    with Stage(tmp_path_factory.mktemp("delta") / "x", LOSS, SEED, gateways=1) as made:
        yield made


class Reader(Guest, SubscriptionEventHandler):
    """Who notes the value of every publication, as the SDK puts it together."""

    def __init__(self, *options: Any) -> None:
        super().__init__(*options)
        self.values: list[Any] = []
        self.offsets: list[int] = []
        self.patches = 0
        self.refused = 0

    async def on_subscribed(self, ctx: Any) -> None:
        self.refused += ctx.was_recovering and not ctx.recovered

    async def on_publication(self, ctx: Any) -> None:
        self.values.append(self.decoded(ctx.pub.data))
        self.offsets.append(ctx.pub.offset)
        self.patches += ctx.pub.delta

    async def follow(self, channel: str, *, delta: bool) -> None:
        """Subscribe, with or without deltas."""
        kind = DeltaType.FOSSIL if delta else None
        subscription = self.client.new_subscription(channel, self, recoverable=True, positioned=True, delta=kind)
        await subscription.subscribe()
        await subscription.ready(SECONDS)


class Values:
    """Values as applications publish them: large with small changes, then others, now and then quite another one."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._value: dict[str, Any] = {"rows": [self._text() for _ in range(40)]}

    def next(self, number: int) -> Any:
        """Return the next value."""
        step = self._chance.random()
        if step < 0.05:
            self._value = {"rows": [self._text() for _ in range(self._chance.randint(0, 60))]}
        elif step < 0.1:
            return {"id": number, "short": True}  # a patch would not be shorter
        elif self._value["rows"]:
            for _ in range(self._chance.randint(0, 3)):
                self._value["rows"][self._chance.randrange(len(self._value["rows"]))] = self._text()
        return {"id": number, **json.loads(json.dumps(self._value))}

    def _text(self) -> str:
        letters = 'abc äöü€ \u2028\u2029"\\\n\t漢字👋\U0001f468\u200d\U0001f469 z'
        return "".join(self._chance.choices(letters, k=self._chance.randint(0, 60)))


async def publish(sender: Sender, channel: str, value: Any) -> None:
    """Publish; the gateway that is used loses nothing, so the answer comes."""
    await sender.client.publish(channel, sender.encoded(value))


@pytest.mark.timeout(300)
async def test_subscribers_with_deltas_see_what_others_see(stage: Stage) -> None:
    """500 publications, from both encodings, connections broken again and again, live events lost: all see the same."""
    log.warning("seed %d", SEED)
    chance = random.Random(SEED)
    channel = f"{NAMESPACE}:delta"
    url = stage.gateways[0].websocket_url
    kinds = [(use_protobuf, delta) for use_protobuf in (False, True) for delta in (False, True)] * 2
    readers = [await Reader.enter(stage.ring, url, "Reader", use_protobuf) for use_protobuf, _ in kinds]
    senders = [await Sender.enter(stage.ring, stage.ring.websocket_url, "Sender", bool(number)) for number in range(2)]
    for reader, (_, delta) in zip(readers, kinds, strict=True):
        await reader.follow(channel, delta=delta)
    values, published, cuts = Values(chance), [], 0
    for number in range(PUBLICATIONS):
        published.append(values.next(number))
        await publish(senders[number % 2], channel, published[-1])
        if number % CUT_EVERY == 0:
            cuts += chance.choice(readers).cut()
            log.debug("%d published", number)

        def slowest() -> bool:
            return min(len(reader.values) for reader in readers) > len(published) - 200

        await eventually(slowest, "nobody is so far behind that it could not recover", 60, 0.005)
    await eventually(lambda: all(len(one.values) >= PUBLICATIONS for one in readers), "everything arrives", 60)
    for reader, (use_protobuf, delta) in zip(readers, kinds, strict=True):
        which = f"protobuf {use_protobuf}, delta {delta}"
        assert reader.offsets == list(range(1, PUBLICATIONS + 1)), which
        assert reader.values == published, which
        assert reader.refused == 0, which
        assert (reader.patches > PUBLICATIONS // 2) if delta else (reader.patches == 0), which
    assert cuts >= 20
    for one in [*readers, *senders]:
        await one.leave()
    log.warning("%d cuts, %s patches", cuts, [reader.patches for reader in readers])


async def test_the_first_after_each_subscribe_is_whole(stage: Stage) -> None:
    """Also when recovery returned nothing; within one, patches follow on the first; none is longer than the whole."""
    channel = f"{NAMESPACE}:first"
    account = await guest(stage.ring)
    whole = [json.dumps({"n": number, "text": "the same long text " * 20}) for number in range(8)]
    async with await Frames.open(stage.ring) as author, await Frames.open(stage.ring) as reader:
        await author.enter(account.access)
        await reader.enter(account.access)

        async def publish(number: int) -> None:
            assert "publish" in await author.ask(publish={"channel": channel, "data": json.loads(whole[number])})

        async def live(count: int) -> list[dict[str, Any]]:
            await reader.until(lambda: len(reader.pushes) >= count, f"{count} publications")
            return [push["pub"] for push in reader.pushes]

        async def subscribe(**fields: Any) -> dict[str, Any]:
            reply = await reader.ask(subscribe={"channel": channel, "delta": "fossil", "recoverable": True, **fields})
            result: dict[str, Any] = reply["subscribe"]
            assert result["delta"] is True
            return result

        position = await subscribe()
        await publish(0)
        await publish(1)
        first, second = await live(2)
        assert (first["data"], first.get("delta")) == (whole[0], None)
        assert second["delta"] is True
        assert isinstance(second["data"], str)
        assert len(second["data"]) < len(whole[1])
        await reader.ask(unsubscribe={"channel": channel})
        again = await subscribe(recover=True, epoch=position["epoch"], offset=2)
        assert again["recovered"] is True
        assert "publications" not in again
        await publish(2)
        assert (await live(3))[2] == {"data": whole[2], "offset": 3, "info": (await live(3))[2]["info"]}
        await reader.ask(unsubscribe={"channel": channel})
        for number in (3, 4, 5):
            await publish(number)
        again = await subscribe(recover=True, epoch=position["epoch"], offset=3)
        assert [one.get("delta", False) for one in again["publications"]] == [False, True, True]
        assert again["publications"][0]["data"] == whole[3]
        await publish(6)
        assert (await live(4))[3]["delta"] is True, "the recovered ones are what it applies to"
        assert "publish" in await author.ask(publish={"channel": channel, "data": 1})
        assert ((await live(5))[4]["data"], (await live(5))[4].get("delta")) == ("1", None)


async def test_a_channel_without_deltas_gives_none(stage: Stage) -> None:
    """In rooms the wish for deltas is passed over: the reply does not promise any, and data is what it always is."""
    async with await Frames.open(stage.ring) as frames:
        await frames.enter((await guest(stage.ring)).access)
        room = await frames.make_room()
        result = await frames.follow(room, delta="fossil")
        assert "delta" not in result
        await frames.say(room, "a" * 500, "a" * 500)
        await frames.until(lambda: len(frames.texts(room)) == 2, "both messages")
