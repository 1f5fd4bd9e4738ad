"""Who takes part in the load: subscribers who remember every stay in a channel, and senders who insist.

All are on the official SDK, in JSON or Protobuf. Imports nothing of ours.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self

from centrifuge import CentrifugeError, Client, ClientEventHandler, ReplyError, SubscriptionEventHandler
from centrifuge.client import ClientState

from tests.bench.clients import SECONDS, Account, guest, sign_in
from tests.bench.ring import Ring
from tests.bench.stays import Send, Stay

INSIST_SECONDS = 60
PAUSE_SECONDS = 0.05


class Guest(ClientEventHandler):
    """A guest on the SDK, whose access tokens are renewed as they end."""

    def __init__(self, ring: Ring, url: str, account: Account, use_protobuf: bool = False) -> None:
        self._ring = ring
        self._account = account
        self._renew_at = time.monotonic() + account.expires_in / 2
        self.use_protobuf = use_protobuf
        self.connects = 0
        self.endings: list[tuple[int, str]] = []
        """Code and reason of endings after which the SDK does not come back."""
        self.client = Client(
            url,
            events=self,
            get_token=self._token,
            use_protobuf=use_protobuf,
            proxy=None,
            timeout=10,
            min_reconnect_delay=0.02,
            max_reconnect_delay=0.5,
        )

    @classmethod
    async def enter(cls, ring: Ring, url: str, name: str, use_protobuf: bool = False) -> Self:
        """Return a new guest, connected."""
        one = cls(ring, url, await guest(ring, name), use_protobuf)
        await one.client.connect()
        await one.client.ready(SECONDS)
        return one

    async def on_connected(self, ctx: Any) -> None:
        self.connects += 1

    async def on_disconnected(self, ctx: Any) -> None:
        self.endings.append((ctx.code, ctx.reason))

    async def call(self, method: str, **body: Any) -> Any:
        """Call an RPC method; return its result, raise `CentrifugeError`."""
        return self.decoded((await self.client.rpc(method, self.encoded(body))).data)

    def encoded(self, body: Any) -> Any:
        """Return JSON in the form the encoding takes."""
        return json.dumps(body).encode() if self.use_protobuf else body

    def decoded(self, data: Any) -> Any:
        """Return what `encoded` was made of."""
        return json.loads(data) if isinstance(data, bytes) else data

    async def insist(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until there is an answer; raise `ReplyError` for a refusal that is not temporary."""
        end = time.monotonic() + INSIST_SECONDS
        while True:
            try:
                return await ask()
            except ReplyError as error:
                if not error.temporary:
                    raise
            except CentrifugeError:
                pass  # no answer: it may have been done or not
            assert time.monotonic() < end, f"no answer in {INSIST_SECONDS} s"
            await asyncio.sleep(PAUSE_SECONDS)

    def cut(self) -> bool:
        """Break the connection without a word; tell whether there was one."""
        transport = self.client._conn.transport if self.client._conn is not None else None
        if transport is None or self.client.state is not ClientState.CONNECTED:
            return False
        transport.abort()
        return True

    async def leave(self) -> None:
        """Disconnect, and wait until the SDK's own tasks are done."""
        await self.client.disconnect()
        tasks = [task for task in self.client._background_tasks if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)

    async def _token(self) -> str:
        if time.monotonic() > self._renew_at:
            self._account = await sign_in(self._ring, "refresh", refresh_token=self._account.refresh)
            self._renew_at = time.monotonic() + self._account.expires_in / 2
        return self._account.access


class Seat(SubscriptionEventHandler):
    """What one subscriber was handed in one channel, stay by stay; counted as it comes."""

    def __init__(self, owner: Guest) -> None:
        self.owner = owner
        self.stays: list[Stay] = []
        self.numbers: list[int] = []
        """Message numbers, in rooms."""
        self.problems: list[int] = []
        """Codes of subscribe errors and unsubscriptions."""
        self.delivered = 0
        self.recoveries = 0
        self.repeated = 0
        self.missed = 0

    @property
    def position(self) -> int:
        """Offset of the last event; -1 before the first subscription."""
        return self.stays[-1].position if self.stays else -1

    async def on_subscribing(self, ctx: Any) -> None:
        self._away()

    async def on_subscribed(self, ctx: Any) -> None:
        self._away()
        self.recoveries += ctx.recovered
        self.stays.append(Stay(ctx.stream_position.offset, ctx.was_recovering, ctx.recovered))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self._away()
        self.problems.append(ctx.code)

    async def on_error(self, ctx: Any) -> None:
        self.problems.append(ctx.code)

    async def on_publication(self, ctx: Any) -> None:
        event = self.owner.decoded(ctx.pub.data)
        offset = ctx.pub.offset
        self.delivered += 1
        self.repeated += offset <= self.position
        self.missed += max(0, offset - self.position - 1)
        self.stays[-1].events.append((offset, event.get("id", "")))
        if "number" in event:
            self.numbers.append(event["number"])

    def _away(self) -> None:
        if self.stays:
            self.stays[-1].present = False


class Subscriber(Guest):
    """Somebody who subscribes; one seat per channel."""

    async def sit(self, channel: str) -> Seat:
        """Subscribe with recovery; return when live."""
        seat = Seat(self)
        subscription = self.client.new_subscription(channel, seat, recoverable=True, positioned=True)
        await subscription.subscribe()
        await subscription.ready(SECONDS)
        return seat

    async def stand_up(self, channel: str) -> None:
        """Unsubscribe, for good."""
        subscription = self.client.get_subscription(channel)
        assert subscription is not None, channel
        await subscription.unsubscribe()
        self.client.remove_subscription(subscription)


class Sender(Guest):
    """Somebody who sends one message after the other."""

    async def say(self, room: str, key: str) -> Send:
        """Send a message to a room, under the same id until it is acknowledged."""
        send = Send(key, time.monotonic())
        receipt = await self.insist(lambda: self.call("message.send", room=room, id=key, text=f"text of {key}"))
        send.offset, send.acknowledged = receipt["offset"], time.monotonic()
        return send

    async def publish(self, channel: str, key: str) -> Send:
        """Publish once; a publication without an answer may be there or not."""
        send = Send(key, time.monotonic())
        try:
            await self.client.publish(channel, self.encoded({"id": key, "text": f"text of {key}"}))
            send.acknowledged = time.monotonic()
        except ReplyError as error:
            if not error.temporary:
                raise
        except CentrifugeError:
            pass  # no answer
        return send
