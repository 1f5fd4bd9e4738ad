"""Bad days: a part is killed or hangs while people talk. Nothing acknowledged is lost, nothing comes twice.

In each test three people send all the time, repeating what is not acknowledged under the same id, as the docs advise;
they and two more receive. In the end the whole history of the room is judged (tests/bench/history.py).
"""

import signal
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from tests.bench import processes
from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.metrics import metric
from tests.bench.party import Party, talk
from tests.bench.people import Person, Said, person
from tests.bench.ring import Ring

LEASE_SECONDS = 3


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """A system of these tests' own, with a short lease for presence."""
    one = Ring(tmp_path_factory.mktemp("bad-days") / "data", {"LEASE_SECONDS": str(LEASE_SECONDS)})
    try:
        yield one.start()
    finally:
        one.end()


@pytest_asyncio.fixture
async def party(ring: Ring) -> AsyncIterator[Party]:
    """Five people in a new room; the first three have begun to talk."""
    async with talk(ring) as party:
        yield party
    ring.wait_until_ready()


async def whole(ring: Ring) -> None:
    """Return when every part is ready again, on both workers."""

    def ready() -> bool:
        try:
            pids = ring.worker_pids()
        except AssertionError:
            return False  # a part is just being started
        return len(pids) == 2 and not any(ring.missing(part) for part in ("auth", "chat", "gateway"))

    await eventually(ready, "every part is ready", 60, 0.1)


def tracebacks(ring: Ring) -> list[str]:
    """Return the names of logs that hold a traceback."""
    files = Path(ring.directory, "logs").iterdir()
    return [path.name for path in files if "Traceback" in path.read_text(errors="replace")]


async def test_nats_is_killed(party: Party, ring: Ring) -> None:
    """NATS is killed and started again: everybody stays connected, and talk goes on where it was."""
    for _ in range(2):
        ring.kill("nats")
        await whole(ring)
        await party.hear(5, "after NATS is back")
    await party.finish()
    assert party.reconnects == [0] * len(party.people)
    assert set(party.refusals()) <= {503}
    assert max(one.longest for one in party.said) < 2
    assert tracebacks(ring) == []


async def test_nats_hangs(party: Party, ring: Ring) -> None:
    """While NATS does not answer, each send is answered with 503 within 2 s, and readiness says what is missing.

    Who comes meanwhile is told to try again, too: what concerns that user cannot be followed yet.
    """
    outsider = await Frames.open(ring)
    await outsider.enter(party.people[0].account.access)
    pid = ring.pid_of("nats")
    processes.kill(pid, signal.SIGSTOP)
    try:
        for part in ("gateway", "chat"):
            # Asked often enough that every worker has answered: they notice at different times.
            await eventually(
                lambda part=part: all("nats" in ring.missing(part) for _ in range(16)), f"{part} misses NATS", 15, 0.1
            )
            assert "nats" in str(ring.missing(part)["nats"]).lower()
        live = await http("GET", f"{ring.gateway_url}/health/live")
        assert live.status_code == 200
        async with await Frames.open(ring) as newcomer:
            error = (await newcomer.ask(connect={"token": party.people[0].account.access}))["error"]
            assert (error["code"], error["temporary"]) == (503, True)
        started = time.monotonic()
        body = {"room": party.room, "id": "while-nats-hangs", "text": "into the void"}
        reply = await outsider.ask(rpc={"method": "message.send", "data": body})
        assert (reply["error"]["code"], reply["error"]["temporary"]) == (503, True)
        assert await outsider.refusal(subscribe={"channel": f"room:{party.room}"}) == 503
        assert time.monotonic() - started < 4
        await outsider.close()
    finally:
        processes.kill(pid, signal.SIGCONT)
    await whole(ring)
    await party.hear(5, "after NATS goes on")
    # What was refused may have been stored all the same; its author, retrying, is told where it is.
    party.said.append(await retried(party.people[0], party.room, "while-nats-hangs", "into the void"))
    await party.finish()
    assert party.reconnects == [0] * len(party.people)
    assert 503 in party.refusals()
    assert set(party.refusals()) == {503}
    assert max(one.longest for one in party.said) < 2
    assert tracebacks(ring) == []


async def retried(sender: Person, room: str, message_id: str, text: str) -> Said:
    """Send a message under an id that was used before."""
    asked = time.monotonic()
    receipt = await sender.say(text, room, message_id)
    return Said(message_id, text, receipt["offset"], asked, time.monotonic())


async def test_chat_is_killed(party: Party, ring: Ring) -> None:
    """The chat service is killed in the middle of sending: sends say 503 within 2 s until it is back."""
    for _ in range(2):
        ring.kill("chat")
        await whole(ring)
        await party.hear(5, "after the chat service is back")
    await party.finish()
    assert party.reconnects == [0] * len(party.people)
    assert set(party.refusals()) == {503}
    assert max(one.longest for one in party.said) < 2
    assert tracebacks(ring) == []


async def test_auth_is_away(party: Party, ring: Ring) -> None:
    """Without the auth service nobody new signs in, and nothing else changes: talk goes on, tokens still connect."""
    pid = ring.pid_of("auth")
    processes.kill(pid, signal.SIGSTOP)
    try:
        await party.hear(5, "while the auth service hangs")
        again = await Frames.open(ring)
        await again.enter(party.people[0].account.access)
        await again.close()
    finally:
        processes.kill(pid)
    with pytest.raises((httpx.TransportError, AssertionError)):
        await guest(ring)
    await party.hear(5, "while the auth service starts")
    await whole(ring)
    assert (await guest(ring, "Newcomer")).name == "Newcomer"
    await party.finish()
    assert party.reconnects == [0] * len(party.people)
    assert party.refusals() == []
    assert tracebacks(ring) == []


@pytest.mark.parametrize("what", ["everything", "one worker"])
async def test_the_gateway_is_killed(party: Party, ring: Ring, what: str) -> None:
    """Clients come back by themselves and get exactly what they missed; who does not come back leaves no ghost."""
    watcher = party.people[-1]
    subscription = party.seats[-1].subscription
    assert subscription is not None
    lost = [await Frames.open(ring) for _ in range(6)]
    for one in lost:
        await one.enter((await guest(ring, "Lost")).access)
        await one.follow(party.room)

    async def present() -> int:
        return (await subscription.presence_stats()).num_clients

    async def everybody() -> bool:
        return await present() == len(party.people) + len(lost)

    await eventually(everybody, "everybody is present")
    before = [ring.pid_of("gateway"), *ring.worker_pids()]
    victims = before if what == "everything" else before[1:2]
    for pid in victims:
        processes.kill(pid)
    killed = time.monotonic()
    await party.hear(5, "after the kill", 60)
    if what == "everything":
        await eventually(lambda: all(count >= 1 for count in party.reconnects), "everybody has come back", 30)
    staying = 0
    for one in lost:
        if what == "one worker" and not one.closed:
            staying += 1
        elif what == "everything":
            await one.end(5)

    async def no_ghosts() -> bool:
        try:
            return await present() == len(party.people) + staying
        except Exception:  # it is reconnecting just now
            return False

    await eventually(no_ghosts, "no ghost is present", 30, 0.1)
    assert time.monotonic() - killed < 30
    clients = (await subscription.presence()).clients
    expected = {one.account.id for one in party.people}
    assert expected <= {one.user for one in clients.values()}
    assert len(watcher.connected) >= 1
    await whole(ring)
    await party.finish()
    assert set(party.refusals()) <= {0, 503}
    for one in lost:
        await one.close()
    assert tracebacks(ring) == []


async def test_a_ghost_is_gone_when_its_lease_is(ring: Ring) -> None:
    """Who asked for joins and leaves hears that the clients of a killed gateway left, soon after its lease ends."""
    ann = await person(ring, "Ann")
    room = await ann.make_room()
    crowd: list[Frames] = []
    nodes: dict[str, list[str]] = {}
    while len(nodes) < 2 or min(len(ids) for ids in nodes.values()) < 2:
        one = await Frames.open(ring)
        result = await one.enter((await guest(ring, "Lost")).access)
        await one.follow(room)
        nodes.setdefault(result["node"], []).append(result["client"])
        crowd.append(one)
    seat = await ann.follow(room, join_leave=True)
    mine = ann.connected[0]
    await eventually(lambda: any(info.client == mine for info in seat.joins), "Ann's own join arrives")
    workers = ring.worker_pids()
    processes.kill(workers[0])
    killed = time.monotonic()
    await eventually(lambda: any(one.closed for one in crowd), "connections break")

    def left() -> set[str]:
        return {info.client for info in seat.leaves}

    await eventually(lambda: any(set(ids) <= left() for ids in nodes.values()), "their leaves arrive", 20)
    assert time.monotonic() - killed < 3 * LEASE_SECONDS + 5
    assert await metric(ring, "parley_presence_swept_total") > 0
    for one in crowd:
        await one.close()
    await ann.leave()
    await whole(ring)
