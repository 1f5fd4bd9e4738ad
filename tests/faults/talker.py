"""A client in plain frames that is cheap enough for a hundred thousand messages: it talks in one room, and remembers.

Behaves as the docs ask of clients: a message that is not acknowledged is repeated under its id, a lost connection is
made again behind the last offset, at another gateway if need be. Imports nothing of ours.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx

from tests.bench.clients import Account, http, new_message_id
from tests.bench.fleet import Door
from tests.bench.history import Acknowledged, Event, Received, Recovery
from tests.faults.replies import EXPIRED, Followed, Push, Refused, Reply, decode
from tests.faults.wire import Wire

ANSWER_SECONDS = 5.0
"""How long an answer may take before the connection is given up, as SDKs do it."""
PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.8
"""Between two attempts; doubled with each that fails, as clients are asked to do it."""
PATIENCE_SECONDS = 900.0
"""How long one message is repeated; longer than the longest outage."""
SILENCE_SECONDS = 20.0
"""Silence of the server, beyond its ping interval, after which it is taken for dead."""


@dataclass(frozen=True)
class _Gap:
    """What a recovery gave, as it came."""

    asked: int
    granted: bool
    events: Sequence[bytes]


class Gone(Exception):
    """The connection ended, or is not to be used any more."""


class Talker(Wire):
    """One user's connection to one room, from `enter` to `leave`."""

    def __init__(self, account: Account, doors: Sequence[Door], turn: int) -> None:
        """`doors` are the gateways, of which the one at `turn` comes first."""
        super().__init__()
        self.account = account
        self.doors = list(doors)
        self.turn = turn
        self.room = ""
        self.after: int | None = None
        self.offset = 0
        self.events: list[bytes] = []
        """What it was given, undecoded."""
        self.recoveries: list[_Gap] = []
        self.acknowledged: list[Acknowledged] = []
        self.offered: dict[str, float] = {}
        """Id of each message to when it was sent first."""
        self.refusals: Counter[int] = Counter()
        """Codes of refusals; 0 for answers that never came."""
        self.refused: list[tuple[float, float]] = []
        """When something was asked that was refused, and how many seconds the refusal took."""
        self.closes: Counter[int] = Counter()
        """Codes with which connections ended; 1006 without a word."""
        self.lost: Counter[int] = Counter()
        """The same of those on which it followed its room, unless somebody called `cut`; of those that it gave up
        itself the reason: 0 for no answer, or the code with which it was unsubscribed."""
        self.waits: list[float] = []
        """Seconds from a loss of the connection until the room was followed again."""
        self.unsubscribed: list[int] = []
        self.refused_forever = ""
        self._epoch = ""
        self._ids = itertools.count(1)
        self._subscribing = 0
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._up = asyncio.Event()
        self._shaken = asyncio.Event()
        self._leaving = False
        self._lost_at = 0.0
        self._life: asyncio.Task[None] | None = None
        self._heard_at = time.monotonic()
        self._over: asyncio.Future[int] | None = None
        """The end of the present connection: its code."""

    @property
    def up(self) -> bool:
        """Whether it follows its room now."""
        return self._up.is_set()

    def enter(self, room: str) -> None:
        """Join a room and follow it, from now on and for as long as it takes."""
        self.room = room
        self._lost_at = time.monotonic()
        self._life = asyncio.create_task(self._live())

    async def leave(self) -> None:
        """Break off, and come back no more."""
        self._leaving = True
        self.cut()
        if self._life is not None:
            await asyncio.wait([self._life])
            self._life.result()

    def cut(self) -> None:
        """Break the connection without a word."""
        self._down()
        self.abort()

    async def say(self, text: str = "", key: str = "") -> Acknowledged:
        """Send a message, under one id until it is acknowledged."""
        key = key or new_message_id()
        asked = self.offered.setdefault(key, time.monotonic())
        receipt = await self.insist("message.send", room=self.room, id=key, text=text or f"text of {key}")
        said = Acknowledged(key, receipt["offset"], asked, time.monotonic())
        self.acknowledged.append(said)
        return said

    async def insist(self, method: str, **body: Any) -> Any:
        """Call a method until it is answered; raise `Refused` when the answer is no for good."""
        until = time.monotonic() + PATIENCE_SECONDS
        pause = PAUSE_SECONDS
        while (began := time.monotonic()) < until:
            if not self.up:
                await asyncio.wait({up := asyncio.ensure_future(self._up.wait())}, timeout=ANSWER_SECONDS)
                up.cancel()
                continue
            try:
                return await self.call(method, **body)
            except Refused as refused:
                self.refused.append((began, time.monotonic() - began))
                self.refusals[refused.code] += 1
                if not refused.temporary:
                    raise
            except Gone:
                self.refusals[0] += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
        raise AssertionError(f"{method} was not answered in {PATIENCE_SECONDS:g} s: {self.refusals}, {self.closes}")

    async def call(self, method: str, **body: Any) -> Any:
        """Call an RPC method once; raise `Refused`, or `Gone` when there is no answer."""
        reply = await self._ask(rpc={"method": method, "data": body})
        assert reply.rpc is not None, reply
        return reply.rpc["data"]

    def received(self, event: Callable[[bytes], Event]) -> Received:
        """Return what it was given, for the judge; `event` decodes one."""
        assert self.after is not None, f"{self.account.name} never followed the room: {self.refused_forever}"
        recoveries = [Recovery(one.asked, one.granted, [event(raw) for raw in one.events]) for one in self.recoveries]
        events = [event(raw) for raw in self.events]
        return Received(self.account.name, self.after, events, recoveries=recoveries, user=self.account.id)

    # Inside.

    async def _live(self) -> None:
        while not self._leaving:
            door = self.doors[self.turn % len(self.doors)]
            code = await self._converse(door.websocket_url)
            if code:
                self.closes[code] += 1
            if self._leaving:
                return
            self.turn += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _converse(self, url: str) -> int:
        """Connect, enter and read until the connection ends; return the code of its end, 0 when there never was one."""
        over = self._over = asyncio.get_running_loop().create_future()
        self._shaken.clear()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.connect(url)
        except (OSError, TimeoutError):
            return 0  # nobody is there
        if self._leaving:
            self.abort()
        tasks = [asyncio.create_task(self._greet()), asyncio.create_task(self._watch())]
        try:
            code = await over
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return code if self._shaken.is_set() else 0

    def opened(self) -> None:
        """Go on with the greeting."""
        self._shaken.set()

    def ended(self, code: int) -> None:
        """Tell everybody who waits."""
        self.lost[code] += self.up
        self._down()
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Gone())
                future.exception()  # whoever waited hears of it; nobody else has to
        assert self._over is not None, "not connected"
        self._over.set_result(code)

    def _give_up(self, reason: int) -> None:
        self.lost[reason] += self.up
        self.cut()

    def _down(self) -> None:
        if self._up.is_set():
            self._lost_at = time.monotonic()
            self._up.clear()

    async def _watch(self) -> None:
        """Give up a server that says nothing for long: a stopped process keeps its sockets open."""
        self._heard_at = time.monotonic()
        while time.monotonic() - self._heard_at < SILENCE_SECONDS:
            await asyncio.sleep(1)
        self._give_up(0)

    async def _greet(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._shaken.wait()
            await self._ask(connect={"token": self.account.access})
            if self.after is None:
                await self._ask(rpc={"method": "room.join", "data": {"room": self.room}})
            await self._follow()
        except Refused as refused:
            if refused.code == EXPIRED:
                await self._refresh()
            elif not refused.temporary:
                self.refused_forever = str(refused)
            self.cut()
        except (Gone, TimeoutError):
            self.cut()

    async def _follow(self) -> None:
        recover: dict[str, Any] = {}
        if self.after is not None:
            recover = {"recover": True, "offset": self.offset, "epoch": self._epoch}
        await self._ask(subscribe={"channel": f"room:{self.room}", "recoverable": True, "positioned": True, **recover})

    async def _refresh(self) -> None:
        """Get another access token, if the auth service is there."""
        try:
            body = {"refresh_token": self.account.refresh}
            answer = await http("POST", f"{self.doors[0].auth_url}/refresh", json=body)
        except httpx.HTTPError:
            return
        if answer.status_code == 200:
            found = answer.json()
            self.account = replace(self.account, access=found["access_token"], refresh=found["refresh_token"])

    async def _ask(self, **command: Any) -> Reply:
        if self.transport is None:
            raise Gone
        number = next(self._ids)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        if "subscribe" in command:
            self._subscribing = number
        self.write(json.dumps({"id": number, **command}).encode())
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            self._give_up(0)
            raise Gone from None
        finally:
            self._answers.pop(number, None)

    def line(self, line: bytes) -> None:
        """Take a reply."""
        self._heard_at = time.monotonic()
        reply = decode(line)
        if reply.push is not None:
            self._pushed(reply.push)
        elif not reply.id:
            self.write(b"{}")  # a ping
        else:
            if reply.subscribe is not None and reply.id == self._subscribing:
                self._followed(reply.subscribe)  # at once: what follows in the frame is live
            future = self._answers.get(reply.id)
            if future is not None and not future.done():
                if reply.error is not None:
                    future.set_exception(Refused(reply.error))
                else:
                    future.set_result(reply)

    def _followed(self, result: Followed) -> None:
        self._epoch = result.epoch
        if self.after is None:
            self.after = self.offset = result.offset
        else:
            events = [bytes(one.data) for one in result.publications]
            self.recoveries.append(_Gap(self.offset, result.recovered, events))
            self.events += events
            if not result.recovered:
                self.offset = result.offset
            elif events:
                self.offset = result.publications[-1].offset  # the result's offset is the one that was asked for
            self.waits.append(time.monotonic() - self._lost_at)
        self._up.set()

    def _pushed(self, push: Push) -> None:
        if push.channel != f"room:{self.room}":
            return  # the user's own channel tells of other things
        if push.pub is not None:
            self.events.append(bytes(push.pub.data))
            self.offset = push.pub.offset
        elif push.unsubscribe is not None:
            self.unsubscribed.append(push.unsubscribe.get("code", 0))
            self._give_up(self.unsubscribed[-1])  # the plainest way to recover
