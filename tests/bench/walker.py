"""One client of random walks: raw, so that commands go out in bursts and nothing puts right what the server does wrong.

What it sees it notes for the walk that it takes part in (`walks.py`). Imports nothing of ours.
"""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import websockets

from tests.bench.clients import Account
from tests.bench.stays import FORGED, Event, Fault, Stay

if TYPE_CHECKING:
    from tests.bench.walks import Walk

SETTLE_SECONDS = 45.0
ALREADY_SUBSCRIBED = 105
TEMPORARY = {100: False, 111: True, 503: True}

Reply = dict[str, Any]
Answered = Callable[[Reply | None], None]
"""Called with the reply to a command; with None when the connection ended before."""


@dataclass
class World:
    """Where walks take place: addresses of the gateways, and the namespace of the general channels."""

    urls: list[str]
    namespace: str
    counted: Counter[str] = field(default_factory=Counter)
    """How often everything happened."""


class Walker:
    """One client with an account; its connection outlives a walk, and is made again when it is lost."""

    def __init__(self, world: World, account: Account) -> None:
        self.world = world
        self.account = account
        self.walk: Walk | None = None
        self.name = ""
        self.channel = ""
        self.stays: list[Stay] = []
        self.open: Stay | None = None
        self.epoch = ""
        self.waiting: dict[int, Answered] = {}
        self._socket: websockets.ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ids = itertools.count(1)

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    @property
    def position(self) -> int | None:
        """Offset of the last event; None when there never was a subscription."""
        return self.stays[-1].position if self.stays else None

    def begin(self, walk: "Walk", name: str) -> None:
        """Take part in a walk."""
        self.walk, self.name, self.channel = walk, name, walk.channel
        self.stays, self.open, self.epoch = [], None, ""

    async def connect(self, chance: random.Random) -> None:
        """Make a connection to some gateway, trying until one answers; the connect command is not waited for."""
        end = time.monotonic() + SETTLE_SECONDS
        while self._socket is None:
            try:
                self._socket = await websockets.connect(
                    chance.choice(self.world.urls), proxy=None, compression=None, ping_interval=None, max_size=None
                )
            except (OSError, websockets.InvalidHandshake, TimeoutError):
                self.world.counted["handshakes failed"] += 1
                assert time.monotonic() < end, "no gateway takes connections"
                await asyncio.sleep(0.05)
        self.world.counted["connects"] += 1
        self._reader = asyncio.create_task(self._read(self._socket))

    async def ask(self, *requests: tuple[dict[str, Any], Answered], first: bool = False) -> None:
        """Send commands in one frame; with `first` behind a connect command."""
        lines = []
        if first:
            requests = (({"connect": {"token": self.account.access}}, self._entered), *requests)
        for request, answered in requests:
            number = next(self._ids)
            self.waiting[number] = answered
            lines.append(json.dumps({"id": number, **request}))
        socket = self._socket
        try:
            if socket is None:
                raise ConnectionResetError
            await socket.send("\n".join(lines))
        except (websockets.ConnectionClosed, ConnectionResetError):
            if socket is self._socket:
                self._gone()

    async def leave(self) -> None:
        """End the connection in order."""
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await self._reader

    def break_off(self) -> None:
        """End the connection without a word."""
        if self._socket is not None:
            self._socket.transport.abort()
            self._gone()

    def subscription(self, asked: int | None) -> tuple[dict[str, Any], Answered]:
        """Return a subscribe command, from position `asked` or fresh, and what to do with its answer."""
        request: dict[str, Any] = {"channel": self.channel, "recoverable": True, "positioned": True}
        if asked is not None:
            request |= {"recover": True, "offset": asked, "epoch": self.epoch}
        return {"subscribe": request}, lambda reply: self._subscribed(reply, asked)

    def unsubscription(self) -> tuple[dict[str, Any], Answered]:
        """Return an unsubscribe command."""
        return {"unsubscribe": {"channel": self.channel}}, self._unsubscribed

    def _entered(self, reply: Reply | None) -> None:
        if reply is None or "connect" in reply:
            return
        if not reply["error"].get("temporary"):
            self._strange("connect", reply)
        self.world.counted["connects refused for now"] += 1
        self.break_off()  # as SDKs do: a connection whose connect failed is of no more use

    def _subscribed(self, reply: Reply | None, asked: int | None) -> None:
        if reply is None:
            return
        if "error" in reply:
            code = reply["error"]["code"]
            if not (code == ALREADY_SUBSCRIBED and self.open is not None) and not TEMPORARY.get(code):
                self._strange("subscribe", reply)
            return
        result = reply["subscribe"]
        if self.open is not None:
            self._strange("subscribe while subscribed", reply)
        events = [self._event(one) for one in result.get("publications", [])]
        recovered = result.get("recovered", False)
        self.epoch = self.epoch or result["epoch"]
        if result["epoch"] != self.epoch:
            self._strange(f"epoch was {self.epoch}", reply)
        self.open = Stay(result.get("offset", 0), asked is not None, recovered, events, asked=asked)
        self.stays.append(self.open)
        self.world.counted["recoveries" if recovered else "subscriptions"] += 1
        self.world.counted["recovered events"] += len(events)

    def _unsubscribed(self, reply: Reply | None) -> None:
        if reply is not None and "unsubscribe" not in reply:
            self._strange("unsubscribe", reply)
        self._close()

    def _close(self) -> None:
        if self.open is not None:
            self.open.present = False
            self.open = None

    def _gone(self) -> None:
        self._socket = None
        self._close()
        waiting, self.waiting = self.waiting, {}
        for answered in waiting.values():
            answered(None)

    async def _read(self, socket: websockets.ClientConnection) -> None:
        try:
            async for frame in socket:
                if socket is not self._socket:
                    return
                for line in str(frame).split("\n"):
                    await self._take(socket, json.loads(line))
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
            self.world.counted[f"closed with {code}"] += 1
            if socket is self._socket and (3500 <= code < 4000 or code == 3004):
                self._strange(f"closed with {code}", {})
        finally:
            if socket is self._socket:
                self._gone()

    async def _take(self, socket: websockets.ClientConnection, reply: Reply) -> None:
        if not reply:
            await socket.send("{}")
        elif "push" in reply:
            self._pushed(reply["push"])
        else:
            self.waiting.pop(reply["id"])(reply)

    def _pushed(self, push: dict[str, Any]) -> None:
        if push["channel"].startswith("user:"):
            return  # what concerns the account: not of this walk
        if push["channel"] != self.channel or self.open is None:
            assert self.walk is not None
            self.walk.history.strays.setdefault(self.name, []).append((0, json.dumps(push)))
        elif "pub" in push:
            self.world.counted["live events"] += 1
            self.open.events.append(self._event(push["pub"]))
        elif "unsubscribe" in push:
            self.world.counted[f"unsubscribed with {push['unsubscribe']['code']}"] += 1
            self._close()

    def _event(self, publication: dict[str, Any]) -> Event:
        return publication["offset"], publication["data"].get("id", "")

    def _strange(self, what: str, reply: Reply) -> None:
        assert self.walk is not None
        self.walk.strange.append(Fault(FORGED, f"{self.name}: {what}: {json.dumps(reply)}"))
