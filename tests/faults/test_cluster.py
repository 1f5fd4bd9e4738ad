"""Three nodes of NATS: the one that leads the log of the rooms is killed, or halted."""

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
    row.bar("sockets lost", float(sum(crowd.closes().values())), 0)
    row.judge(await crowd.finish(), messages)


async def leader_is_another(cluster: Cluster, lost: Node) -> None:
    """Return when the others have agreed on another leader than `lost`."""

    async def led() -> bool:
        return await to_thread(cluster.leader_of, "ROOMS", lost) not in (None, lost)

    await eventually(led, "ROOMS has another leader", 60, 0.1)
