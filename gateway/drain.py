"""Leaving without a stampede (ADR 0011): what a gateway process does between SIGTERM and its end.

At once it says that it is not ready. For a while it goes on as before, until whoever sends newcomers has forgotten it.
Then newcomers are refused, and everybody here is asked to connect again, one by one over a window. All the while
commands are answered and events delivered. Those who leave come back elsewhere and recover; 10,000 of them at once
would be a storm there.
"""

import asyncio
import random
from collections.abc import Callable

from chassis import logs
from chassis.health import Health
from gateway import metrics
from gateway.connection import Connection
from gateway.settings import GatewaySettings
from protocol import codes

log = logs.get(__name__)

PART_SECONDS = 2.0
"""How long a command in hand may keep a connection that is asked to go."""
LAST_SECONDS = 3.0
"""How long after the last close we wait for clients to answer theirs; then the server shuts down."""
TICK_SECONDS = 0.1


def spread(count: int, window: float, chance: Callable[[], float]) -> list[float]:
    """Return when each of `count` things is to be done, in seconds from now, in ascending order.

    `window` seconds are cut into equal slots, one for each, and each is done at a random moment of its slot: steady,
    and yet not in step with other processes. `chance` gives numbers from 0 to below 1.
    """
    return [(slot + chance()) / count * window for slot in range(count)]


class Drain:
    """The leave-taking of this process. `refusing` turns true when newcomers are no longer let in."""

    def __init__(self, health: Health, settings: GatewaySettings) -> None:
        self._health = health
        self._settings = settings
        self.refusing = False

    @property
    def begun(self) -> bool:
        """Whether this process is on its way out."""
        return self._health.draining

    async def leave(self) -> None:
        """Say that we are not ready, wait, close everybody's connection; return when nobody is left, or time is up."""
        delay, window = self._settings.gateway_drain_delay_seconds, self._settings.gateway_drain_seconds
        now = asyncio.get_running_loop().time
        began = now()
        self._health.draining = True
        metrics.draining.set(1)
        log.info("draining", connections=len(Connection.everyone), delay=delay, window=window)
        try:
            await _until(began + delay, alone=True)
            self.refusing = True
            closed = await self._close_all(window)
        finally:
            metrics.drain_remaining.set(len(Connection.everyone))
        log.info("drained", closed=closed, left=len(Connection.everyone), seconds=round(now() - began, 1))

    async def _close_all(self, window: float) -> int:
        """Close everybody's connection, in random order, over `window` seconds; return how many."""
        now = asyncio.get_running_loop().time
        began, closed = now(), 0
        everyone = random.sample(list(Connection.everyone), len(Connection.everyone))
        for after, connection in zip(spread(len(everyone), window, random.random), everyone, strict=True):
            await _until(began + after, alone=False)
            closed += _close(connection)
        for late in list(Connection.everyone):  # their handshakes were under way when we began to refuse
            closed += _close(late)
        await _until(now() + LAST_SECONDS, alone=False)
        return closed


def _close(connection: Connection) -> bool:
    """Ask a client to connect again; tell whether it was to stay until now."""
    asked = connection.part(codes.SHUTDOWN, PART_SECONDS)
    if asked:
        metrics.drain_closed.inc()
    return asked


async def _until(when: float, *, alone: bool) -> None:
    """Wait until the loop's clock says `when`; unless `alone`, only as long as somebody is connected."""
    now = asyncio.get_running_loop().time
    while (left := when - now()) > 0 and (alone or Connection.everyone):
        metrics.drain_remaining.set(len(Connection.everyone))
        await asyncio.sleep(min(left, TICK_SECONDS))
