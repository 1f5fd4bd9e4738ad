"""A client in plain frames that is cheap enough for a hundred thousand messages: it talks in one room, and remembers.

Behaves as the docs ask of clients: a message that is not acknowledged is repeated under its id, a lost connection is
made again behind the last offset, at another gateway if need be. Imports nothing of ours.
"""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import websockets

from tests.bench.clients import Account, http, new_message_id
from tests.bench.fleet import Door
from tests.bench.history import Acknowledged, Event, Received, Recovery

ANSWER_SECONDS = 5.0
"""How long an answer may take before the connection is given up, as SDKs do it."""
PAUSE_SECONDS = 0.05
PATIENCE_SECONDS = 900.0
"""How long one message is repeated; longer than the longest outage."""
SILENCE_SECONDS = 20.0
"""Silence of the server, beyond its ping interval, after which it is taken for dead."""
EXPIRED = 109
TEMPORARY = {100: False, EXPIRED: True, 111: True, 503: True}
_decode = msgspec.json.Decoder().decode


class Gone(Exception):
    """The connection ended, or is not to be used any more."""


class Refused(Exception):
    """A command was answered no."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error.get('message')}")
        self.code: int = error["code"]
        self.temporary = bool(error.get("temporary")) or TEMPORARY.get(self.code, False)


class Talker:
    """One user's connection to one room, from `enter` to `leave`."""

    def __init__(self, account: Account, doors: Sequence[Door], turn: int) -> None:
        """`doors` are the gateways, of which the one at `turn` comes first."""
        self.account = account
        self.doors = list(doors)
        self.turn = turn
        self.room = ""
        self.after: int | None = None
        self.offset = 0
        self.events: list[Event] = []
        self.recoveries: list[Recovery] = []
        self.acknowledged: list[Acknowledged] = []
        self.offered: dict[str, float] = {}
        """Id of each message to when it was sent first."""
        self.refusals: Counter[int] = Counter()
        """Codes of refusals; 0 for answers that never came."""
        self.refused: list[tuple[float, float]] = []
        """When something was asked that was refused, and how many seconds the refusal took."""
        self.closes: Counter[int] = Counter()
        """Codes with which connections ended; 1006 without a word."""
        self.waits: list[float] = []
        """Seconds from a loss of the connection until the room was followed again."""
        self.unsubscribed: list[int] = []
        self.refused_forever = ""
        self._epoch = ""
        self._ids = itertools.count(1)
        self._subscribing = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._socket: websockets.ClientConnection | None = None
        self._up = asyncio.Event()
        self._leaving = False
        self._lost_at = 0.0
        self._life: asyncio.Task[None] | None = None
        self._heard_at = time.monotonic()

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
        if self._socket is not None:
            self._socket.transport.abort()

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
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._up.wait()
            except TimeoutError:
                continue
            began = time.monotonic()
            try:
                return await self.call(method, **body)
            except Refused as refused:
                self.refused.append((began, time.monotonic() - began))
                self.refusals[refused.code] += 1
                if not refused.temporary:
                    raise
            except Gone:
                self.refusals[0] += 1
            await asyncio.sleep(PAUSE_SECONDS)
        raise AssertionError(f"{method} was not answered in {PATIENCE_SECONDS:g} s: {self.refusals}, {self.closes}")

    async def call(self, method: str, **body: Any) -> Any:
        """Call an RPC method once; raise `Refused`, or `Gone` when there is no answer."""
        return (await self._ask(rpc={"method": method, "data": body}))["rpc"]["data"]

    def received(self) -> Received:
        """Return what it was given, for the judge."""
        assert self.after is not None, f"{self.account.name} never followed the room: {self.refused_forever}"
        return Received(self.account.name, self.after, self.events, recoveries=self.recoveries, user=self.account.id)

    # Inside.

    async def _live(self) -> None:
        while not self._leaving:
            door = self.doors[self.turn % len(self.doors)]
            code = 0
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    self._socket = await websockets.connect(
                        door.websocket_url, proxy=None, compression=None, ping_interval=None, max_size=None
                    )
                code = await self._converse(self._socket)
            except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidMessage):
                pass  # nobody is there
            finally:
                self._lost()
            if code:
                self.closes[code] += 1
            if self._leaving:
                return
            self.turn += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _converse(self, socket: websockets.ClientConnection) -> int:
        """Enter and read until the connection ends; return the code of its end."""
        greeting = asyncio.create_task(self._greet())
        watch = asyncio.create_task(self._watch(socket))
        try:
            async for frame in socket:
                self._heard_at = time.monotonic()
                for line in str(frame).split("\n"):
                    self._take(_decode(line))
        except websockets.ConnectionClosed:
            pass  # its code is returned
        finally:
            for task in (greeting, watch):
                task.cancel()
            socket.transport.abort()
            await asyncio.gather(greeting, watch, return_exceptions=True)
        return socket.close_code or 1006

    async def _watch(self, socket: websockets.ClientConnection) -> None:
        """Give up a server that says nothing for long: a stopped process keeps its sockets open."""
        self._heard_at = time.monotonic()
        while time.monotonic() - self._heard_at < SILENCE_SECONDS:
            await asyncio.sleep(1)
        socket.transport.abort()

    async def _greet(self) -> None:
        assert self._socket is not None
        try:
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
        except (Gone, websockets.ConnectionClosed):
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

    async def _ask(self, **command: Any) -> Any:
        number = next(self._ids)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        if "subscribe" in command:
            self._subscribing = number
        try:
            if self._socket is None:
                raise Gone
            await self._socket.send(json.dumps({"id": number, **command}))
            async with asyncio.timeout(ANSWER_SECONDS):
                return await future
        except TimeoutError:
            self.cut()
            raise Gone from None
        except websockets.ConnectionClosed:
            raise Gone from None
        finally:
            self._answers.pop(number, None)

    def _take(self, reply: dict[str, Any]) -> None:
        if not reply:
            self._pong()
        elif "push" in reply:
            self._pushed(reply["push"])
        else:
            if reply["id"] == self._subscribing and "subscribe" in reply:
                self._followed(reply["subscribe"])  # at once: what follows in the frame is live
            future = self._answers.get(reply["id"])
            if future is not None and not future.done():
                if "error" in reply:
                    future.set_exception(Refused(reply["error"]))
                else:
                    future.set_result(reply)

    def _pong(self) -> None:
        assert self._socket is not None
        pong = asyncio.create_task(self._socket.send("{}"))
        pong.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _followed(self, result: dict[str, Any]) -> None:
        self._epoch = result["epoch"]
        events = [one["data"] for one in result.get("publications", ())]
        if self.after is None:
            self.after = self.offset = result.get("offset", 0)
        else:
            self.recoveries.append(Recovery(self.offset, bool(result.get("recovered")), events))
            self.events += events
            if not result.get("recovered"):
                self.offset = result.get("offset", 0)
            elif events:
                self.offset = events[-1]["offset"]  # the result's offset is the one that was asked for
            self.waits.append(time.monotonic() - self._lost_at)
        self._up.set()

    def _pushed(self, push: dict[str, Any]) -> None:
        if push.get("channel") != f"room:{self.room}":
            return  # the user's own channel tells of other things
        if "pub" in push:
            self.events.append(push["pub"]["data"])
            self.offset = push["pub"]["offset"]
        elif "unsubscribe" in push:
            self.unsubscribed.append(push["unsubscribe"].get("code", 0))
            self.cut()  # the plainest way to recover

    def _lost(self) -> None:
        if self._up.is_set():
            self._lost_at = time.monotonic()
            self._up.clear()
        self._socket = None
        for future in self._answers.values():
            if not future.done():
                future.set_exception(Gone())
                future.exception()  # whoever waited hears of it; nobody else has to
