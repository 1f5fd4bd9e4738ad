"""Three nodes of NATS: who leads the log of the rooms is killed, or halted; a bit on the disk of another is flipped."""

import shutil
import signal
import time
from asyncio import to_thread
from collections.abc import Iterator

import pytest

from tests.bench.clients import eventually
from tests.bench.cluster import Cluster, Node
from tests.faults.conftest import Enter
from tests.faults.rows import Row
from tests.faults.stage import Stage

ONCE = 10.0
TWICE = 20.0
"""Seconds without an acknowledgement after the leader was lost, and after a second loss right behind its return."""
BLOCKS = 30_000
"""Messages that fill more than one block of NATS's files: a flipped bit in the last one is repaired from the others."""

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """The services on three nodes, every stream on all of them."""
    directory = tmp_path_factory.mktemp("cluster")
    with Stage(directory, Cluster(directory / "nats"), NATS_REPLICAS="3") as made:
        yield made


async def leader(cluster: Cluster, other_than: Node | None = None) -> Node:
    """Return the node that leads ROOMS, once there is one, and another one than that."""

    async def found() -> Node | None:
        node = await to_thread(cluster.leader_of, "ROOMS")
        return node if node is not other_than else None

    node: Node = await eventually(found, "somebody leads ROOMS", 60, 0.1)
    return node


@pytest.mark.parametrize("how", [pytest.param("killed", marks=pytest.mark.short), "halted"])
async def test_leader(row: Row, stage: Stage, enter: Enter, how: str) -> None:
    """The leader is killed, or halted for good; right after it is back its successor goes the same way. People see
    sends that are pending for some seconds; nobody is disconnected."""
    assert isinstance(stage.nats, Cluster)
    cluster, messages = stage.nats, row.messages()
    await to_thread(cluster.wait_until_healthy, 90)
    crowd = await enter(stage)
    crowd.pause = 0.05
    crowd.send()
    lost: Node | None = None
    for what, bar in (("first", ONCE), ("second", TWICE)):
        lost = await leader(cluster, lost)
        began = time.monotonic()
        if how == "killed":
            await to_thread(lost.kill)
        else:
            lost.signal(signal.SIGSTOP)
        try:
            await leader_is_another(cluster, lost)
            await crowd.hear(100, f"after the {what} loss", 90)
            row.bar(f"longest pause after the {what} (s)", crowd.stall(began), bar)
        finally:
            if how == "killed":
                cluster.start_node(lost)
            else:
                lost.signal(signal.SIGCONT)
        await to_thread(cluster.wait_until_healthy, 90)
    crowd.pause = 0.0
    await crowd.until(messages)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)


async def test_flipped_bit(row: Row, stage: Stage, enter: Enter) -> None:
    """A node dies, a bit of what it stored long ago flips, it starts again. NATS drops the rest of that block and
    calls the node healthy: it has fewer records than the others, and that is how it is noticed. With its disk
    replaced it gets everything from the others. Users who talk notice nothing."""
    assert isinstance(stage.nats, Cluster)
    cluster, messages = stage.nats, row.messages()
    await to_thread(cluster.wait_until_healthy, 90)
    crowd = await enter(stage)
    crowd.send()
    await crowd.more(max(messages // 2, BLOCKS), "before")
    leads = await leader(cluster)
    node = next(one for one in cluster.nodes if one is not leads)
    crowd.pause = 1.0  # so that the others are not far ahead when it is back
    await to_thread(node.kill)
    flip_a_bit(node)
    cluster.start_node(node)
    await to_thread(cluster.wait_until_healthy, 90)
    there = await to_thread(cluster.records_of, "ROOMS")
    missing = there[leads.name] - there[node.name]
    row.figure("records that the node lacks, and is healthy by its own word", missing)
    assert missing > 1_000, there
    shown = await to_thread(stage.fleet.operate, "deploy.streams", "show", nats_url=leads.url)
    (line,) = [line for line in shown.splitlines() if line.startswith("ROOMS")]
    row.figure("what the leader says of it", line.partition(node.name)[2].partition(")")[0] + ")")
    await to_thread(node.kill)
    shutil.rmtree(node.directory / "store")
    began = time.monotonic()
    cluster.start_node(node)

    async def has_all() -> bool:
        there = await to_thread(cluster.records_of, "ROOMS")
        return there.get(node.name, 0) > there[leads.name] - 1_000

    await eventually(has_all, "the node has what the others have", 300, 0.2)
    await to_thread(cluster.wait_until_healthy, 90)
    row.figure("everything is there again after (s)", time.monotonic() - began)
    crowd.pause = 0.0
    await crowd.until(messages)
    row.bar("sockets lost", float(crowd.lost), 0)
    row.judge(await crowd.finish(), messages)
    there = await to_thread(cluster.records_of, "ROOMS")
    row.bar("records that a node lacks at the end", float(max(there.values()) - min(there.values())), 0)


def flip_a_bit(node: Node) -> None:
    """Flip a bit in the middle of the first block of ROOMS, which is full and was written long ago."""
    first, *others = sorted(
        (node.directory / "store").rglob("streams/ROOMS/msgs/*.blk"), key=lambda file: file.stat().st_mtime
    )
    assert others, "there is one block only, which is repaired from the others: more must be sent before"
    data = bytearray(first.read_bytes())
    data[len(data) // 2] ^= 1
    first.write_bytes(data)


async def leader_is_another(cluster: Cluster, lost: Node) -> None:
    """Return when the others have agreed on another leader than `lost`."""

    async def led() -> bool:
        return await to_thread(cluster.leader_of, "ROOMS", lost) not in (None, lost)

    await eventually(led, "ROOMS has another leader", 60, 0.1)
