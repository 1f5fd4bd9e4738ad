"""The canary against the running ring: silent while all is well and on bad days, and sees what somebody takes away."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.between import Between
from tests.bench.canary import RECEIVERS, Canary
from tests.bench.clients import eventually, sign_in
from tests.bench.metrics import metric
from tests.bench.processes import kill
from tests.bench.ring import Ring
from tests.system.conftest import Enter

Hatch = Callable[..., Canary]
PASSWORD = "correct horse battery"


@pytest.fixture
def hatch(tmp_path: Path) -> Iterator[Hatch]:
    """Make canaries for one test: `hatch(ring).start()`; takes further settings."""
    made: list[Canary] = []

    def make(ring: Ring, url: str = "", **settings: str) -> Canary:
        made.append(Canary(tmp_path, ring, url, **settings))
        return made[-1]

    yield make
    for canary in made:
        print(canary.tail())  # noqa: T201  # pytest shows it when the test failed
        canary.end()


async def test_all_is_well(calm_ring: Ring, hatch: Hatch) -> None:
    """Numbers rise, every receiver has each once and in order, also across absences of its own; SIGTERM ends with 0."""
    canary = hatch(calm_ring, CANARY_RECONNECT_SECONDS="1").start()
    await canary.until("resumptions_total", 4, result="recovered")
    await canary.chats()
    assert await canary.broken() == {}
    assert await canary.health("live") == 200
    await eventually(lambda: _is(canary, 200), "the canary is ready")
    assert await canary.figure("connected") == 1
    assert await canary.figure("reconnects_total") == 0
    assert await canary.figure("send_failures_total") == 0
    assert await canary.figure("latency_seconds_count") > 30
    assert await canary.figure("last_received_timestamp_seconds") > 0
    page = await canary.page()
    assert "parley_nats" not in page
    sent = await canary.figure("sent_total")
    assert await canary.until("received_total", RECEIVERS * sent) < RECEIVERS * (sent + 30)
    assert canary.stop() == 0


async def test_the_room_is_the_same_after_a_restart(calm_ring: Ring, hatch: Hatch, enter: Enter) -> None:
    """An account is registered at the first start and finds its room at each later one, whose numbers are its own."""
    account = {"CANARY_USERNAME": "Canary.One", "CANARY_PASSWORD": PASSWORD, "CANARY_ROOM": "a room of its own"}
    for _ in range(2):
        canary = hatch(calm_ring, **account).start()
        await canary.chats(10)
        assert await canary.broken() == {}
        assert canary.stop() == 0
    ann = await enter(calm_ring)
    rooms = [room for room in (await ann.call("room.list"))["rooms"] if room["name"] == "a room of its own"]
    assert len(rooms) == 1
    assert rooms[0]["members"] == 1
    assert rooms[0]["messages"] >= 20


async def test_guests_leave_nothing_behind(calm_ring: Ring, hatch: Hatch, enter: Enter) -> None:
    """A canary without an account leaves the room when it ends, and the next one finds it all the same."""
    for _ in range(2):
        canary = hatch(calm_ring, CANARY_ROOM="a room of guests").start()
        await canary.chats(5)
        assert canary.stop() == 0
    ann = await enter(calm_ring)
    rooms = [room for room in (await ann.call("room.list"))["rooms"] if room["name"] == "a room of guests"]
    assert [(room["members"], room["messages"] >= 10) for room in rooms] == [(0, True)]


async def test_a_wrong_password_has_a_name(calm_ring: Ring, hatch: Hatch) -> None:
    """With a password that is not the account's the canary lives, is not ready, and says why."""
    await sign_in(calm_ring, "register", username="canary.two", password=PASSWORD)
    canary = hatch(calm_ring, CANARY_USERNAME="canary.two", CANARY_PASSWORD="another one").start()
    await canary.until("sign_in_failures_total", 1, reason="credentials")
    assert await canary.health("live") == 200
    assert await canary.health("ready") == 503
    assert await canary.figure("connected") == 0
    assert "another one" not in canary.log.read_text()
    assert canary.stop() == 0


async def test_a_target_that_is_away_is_waited_for(rings: Callable[..., Ring], hatch: Hatch) -> None:
    """Started before everything else the canary waits, and ends at SIGTERM all the same; then it chats."""
    ring = rings()
    early = hatch(ring).start()
    await early.until("sign_in_failures_total", 1, reason="unreachable")
    assert await early.health("ready") == 503
    assert early.stop() == 0
    canary = hatch(ring).start()
    await canary.until("sign_in_failures_total", 1, reason="unreachable")
    ring.start()
    await canary.chats(10)
    assert await canary.broken() == {}


async def test_tokens_are_refreshed_in_time(rings: Callable[..., Ring], hatch: Hatch) -> None:
    """Connections outlive their tokens: nobody is sent away, and sign-in happens once."""
    ring = rings(AUTH_ACCESS_SECONDS="10").start()
    canary = hatch(ring).start()

    async def refreshed() -> bool:
        return await metric(ring, "parley_auth_requests_total", "auth", operation="refresh", result="ok") >= 2

    await eventually(refreshed, "tokens were refreshed twice", 60, 0.5)
    await canary.chats()
    assert await canary.broken() == {}
    assert await canary.figure("reconnects_total") == 0
    assert await metric(ring, "parley_auth_requests_total", "auth", operation="guest") == 1


async def test_a_bad_day_is_no_broken_promise(rings: Callable[..., Ring], hatch: Hatch) -> None:
    """Gateways are killed and NATS starts again: failures and reconnects are counted, and nothing else."""
    ring = rings(GATEWAY_WORKERS="2").start()
    canary = hatch(ring).start()
    await canary.chats()
    for pid in ring.worker_pids():
        kill(pid)
        await eventually(lambda: len(ring.worker_pids()) == 2, "the worker was replaced", 30)
        await canary.chats(10)
    assert await canary.until("reconnects_total", 3) >= 3, "each connection was lost once at least"
    ring.kill("nats")
    await canary.until("send_failures_total", 1)
    ring.wait_until_ready()
    await canary.chats(60)
    assert await canary.broken() == {}
    assert await canary.figure("unjudged") == 0
    await eventually(lambda: _is(canary, 200), "the canary is ready again")


@pytest.mark.parametrize("fault", ["swallow", "repeat", "swap"])
async def test_what_is_done_to_a_message_is_seen(calm_ring: Ring, hatch: Hatch, fault: str) -> None:
    """A message that somebody takes away, repeats or keeps back on the way to one receiver is counted, once."""
    counted = {"swallow": "lost", "repeat": "duplicated", "swap": "reordered"}[fault]
    # What is kept back must not be recovered meanwhile: it would come twice then.
    seconds = "60" if fault == "swap" else "2"
    async with Between(calm_ring.websocket_url) as between:
        canary = hatch(calm_ring, between.url, CANARY_RECONNECT_SECONDS=seconds).start()
        await canary.chats()
        assert await canary.broken() == {}
        getattr(between, fault)["canary-receiver-1"] = 1
        await canary.until(f"{counted}_total", 1)
        await canary.chats()
        assert await canary.broken() == {counted: 1}
        assert canary.stop() == 0


async def test_a_receiver_that_gets_nothing_is_seen(calm_ring: Ring, hatch: Hatch) -> None:
    """Where the connection lives and no message comes any more, all are lost: silence is no excuse for who answers."""
    async with Between(calm_ring.websocket_url) as between:
        canary = hatch(calm_ring, between.url).start()
        await canary.chats(10)
        between.swallow["canary-receiver-1"] = 1_000_000
        await canary.until("lost_total", 10)
        assert (await canary.broken()).keys() == {"lost"}
        assert canary.stop() == 0


async def test_a_connection_that_died_silently_is_no_loss(calm_ring: Ring, hatch: Hatch) -> None:
    """A receiver behind a network that swallows all and says nothing is not judged; it recovers when it notices."""
    async with Between(calm_ring.websocket_url) as between:
        canary = hatch(calm_ring, between.url).start()
        await canary.chats(10)
        between.frozen.add("canary-receiver-1")
        await canary.chats(50)  # for longer than after which messages are lost
        await between.shut_out("canary-receiver-1")
        between.shut.clear()
        await canary.until("resumptions_total", 1, result="recovered")
        await canary.chats()
        assert await canary.broken() == {}
        assert (
            await canary.figure("latency_seconds_count") - await canary.figure("latency_seconds_bucket", le="1.0") > 10
        )


# The SDK leaves an attempt that is cut off to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_what_is_honestly_to_be_reloaded_is_not_lost(rings: Callable[..., Ring], hatch: Hatch) -> None:
    """A receiver that was away for too long is told so, reads the history, and has everything."""
    ring = rings(HISTORY_LIMIT="10").start()
    async with Between(ring.websocket_url) as between:
        canary = hatch(ring, between.url).start()
        await canary.chats(10)
        for name in ("canary-receiver-1", "canary-receiver-2"):  # JSON, Protobuf
            before = await canary.figure("reloaded_total")
            await between.shut_out(name)
            await canary.chats(30)
            between.shut.clear()
            await canary.until("reloaded_total", before + 20)
        await canary.chats()
        assert await canary.figure("resumptions_total", result="reloaded") == 2
        assert await canary.broken() == {}
        sent = await canary.figure("sent_total")
        given = await canary.figure("received_total") + await canary.figure("reloaded_total")
        assert given >= RECEIVERS * (sent - 5), "what was not received was reloaded"


async def _is(canary: Canary, status: int) -> bool:
    return await canary.health() == status
