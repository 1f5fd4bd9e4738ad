"""What a bad network does, in a network namespace of our own: partitions, loss, delay, half-open connections.

One gateway reaches NATS under an address of its own, so that its packets can be told from the others'.
"""

import asyncio
import time
from asyncio import to_thread
from collections.abc import Iterator

import pytest

from tests.bench.clients import Frames, eventually, guest, http
from tests.bench.fleet import Service
from tests.bench.lossy import LossyProxy
from tests.bench.metrics import total
from tests.bench.nats import NatsServer
from tests.bench.network import Network
from tests.faults.conftest import Enter
from tests.faults.crowd import Crowd
from tests.faults.rows import Row
from tests.faults.stage import Stage

APART = "127.0.0.2"
"""Where gateway-1 finds NATS."""
AWAY = "127.0.0.3"
"""Where clients sit whose packets vanish."""
NOTICED, BACK = 10.0, 5.0
SLOW_SENDS = 2.0
NOT_CROWDED = 48
"""Rooms at most where it is tried how long sends take: with more, they wait for each other and not for the network."""

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """The namespace of all rows of this module."""
    with Network() as made:
        yield made


@pytest.fixture(scope="module")
def stage(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A system in the namespace, whose first gateway has a way of its own to NATS."""
    directory = tmp_path_factory.mktemp("network")
    with Stage(directory, NatsServer(directory / "nats", host="0.0.0.0")) as made:
        gateway = made.service("gateway-1")
        gateway.kill()
        gateway.start(NATS_URL=f"nats://{APART}:{made.nats.port}")
        gateway.wait_until_ready()
        yield made


def ways(stage: Stage) -> dict[str, tuple[str, ...]]:
    """Return what matches the packets from gateway-1 to NATS, and back."""
    port = str(stage.nats.port)
    return {
        "there": ("-p", "tcp", "-d", APART, "--dport", port),
        "back": ("-p", "tcp", "-s", APART, "--sport", port),
    }


@pytest.mark.parametrize(
    "cut", [pytest.param("both ways", marks=pytest.mark.short), pytest.param("there", marks=pytest.mark.short), "back"]
)
async def test_partition(row: Row, stage: Stage, enter: Enter, network: Network, cut: str) -> None:
    """A gateway and NATS hear nothing of each other, or only one of them does: it says that it is not ready, refuses
    sends, keeps its clients, and goes on by itself. Users there see pending messages, all others nothing."""
    messages, seconds = row.messages(), 12 if row.short else 25
    crowd = await enter(stage, sticky=True)
    crowd.send(messages // 2)
    await crowd.hear(50, "before")
    gateway = stage.service("gateway-1")
    began = time.monotonic()
    for way, matches in ways(stage).items():
        if cut in ("both ways", way):
            network.drop(*matches)
    try:
        crowd.send(messages - messages // 2)

        async def unready() -> bool:
            return bool(await to_thread(gateway.missing))

        await eventually(unready, "the gateway says that it is not ready", 60, 0.1)
        row.bar("noticed after (s)", time.monotonic() - began, NOTICED)
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))  # the partition itself
    finally:
        network.heal()
    cut_off = [one for one in crowd.senders if one.doors[0].gateway_url == gateway.url]
    healed = time.monotonic()
    pending = [one for one in cut_off if len(one.acknowledged) < len(one.offered)]
    if pending:
        await eventually(
            lambda: any(said.answered > healed for one in pending for said in one.acknowledged[-1:]),
            "somebody who was cut off is acknowledged",
            60,
        )
        row.bar("first acknowledgement after (s)", time.monotonic() - healed, BACK)
    row.figure("refusals meanwhile", dict(crowd.refusals()))
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)
    await stage.ready()


def through(crowd: Crowd, gateway: Service) -> int:
    """Return how many messages were acknowledged to those who keep to a gateway."""
    return sum(len(one.acknowledged) for one in crowd.senders if one.doors[0].gateway_url == gateway.url)


@pytest.mark.short
async def test_packets_lost(row: Row, stage: Stage, enter: Enter, network: Network) -> None:
    """Of the packets between NATS and a gateway, and between that gateway and its clients, one in twenty is lost: all
    is slower, nothing else."""
    messages = row.messages()
    crowd = await enter(stage, sticky=True, rooms=min(row.rooms, NOT_CROWDED))
    dice = ("-m", "statistic", "--mode", "random", "--probability", "0.05")
    for matches in ways(stage).values():
        network.drop(*matches, *dice)
    for way in ("--dport", "--sport"):
        network.drop("-p", "tcp", way, str(stage.service("gateway-1").port), *dice)
    try:
        began = time.monotonic()
        crowd.send()
        await crowd.until(messages)
        await crowd.said()
        row.figure("acknowledged at the gateway that loses packets", through(crowd, stage.service("gateway-1")))
        row.bar("sends, 99 of 100 within (s)", crowd.within(0.99, began), SLOW_SENDS)
        row.figure("slowest send (s)", crowd.slowest(began))
    finally:
        network.heal()
    row.figure("sockets lost", crowd.lost)
    row.judge(await crowd.finish(), messages)


@pytest.mark.short
async def test_packets_late(row: Row, stage: Stage, enter: Enter) -> None:
    """What passes between NATS and a gateway takes 200 ms, more or less, each way: all is slower, nothing else."""
    messages = row.messages(short=320)
    with LossyProxy(stage.nats.port, 0.0, 1, delay=0.1, jitter=0.2) as proxy:
        before = stage.service("gateway-1")._settings["NATS_URL"]
        await stage.renewed("gateway-1", NATS_URL=proxy.url)
        crowd = await enter(stage, sticky=True, rooms=min(row.rooms, NOT_CROWDED))
        try:
            began = time.monotonic()
            crowd.send()
            await crowd.until(messages)
            await crowd.said()
            row.figure("acknowledged at the slow gateway", through(crowd, stage.service("gateway-1")))
            row.bar("sends, 99 of 100 within (s)", crowd.within(0.99, began), SLOW_SENDS)
            row.bar("sockets lost", float(crowd.lost), 0)
            row.judge(await crowd.finish(), messages)
        finally:
            await crowd.leave()
            await stage.renewed("gateway-1", NATS_URL=before)


@pytest.mark.short
async def test_half_open(row: Row, stage: Stage, enter: Enter, network: Network) -> None:
    """Clients vanish without a word while they are talked to and while they are not: their sockets are found and
    closed, and everything they held is given back."""
    count = 50 if row.short else 500
    door = stage.fleet.doors[0]
    gateway = stage.service("gateway-1")
    crowd = await enter(stage)

    async def held() -> tuple[float, float]:
        page = (await http("GET", f"{gateway.url}/metrics")).text
        return total(page, "parley_connections"), total(page, "parley_process_open_fds")

    base, _ = await held()
    account = await guest(door)  # type: ignore[arg-type]
    frames = [await Frames.open(door, local_addr=(AWAY, 0)) for _ in range(count)]  # type: ignore[arg-type]
    for number, one in enumerate(frames):
        await one.enter(account.access)
        if number % 2:
            await one.follow()
    assert (await held())[0] >= base + count
    network.drop("-s", AWAY)
    network.drop("-d", AWAY)
    try:
        began = time.monotonic()

        async def closed() -> bool:
            return (await held())[0] <= base

        await eventually(closed, "the gateway has closed them", 60, 0.2)
        most = float(stage.settings["PING_SECONDS"]) + float(stage.settings["PONG_SECONDS"])
        row.bar("found after (s)", time.monotonic() - began, most + 5)
    finally:
        network.heal()
        for one in frames:
            one.socket.transport.abort()
            await one.close()
    messages = row.messages(short=160)
    crowd.send(messages)
    row.judge(await crowd.finish(), messages)
