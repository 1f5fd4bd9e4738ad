"""People with the official SDK, who remember what reached them. Imports nothing of ours."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, Self

import centrifuge
from centrifuge import CentrifugeError, Client, ClientEventHandler, SubscriptionEventHandler

from tests.bench.clients import GENERAL, SECONDS, Account, guest, new_message_id
from tests.bench.ring import Ring


class Seat(SubscriptionEventHandler):
    """What reached one person in one room."""

    def __init__(self) -> None:
        self.publications: list[centrifuge.Publication] = []
        self.joins: list[centrifuge.ClientInfo] = []
        self.leaves: list[centrifuge.ClientInfo] = []
        self.subscribed: list[centrifuge.SubscribedContext] = []
        self.unsubscribed: list[int] = []
        self.subscription: centrifuge.Subscription | None = None

    async def on_publication(self, ctx: Any) -> None:
        self.publications.append(ctx.pub)

    async def on_join(self, ctx: Any) -> None:
        self.joins.append(ctx.info)

    async def on_leave(self, ctx: Any) -> None:
        self.leaves.append(ctx.info)

    async def on_subscribed(self, ctx: Any) -> None:
        self.subscribed.append(ctx)

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.unsubscribed.append(ctx.code)

    @property
    def events(self) -> list[dict[str, Any]]:
        """Everything that happened, in the order in which it came."""
        return [one.data for one in self.publications]

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages among it."""
        return [one for one in self.events if one["type"] == "message"]

    @property
    def texts(self) -> list[str]:
        """The texts of the messages."""
        return [one["text"] for one in self.messages]


@dataclass
class Said:
    """A message that was acknowledged; times on the monotonic clock."""

    id: str
    text: str
    offset: int
    asked: float
    answered: float
    refusals: list[int] = field(default_factory=list)
    """Codes of the refusals before; 0 for an answer that was lost with the connection."""
    longest: float = 0
    """Seconds that the slowest of these answers took; lost connections not counted."""


class Person(ClientEventHandler):
    """Somebody with the official SDK, with its reconnects and recovery."""

    def __init__(self, ring: Ring, account: Account) -> None:
        self.ring = ring
        self.account = account
        self.seats: dict[str, Seat] = {}
        self.connected: list[str] = []
        self.disconnected: list[tuple[int, str]] = []
        self.connecting: list[tuple[int, str]] = []

        self.client = Client(
            ring.websocket_url, events=self, get_token=self.token, proxy=None, timeout=5, max_reconnect_delay=0.5
        )

    async def token(self) -> str:
        """Return an access token, whenever the SDK wants one."""
        return self.account.access

    async def on_connecting(self, ctx: Any) -> None:
        self.connecting.append((ctx.code, ctx.reason))

    async def on_connected(self, ctx: Any) -> None:
        self.connected.append(ctx.client)

    async def on_disconnected(self, ctx: Any) -> None:
        self.disconnected.append((ctx.code, ctx.reason))

    async def connect(self) -> Self:
        """Connect; return when let in."""
        await self.client.connect()
        await self.client.ready(SECONDS)
        return self

    async def call(self, method: str, **body: Any) -> Any:
        """Call an RPC method; return its result, raise `ReplyError` when it is refused."""
        return (await self.client.rpc(method, body)).data

    async def make_room(self, name: str = "A room") -> str:
        """Return the id of a new room, with the person in it."""
        room: str = (await self.call("room.create", name=name))["room"]["id"]
        return room

    async def follow(self, room: str = GENERAL, join_leave: bool = False) -> Seat:
        """Join a room and subscribe to its channel."""
        await self.call("room.join", room=room)
        return await self.subscribe(room, join_leave)

    async def subscribe(self, room: str = GENERAL, join_leave: bool = False) -> Seat:
        """Subscribe to the channel of a room one is in."""
        seat = Seat()
        subscription = self.client.new_subscription(
            f"room:{room}", seat, recoverable=True, positioned=True, join_leave=join_leave
        )
        seat.subscription = subscription
        self.seats[room] = seat
        await subscription.subscribe()
        await subscription.ready(SECONDS)
        return seat

    async def say(self, text: str, room: str = GENERAL, message_id: str = "") -> Any:
        """Send a message once; return the receipt, raise `ReplyError` when it is refused."""
        return await self.call("message.send", room=room, id=message_id or new_message_id(), text=text)

    async def insist(self, text: str, room: str = GENERAL, seconds: float = 60) -> Said:
        """Send a message with one id until it is acknowledged, as an application does that loses nothing."""
        said = Said(new_message_id(), text, 0, time.monotonic(), 0)
        end = said.asked + seconds
        while True:
            started = time.monotonic()
            try:
                receipt = await self.say(text, room, said.id)
                said.offset, said.answered = receipt["offset"], time.monotonic()
                return said
            except centrifuge.ReplyError as error:
                if not error.temporary:
                    raise
                said.refusals.append(error.code)
                said.longest = max(said.longest, time.monotonic() - started)
            except CentrifugeError:
                said.refusals.append(0)
            assert time.monotonic() < end, f"not acknowledged in {seconds:g} s: {said}"
            await asyncio.sleep(0.05)  # a pause between attempts, not a wait for anything

    async def leave(self) -> None:
        """Disconnect, and wait until the SDK's own tasks are done."""
        await self.client.disconnect()
        tasks = [task for task in self.client._background_tasks if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)


async def person(ring: Ring, name: str = "Ann") -> Person:
    """Return a connected guest."""
    return await Person(ring, await guest(ring, name)).connect()
