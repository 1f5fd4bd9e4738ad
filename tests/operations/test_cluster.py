"""Three nodes of NATS under load: leaders die, nodes are upgraded one by one, a lost one is replaced.

Five people talk through two gateways meanwhile, and in the end everything is judged (tests/bench/party.py). They live
in this test's event loop: whatever blocks runs in a thread, or their deadlines would pass while their answers lie
unread.
"""

import shutil
import time
from asyncio import to_thread
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.bench.clients import eventually
from tests.bench.cluster import Cluster, Node
from tests.bench.fleet import Fleet
from tests.bench.party import Party, talk

Fleets = Callable[..., Fleet]
MOST_STALLED = 20.0
"""Seconds without an acknowledgement after a leader died: 5 to 10 on a machine that does nothing else."""

pytestmark = pytest.mark.timeout(300)


def stall(party: Party, since: float) -> float:
    """Return the longest time between two acknowledgements since then, in seconds."""
    answered = sorted(one.answered for one in party.said if one.answered > since)
    return max(after - before for before, after in pairwise([since, *answered]))


async def settled(cluster: Cluster) -> None:
    """Return when every node has everything."""
    await to_thread(cluster.wait_until_healthy, 90)


async def led_by_another(cluster: Cluster, stream: str, node: Node) -> None:
    """Return when another node than `node` leads `stream`."""

    async def led() -> bool:
        return await to_thread(cluster.leader_of, stream) not in (None, node)

    await eventually(led, f"{stream} has a new leader", 30, 0.1)


async def test_leaders_die(cluster: Cluster, fleets: Fleets) -> None:
    """Streams of one replica become three; then the leaders of ROOMS and of USERS are killed: a pause, nothing lost or
    doubled, nobody disconnected."""
    cluster.start()
    fleet = fleets(cluster.url, cluster.passwords, NATS_REPLICAS="1").start()
    async with talk(*fleet.doors) as party:
        await to_thread(fleet.operate, "deploy.streams", "replicas", "3")
        shown = await to_thread(fleet.operate, "deploy.streams", "show")
        assert shown.count("(current)") >= 6, shown
        await settled(cluster)
        for stream in ("ROOMS", "USERS"):
            leader = await to_thread(cluster.leader_of, stream)
            assert leader is not None
            began = time.monotonic()
            await to_thread(leader.kill)
            await led_by_another(cluster, stream, leader)
            await party.hear(5, f"without the leader of {stream}")
            paused = stall(party, began)
            assert paused < MOST_STALLED, f"{paused:.1f} s without an acknowledgement"
            cluster.start_node(leader)
            await settled(cluster)
        await party.finish()
        assert party.reconnects == [0] * len(party.people)
        assert set(party.refusals()) <= {503}


async def test_nodes_are_upgraded_and_replaced(cluster: Cluster, fleets: Fleets) -> None:
    """Each node leaves in lame duck mode and comes back; one is lost with its disk, one of the same name with an
    empty disk takes its place. Nothing is lost or doubled, nobody is disconnected."""
    cluster.start()
    fleet = fleets(cluster.url, cluster.passwords, NATS_REPLICAS="3").start()
    async with talk(*fleet.doors) as party:
        for node in cluster.nodes:
            await to_thread(node.leave)
            await party.hear(3, f"without {node.name}")
            cluster.start_node(node)
            await settled(cluster)
        lost = await to_thread(cluster.leader_of, "ROOMS")
        assert lost is not None
        await to_thread(lost.kill)
        shutil.rmtree(lost.directory / "store")
        await party.hear(5, "without a node that is lost for good")
        cluster.start_node(lost)
        await settled(cluster)
        shown = await to_thread(fleet.operate, "deploy.streams", "show")
        assert shown.count("(current)") == 10, shown  # five streams, two followers each
        await party.finish()
        assert party.reconnects == [0] * len(party.people)
        assert set(party.refusals()) <= {503}
