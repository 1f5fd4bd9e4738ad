"""Sending connections elsewhere when this process has far more than the others, as after a scale-up.

Connections stay where they were made, so a new process gets few of them, and one that came back after a restart is
missing its share for hours. Each process tells how many it has with the lease that it renews anyway (`presence.py`),
and reads the others' with it: no further message is needed. One that is far above the mean asks some of its clients,
chosen at random, to connect again, slowly; SDKs do so by themselves and recover.

It is the load balancer that decides where they come back. When they come back here, asking again helps nobody: the
pauses double.
"""

import asyncio
import random
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from chassis import logs
from gateway import metrics
from gateway.connection import Connection
from gateway.drain import PART_SECONDS, Drain, spread
from gateway.presence import Presence
from gateway.settings import GatewaySettings
from protocol import codes

log = logs.get(__name__)

LEAST = 20
"""Fewer connections than this above the bound are not worth anybody's reconnect."""
MOST_PAUSES = 64
"""Most times that a look is left out after others that did not help."""


class Load(msgspec.Struct, frozen=True):
    """What a process tells of itself with its lease."""

    connections: int
    draining: bool


_loads = msgspec.json.Decoder(Load)


def load(drain: Drain) -> bytes:
    """Return what this process is to tell the others with its lease."""
    return msgspec.json.encode(Load(len(Connection.everyone), drain.begun))


def excess(own: int, counts: Collection[int], margin: float) -> int:
    """Return how many of `own` connections are above the bound, or 0 when they are too few to matter.

    `counts` are those of all processes that stay, this one included; the bound is `margin`, a share, above their mean.
    """
    if not counts:
        return 0
    above = int(own - sum(counts) / len(counts) * (1 + margin))
    return above if above >= LEAST else 0


@dataclass(frozen=True, slots=True)
class Look:
    """How many connections this process (`own`) and all of `nodes` have, and how many of ours are too many."""

    own: int
    total: int
    nodes: frozenset[str]
    excess: int

    def helped(self, asked: int, later: "Look") -> bool:
        """Tell whether sending `asked` connections away moved a quarter of them, whatever came to all meanwhile."""
        expected = self.own * later.total / max(1, self.total)
        return expected - later.own >= asked / 4


@dataclass(slots=True)
class Pauses:
    """How many looks to leave out: none while it helps, twice as many each time that it does not."""

    length: int = 1
    left: int = 0

    def tried(self, helped: bool) -> None:
        """Take note of what an attempt came to."""
        self.length = 1 if helped else min(2 * self.length, MOST_PAUSES)
        self.left = self.length - 1

    def over(self) -> bool:
        """Tell whether to try at this look; asked once for each."""
        if self.left:
            self.left -= 1
            return False
        return True


def staying(loads: dict[str, bytes]) -> dict[str, int] | None:
    """Return process to connections, without those that leave; None when one does not tell (it runs an older version).

    `loads` are the bodies of all leases.
    """
    found = {}
    for node, body in loads.items():
        try:
            load = _loads.decode(body)
        except msgspec.DecodeError:
            return None
        if not load.draining:
            found[node] = load.connections
    return found


class Rebalance:
    """The share of this process (`node`) in the connections of all."""

    def __init__(self, node: str, presence: Presence, drain: Drain, settings: GatewaySettings) -> None:
        self._node = node
        self._presence = presence
        self._drain = drain
        self._settings = settings

    async def run(self) -> None:
        """Look every now and then, and send away what is too much. Runs for ever."""
        every = self._settings.rebalance_seconds
        metrics.to_mean.set(1)
        pauses, last, asked = Pauses(), None, 0
        await asyncio.sleep(random.uniform(0, every))  # noqa: S311  # not in step with others
        while True:
            look = self._look()
            if look is not None:
                if last is not None and last.nodes != look.nodes:
                    pauses = Pauses()  # somebody new may take what nobody took before
                elif last is not None and asked:
                    pauses.tried(last.helped(asked, look))
                last, asked = look, 0
                if look.excess and pauses.over():
                    asked = await self._shed(look.excess)
            await asyncio.sleep(every)

    def _look(self) -> Look | None:
        """Return how things are; None when that cannot be told, or is of no concern any more."""
        counts = staying(self._presence.loads(self._settings.lease_seconds))
        if not counts or self._drain.begun:
            return None
        own = counts[self._node] = len(Connection.everyone)
        total = sum(counts.values())
        if total:
            metrics.to_mean.set(own * len(counts) / total)
        most = int(self._settings.rebalance_per_second * self._settings.rebalance_seconds)
        above = min(excess(own, counts.values(), self._settings.rebalance_margin), most)
        return Look(own, total, frozenset(counts), above)

    async def _shed(self, count: int) -> int:
        """Ask `count` clients to connect again, at the rate that is set; return how many were asked."""
        log.info("rebalancing", connections=len(Connection.everyone), away=count)
        chosen = random.sample(list(Connection.everyone), count)
        now = asyncio.get_running_loop().time
        began, asked = now(), 0
        times = spread(count, count / self._settings.rebalance_per_second, random.random)
        for after, connection in zip(times, chosen, strict=True):
            await asyncio.sleep(max(0.0, began + after - now()))
            if self._drain.begun:
                break
            if connection.part(codes.FORCE_RECONNECT, PART_SECONDS):
                metrics.rebalanced.inc()
                asked += 1
        return asked
