"""Users of a team's own backend, which signs their tokens itself; with the official SDK. Imports nothing of ours."""

import asyncio
import time
from typing import Any, Self

import jwt
from centrifuge import Client, ClientEventHandler

from tests.bench.clients import SECONDS
from tests.bench.people import Person, Seat
from tests.bench.ring import Ring
from tests.bench.server_api import ask

SECRET = "the secret of a test's own backend, 32 bytes and more"


def token(user: str) -> str:
    """Return a connection token of the team's own backend."""
    return jwt.encode({"sub": user, "info": {"name": user}}, SECRET, "HS256")


class Somebody(ClientEventHandler):
    """A user of the team's own backend, with the official SDK."""

    def __init__(self, ring: Ring, user: str) -> None:
        self.user = user
        self.ended: list[tuple[int, str]] = []
        self.ended_at = 0.0
        self.ids: list[str] = []
        self.client = Client(
            ring.websocket_url, events=self, token=token(user), proxy=None, max_reconnect_delay=0.5, timeout=10
        )

    async def on_connected(self, ctx: Any) -> None:
        self.ids.append(ctx.client)

    async def on_connecting(self, ctx: Any) -> None:
        if ctx.code:
            self.ended.append((ctx.code, ctx.reason))

    async def on_disconnected(self, ctx: Any) -> None:
        self.ended_at = time.monotonic()
        self.ended.append((ctx.code, ctx.reason))

    async def connect(self) -> Self:
        """Connect; return when let in."""
        await self.client.connect()
        await self.client.ready(SECONDS)
        return self

    async def follow(self, channel: str) -> Seat:
        """Subscribe to a channel."""
        seat = Seat()
        seat.subscription = self.client.new_subscription(channel, seat, recoverable=True, positioned=True)
        await seat.subscription.subscribe()
        await seat.subscription.ready(SECONDS)
        return seat

    async def leave(self) -> None:
        """Disconnect, and wait until the SDK's own tasks are done."""
        await Person.leave(self)  # type: ignore[arg-type]  # the same client


class Crowd:
    """Clients that leave with the test."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self.all: list[Somebody] = []

    async def come(self, user: str) -> Somebody:
        """Connect one client of `user`."""
        somebody = await Somebody(self.ring, user).connect()
        self.all.append(somebody)
        return somebody

    async def on_both(self, user: str, least: int = 2) -> list[Somebody]:
        """Connect clients of `user` until each gateway process has at least `least` more clients than before."""
        before = {node["uid"]: node["num_clients"] for node in await self.nodes()}
        assert len(before) == 2
        came: list[Somebody] = []
        while len(came) < 80:
            # One after the other the same process may be quicker each time; of several at once both have to take some.
            several = 1 if len(came) < 8 else 4
            came += await asyncio.gather(*(self.come(user) for _ in range(several)))
            now = {node["uid"]: node["num_clients"] for node in await self.nodes()}
            if len(came) >= 2 * least and all(now[uid] - before[uid] >= least for uid in before):
                return came
        raise AssertionError("one process takes every connection")

    async def nodes(self) -> list[dict[str, Any]]:
        """Return the gateway processes."""
        found: list[dict[str, Any]] = (await ask(self.ring, "info"))["nodes"]
        return found
