"""Random walks: a few clients in one channel send, subscribe, leave, break off and come back, without waiting.

Clients are raw, so that commands go out in bursts and nothing puts right what the server does wrong. Each walk notes
all that was asked and answered, ends with everybody present, and is judged whole (`stays.py`). Imports nothing of ours.
"""

import asyncio
import itertools
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import websockets

from tests.bench.clients import Account
from tests.bench.stays import FORGED, Event, Fault, History, Send, Stay, judge

SETTLE_SECONDS = 45.0
PAUSES = (0.0, 0.0, 0.0, 0.001, 0.004, 0.015)
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


class Walk:
    """One walk: `run` it, then see `faults`."""

    def __init__(self, world: World, seed: int, walkers: list[Walker], room: str = "") -> None:
        """`room`: of which all walkers are members; empty for a general channel, which nobody used before."""
        self.world = world
        self.seed = seed
        self.chance = random.Random(seed)
        self.walkers = walkers
        self.room = room
        self.channel = f"room:{room}" if room else f"{world.namespace}:{uuid.uuid4().hex[:12]}"
        self.history = History()
        self.strange: list[Fault] = []
        self.trace: list[str] = []
        for number, walker in enumerate(walkers):
            walker.begin(self, f"walker {number}")

    async def run(self, steps: int) -> list[Fault]:
        """Take so many steps, have everybody come back, and return what was wrong."""
        try:
            for _ in range(steps):
                walker = self.chance.choice(self.walkers)
                await self._step(walker)
                await asyncio.sleep(self.chance.choice(PAUSES))
            self.history.log = await self._settle()
        except (AssertionError, TimeoutError) as error:
            self.strange.append(Fault("lost", f"not settled: {error}"))
        self.history.readers = {walker.name: walker.stays for walker in self.walkers}
        self.world.counted["walks"] += 1
        return self.strange + judge(self.history)

    async def rest(self) -> None:
        """Have everybody leave the channel, so that the connections can be used by another walk."""
        for walker in self.walkers:
            if walker.connected:
                await walker.ask(walker.unsubscription())
                await self._answers(walker)

    def explain(self, faults: list[Fault]) -> str:
        """Return what is needed to understand the faults."""
        history = self.history
        readers = {name: [str(stay) for stay in stays] for name, stays in history.readers.items()}
        parts = [f"walk {self.seed} in {self.channel}", *map(str, faults), *self.trace]
        parts += [f"log {history.log}", *(f"{name}: {stays}" for name, stays in readers.items())]
        return "\n".join(parts)

    async def _step(self, walker: Walker) -> None:
        actions = {
            self._send: 10,
            self._subscribe: 4,
            self._subscribe_from_zero: 1,
            self._subscribe_from_another: 1,
            self._unsubscribe: 2,
            self._unsubscribe_and_back: 3,
            self._three_at_once: 1,
            self._break_off: 2,
            self._break_off_and_back: 2,
        }
        action = self.chance.choices(list(actions), list(actions.values()))[0]
        name = action.__name__.strip("_").replace("_", " ")
        self.trace.append(f"{time.monotonic():.4f} {walker.name} at {walker.position}: {name}")
        if not walker.connected and action not in (self._break_off, self._break_off_and_back):
            await walker.connect(self.chance)
            await walker.ask(first=True)
        await action(walker)

    async def _send(self, walker: Walker) -> None:
        send = Send(f"m{len(self.history.sends)}", time.monotonic())
        self.history.sends.append(send)
        self.world.counted["sends"] += 1
        await walker.ask(self._sending(send))
        if self.room and self.chance.random() < 0.2:
            await walker.ask(self._sending(send))  # the same once more, as after a lost answer
        if self.chance.random() < 0.3:
            await self._answers(walker)

    def _sending(self, send: Send) -> tuple[dict[str, Any], Answered]:
        def answered(reply: Reply | None) -> None:
            if reply is None:
                return
            if "error" in reply:
                if not TEMPORARY.get(reply["error"]["code"]):
                    self.strange.append(Fault(FORGED, f"{send.key} was refused: {reply}"))
                return
            if send.acknowledged is None:
                send.acknowledged = time.monotonic()
                self.world.counted["acknowledged"] += 1
            if self.room:
                offset = reply["rpc"]["data"]["offset"]
                if send.offset and send.offset != offset:
                    self.strange.append(Fault(FORGED, f"{send.key} was acknowledged at {send.offset} and {offset}"))
                send.offset = offset

        if self.room:
            body = {"room": self.room, "id": send.key, "text": f"text of {send.key}"}
            return {"rpc": {"method": "message.send", "data": body}}, answered
        return {"publish": {"channel": self.channel, "data": {"id": send.key}}}, answered

    async def _subscribe(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(walker.position))

    async def _subscribe_from_zero(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(0))

    async def _subscribe_from_another(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(self.chance.choice(self.walkers).position))

    async def _unsubscribe(self, walker: Walker) -> None:
        await walker.ask(walker.unsubscription())

    async def _unsubscribe_and_back(self, walker: Walker) -> None:
        await walker.ask(walker.unsubscription(), walker.subscription(walker.position))

    async def _three_at_once(self, walker: Walker) -> None:
        at = walker.position
        await walker.ask(walker.subscription(at), walker.unsubscription(), walker.subscription(at))

    async def _break_off(self, walker: Walker) -> None:
        walker.break_off()

    async def _break_off_and_back(self, walker: Walker) -> None:
        walker.break_off()
        await walker.connect(self.chance)
        await walker.ask(walker.subscription(walker.position), first=True)

    async def _answers(self, walker: Walker) -> None:
        """Wait until everything that the walker asked is answered, or its connection is gone."""
        end = time.monotonic() + SETTLE_SECONDS
        while walker.waiting:
            assert time.monotonic() < end, f"{walker.name} got no answer to {list(walker.waiting)}"
            await asyncio.sleep(0.002)

    async def _settle(self) -> list[Event]:
        """Bring everybody back, and wait until all have all there is; return the log.

        What somebody asked for and did not wait for may be stored late, so the log is read until it stands still.
        """
        for walker in self.walkers:
            await self._answers(walker)
        log = await self._log()
        while True:
            await self._reach(len(log))
            again = await self._log()
            if again == log and all((walker.position or 0) <= len(log) for walker in self.walkers):
                return log
            log = again

    async def _reach(self, top: int) -> None:
        """Wait until everybody is present and has everything up to `top`, or too long: the judge says who lacks it."""
        end = time.monotonic() + SETTLE_SECONDS
        while late := [one for one in self.walkers if one.open is None or (one.position or 0) < top]:
            if time.monotonic() > end:
                return
            for walker in late:
                if walker.open is None:
                    if not walker.connected:
                        await walker.connect(self.chance)
                        await walker.ask(first=True)
                    await walker.ask(walker.subscription(walker.position))
                    await self._answers(walker)
            await asyncio.sleep(0.005)

    async def _log(self) -> list[Event]:
        """Read the whole log of the channel through some walker, who asks until there is an answer."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            walker = self.walkers[0]
            if not walker.connected:
                await walker.connect(self.chance)
                await walker.ask(first=True)
            found: list[Reply] = []

            def answered(reply: Reply | None, found: list[Reply] = found) -> None:
                if reply is not None and "error" not in reply:
                    found.append(reply)

            await walker.ask((self._reading(), answered))
            await self._answers(walker)
            if found and self.room:
                events = found[0]["rpc"]["data"]["events"]
                return [(event["offset"], event.get("id", "")) for event in events]
            if found:
                publications = found[0]["history"]["publications"]
                return [(one["offset"], one["data"]["id"]) for one in publications]
            await asyncio.sleep(0.05)
        raise AssertionError("the log cannot be read")

    def _reading(self) -> dict[str, Any]:
        if self.room:
            body = {"room": self.room, "after": 0, "limit": 100}
            return {"rpc": {"method": "room.history", "data": body}}
        return {"history": {"channel": self.channel, "limit": -1, "since": {"offset": 0, "epoch": ""}}}
