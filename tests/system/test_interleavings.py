"""Thousands of interleavings of send, subscribe, unsubscribe, disconnect, come back and kill, each judged whole."""

import asyncio
import itertools
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.bench.beside import GatewayBeside
from tests.bench.clients import Frames, eventually, guest
from tests.bench.lossy import LossyProxy
from tests.bench.walker import Walker, World
from tests.bench.walks import Walk
from tests.soak.stage import NAMESPACE, Stage

SEED = 20_261_122
WALKS = 2000
AT_ONCE = 24
WALKERS = 3
STEPS = 16
ROOMS_EVERY = 4
KILL_EVERY = 200
LOSS = 0.02

log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A ring, and a gateway beside it that loses live events; channels nobody follows any more are soon closed."""
    more = {"LINGER_SECONDS": "2", "POSITION_CHECK_SECONDS": "2"}
    with Stage(tmp_path_factory.mktemp("walks"), LOSS, SEED, gateways=1, more=more) as made:
        yield made


async def members_only(stage: Stage, walkers: list[Walker]) -> str:
    """Return a new room that all walkers are in."""
    room = ""
    for walker in walkers:
        async with await Frames.open(stage.ring) as frames:
            await frames.enter(walker.account.access)
            room = room or await frames.make_room("Walk")
            await frames.call("room.join", room=room)
    return room


# The library under the walkers leaves an attempt that a kill cuts off to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.timeout(600)
async def test_every_interleaving_keeps_every_promise(stage: Stage) -> None:
    """Whatever the order of things: nothing lost, nothing twice, nothing out of order, nothing to who is not there."""
    log.warning("seed %d", SEED)
    world = World([stage.ring.websocket_url, *(gateway.websocket_url for gateway in stage.gateways)], NAMESPACE)
    accounts = [await guest(stage.ring, f"Walker {number}") for number in range(AT_ONCE * WALKERS)]
    numbers = itertools.count()
    wrong: list[str] = []

    async def walk_on(stack: AsyncExitStack, first: int) -> None:
        walkers = [Walker(world, account) for account in accounts[first : first + WALKERS]]
        for walker in walkers:
            stack.push_async_callback(walker.leave)
        while (number := next(numbers)) < WALKS and not wrong:
            room = await members_only(stage, walkers) if number % ROOMS_EVERY == 0 else ""
            walk = Walk(world, SEED + number, walkers, room)
            faults = await walk.run(STEPS)
            if faults:
                wrong.append(walk.explain(faults))
            await walk.rest()
            if number % KILL_EVERY == KILL_EVERY - 1:
                killed = await asyncio.to_thread(stage.kill_worker)
                log.warning("%d walks, %s", number, "kill -9 of a worker" if killed else "no worker to kill")

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        for first in range(0, len(accounts), WALKERS):
            tasks.create_task(walk_on(stack, first))
    log.warning("%s", dict(sorted(world.counted.items())))
    assert not wrong, "\n\n".join(wrong)
    assert world.counted["walks"] >= WALKS
    assert stage.kills >= 5
    assert stage.proxies[0].lost > 0
    assert world.counted["recoveries"] > WALKS


@pytest.fixture
def deaf(tmp_path_factory: pytest.TempPathFactory, stage: Stage) -> Iterator[tuple[GatewayBeside, LossyProxy]]:
    """A gateway that no live event reaches, and that compares its position with the log once in ten minutes."""
    with (
        LossyProxy(stage.ring.ports["nats"], 1, SEED) as proxy,
        GatewayBeside(stage.ring, proxy.url, GATEWAY_WORKERS="1", POSITION_CHECK_SECONDS="600") as gateway,
    ):
        yield gateway, proxy


async def test_history_has_what_is_stored_on_any_gateway(stage: Stage, deaf: tuple[GatewayBeside, LossyProxy]) -> None:
    """What was acknowledged on one gateway is found on another, though nothing live reached that."""
    channel = f"{NAMESPACE}:deaf"
    account = await guest(stage.ring)
    async with await Frames.open(stage.ring) as author, await Frames.open(deaf[0]) as reader:
        await author.enter(account.access)
        await reader.enter(account.access)
        assert (await reader.ask(history={"channel": channel, "limit": -1}))["history"]["publications"] == []
        for number in range(3):
            assert "publish" in await author.ask(publish={"channel": channel, "data": number})
            reply = await reader.ask(history={"channel": channel, "limit": -1})
            assert [one["data"] for one in reply["history"]["publications"]] == list(range(number + 1))
            assert reply["history"]["offset"] == number + 1
    assert deaf[1].lost >= 3


async def test_recovery_has_what_is_stored_on_any_gateway(stage: Stage, deaf: tuple[GatewayBeside, LossyProxy]) -> None:
    """Who saw more on another gateway recovers from there, though nothing live reached this one."""
    channel = f"{NAMESPACE}:deaf-too"
    account = await guest(stage.ring)
    async with await Frames.open(stage.ring) as author, await Frames.open(deaf[0]) as reader:
        await author.enter(account.access)
        await reader.enter(account.access)
        position = (await reader.ask(subscribe={"channel": channel}))["subscribe"]
        await reader.ask(unsubscribe={"channel": channel})
        for number in range(4):
            assert "publish" in await author.ask(publish={"channel": channel, "data": number})
        asked = {"channel": channel, "recover": True, "epoch": position["epoch"], "offset": 4}
        result = (await reader.ask(subscribe=asked))["subscribe"]
        assert (result["recovered"], result["offset"], result.get("publications", [])) == (True, 4, [])
        await reader.ask(unsubscribe={"channel": channel})
        result = (await reader.ask(subscribe=asked | {"offset": 1}))["subscribe"]
        assert [one["offset"] for one in result["publications"]] == [2, 3, 4]


async def test_connecting_while_nats_is_away_is_to_be_tried_again(
    stage: Stage, deaf: tuple[GatewayBeside, LossyProxy]
) -> None:
    """Connect is refused for now; a subscribe that came in the same frame does not make a breach of protocol of it."""
    gateway, proxy = deaf
    account = await guest(stage.ring)
    proxy.away = True
    proxy.cut()
    await eventually(lambda: asyncio.to_thread(lambda: not gateway.ready), "the gateway misses NATS")
    async with await Frames.open(gateway) as frames:
        connect = frames.numbered(connect={"token": account.access})
        await frames.send(connect, frames.numbered(subscribe={"channel": f"{NAMESPACE}:x"}))
        code, _ = await frames.end()
    assert frames.replies[connect["id"]]["error"] == {"code": 503, "message": "unavailable, retry", "temporary": True}
    assert len(frames.replies) == 1
    assert code == 3502
    proxy.away = False
    await eventually(lambda: asyncio.to_thread(lambda: gateway.ready), "the gateway is ready again", 30)
    async with await Frames.open(gateway) as frames:
        assert (await frames.enter(account.access))["client"]


async def test_who_joins_hears_nothing_of_before(stage: Stage, deaf: tuple[GatewayBeside, LossyProxy]) -> None:
    """A gateway that lacks the newest events of a room lets somebody in who has just joined: what it lacks is for those
    who were members then, and for nobody else."""
    async with (
        await Frames.open(stage.ring) as author,
        await Frames.open(deaf[0]) as member,
        await Frames.open(deaf[0]) as newcomer,
    ):
        for one in (author, member, newcomer):
            await one.enter((await guest(stage.ring)).access)
        room = await author.make_room()
        position = (await member.follow(room))["offset"]
        said = await author.say(room, "one", "two", "three")
        assert deaf[1].lost >= 3
        joined = (await newcomer.call("room.join", room=room))["offset"]
        result = (await newcomer.ask(subscribe={"channel": f"room:{room}"}))["subscribe"]
        assert result["offset"] >= joined > said[-1] > position
        deaf[1].loss = 0
        last = (await author.say(room, "four"))[0]

        def heard(one: Frames) -> list[int]:
            return [
                push["pub"]["offset"] for push in one.pushes if push.get("channel") == f"room:{room}" and "pub" in push
            ]

        for one, after in ((member, position), (newcomer, result["offset"])):
            await one.until(lambda one=one: heard(one)[-1:] == [last], "the last is heard")  # type: ignore[misc]
            assert heard(one) == list(range(after + 1, last + 1))
