"""How long messages take, stage by stage, as the gateway measures it."""

from collections.abc import Awaitable, Callable

from tests.bench.clients import Frames, eventually, guest
from tests.bench.metrics import metric
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]


async def count(ring: Ring, stage: str) -> float:
    """Return how many deliveries were measured."""
    return await metric(ring, "parley_delivery_stage_seconds_count", stage=stage)


async def test_only_what_reaches_somebody_live_is_measured(rings: Callable[..., Ring], frames: Open) -> None:
    """Each stage is on the page from the start; a message without a follower, or recovered later, has no total."""
    ring = rings(GATEWAY_WORKERS="1").start()
    for stage in ("stored", "fanned_out", "total"):
        assert await count(ring, stage) == 0
    ann, bob = await frames(ring), await frames(ring)
    account = await guest(ring)
    await ann.enter((await guest(ring)).access)
    await bob.enter(account.access)
    room = await ann.make_room()
    alone = await metric(ring, "parley_subscriptions")
    position = await bob.follow(room, recoverable=True)
    for one in (ann, bob):
        await one.until(lambda one=one: _noticed(one, room), "the notice on the user's own channel")
    before = await count(ring, "total")

    await ann.say(room, "one", "two")
    await bob.until(lambda: bob.texts(room) == ["one", "two"], "both messages")
    await eventually(lambda: _is(ring, before + 2), "both are measured")
    assert await metric(ring, "parley_delivery_stage_seconds_bucket", stage="total", le="0.5") == before + 2
    spent = await metric(ring, "parley_delivery_stage_seconds_sum", stage="total")
    stored_to_sockets = await metric(ring, "parley_delivery_stage_seconds_sum", stage="fanned_out")
    assert 0 <= stored_to_sockets <= spent + 0.002 * (before + 2), "total begins earlier; its times are milliseconds"

    await bob.close()
    await eventually(lambda: _subscriptions(ring, alone - 1), "he is gone")
    await ann.say(room, "three")
    again = await frames(ring)
    await again.enter(account.access)
    subscribed = await again.ask(
        subscribe={
            "channel": f"room:{room}",
            "recover": True,
            "epoch": position["epoch"],
            "offset": position["offset"] + 2,
        }
    )
    assert [one["data"]["text"] for one in subscribed["subscribe"]["publications"]] == ["three"]
    assert await count(ring, "total") == before + 2
    assert await count(ring, "fanned_out") == before + 2
    assert await count(ring, "stored") == 3


async def _is(ring: Ring, number: float) -> bool:
    return await count(ring, "total") == number


async def _subscriptions(ring: Ring, number: float) -> bool:
    return await metric(ring, "parley_subscriptions") == number


def _noticed(one: Frames, room: str) -> bool:
    return any(push["pub"]["data"].get("room") == room for push in one.pushes if push["channel"].startswith("user:"))
