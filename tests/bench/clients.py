"""Clients in plain HTTP and plain frames, as somebody writes them who has only docs/protocol.md.

Imports nothing of ours. Everything that waits has a deadline. `people.py` has clients on the official SDK.
"""

import asyncio
import inspect
import itertools
import json
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import websockets

from tests.bench.ring import Ring

GENERAL = "general"
SECONDS = 15.0
"""How long a condition may take when a test says nothing else: a busy machine has other work too."""


async def eventually(condition: Callable[[], Any], what: str, seconds: float = SECONDS, every: float = 0.02) -> Any:
    """Return the first true answer of `condition` (a function or coroutine function); fail with `what`."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        await asyncio.sleep(every)


def new_message_id() -> str:
    """Return a fresh id for a message."""
    return uuid.uuid4().hex


# Accounts.


@dataclass(frozen=True)
class Account:
    """Somebody who is signed in."""

    id: str
    name: str
    access: str
    refresh: str
    expires_in: int


_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Knows no authority: nothing here is reached by TLS, and loading certificates takes longer than a request."""


async def http(method: str, url: str, **options: Any) -> httpx.Response:
    """Make one request on a connection of its own."""
    async with httpx.AsyncClient(trust_env=False, verify=_NO_TLS, timeout=10) as client:
        return await client.request(method, url, **options)


async def sign_in(ring: Ring, how: str, **body: str) -> Account:
    """Return the account that `how` (guest, register, login, refresh) answers with."""
    answer = await http("POST", f"{ring.auth_url}/{how}", json=body)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    user = found["user"]
    return Account(user["id"], user["name"], found["access_token"], found["refresh_token"], found["expires_in"])


async def guest(ring: Ring, name: str = "Ann") -> Account:
    """Sign in with a name only."""
    return await sign_in(ring, "guest", name=name)


async def registered(ring: Ring, name: str = "ann") -> Account:
    """Make an account with a name nobody has."""
    return await sign_in(ring, "register", username=f"{name}{uuid.uuid4().hex[:8]}", password="correct horse battery")


def bearer(account: Account) -> dict[str, str]:
    """Return the header that proves who asks."""
    return {"Authorization": f"Bearer {account.access}"}


async def ticket(ring: Ring, account: Account) -> str:
    """Return a one-use ticket of `account`."""
    answer = await http("POST", f"{ring.auth_url}/tickets", headers=bearer(account))
    assert answer.status_code == 200, answer.text
    made: str = answer.json()["ticket"]
    return made


# Raw frames.


class Frames:
    """One WebSocket connection in frames. What arrives is sorted into replies, pushes and pings."""

    def __init__(self, socket: websockets.ClientConnection, pong: bool) -> None:
        self.socket = socket
        self.replies: dict[int, dict[str, Any]] = {}
        self.order: list[int] = []
        """Ids of replies in the order in which they came."""
        self.pushes: list[dict[str, Any]] = []
        self.pings: list[float] = []
        self.pong = pong
        """Whether pings are answered."""
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, ring: Ring, query: str = "", pong: bool = True, **options: Any) -> Self:
        """Make the handshake; `options` are those of `websockets.connect`."""
        socket = await websockets.connect(
            ring.websocket_url + query, proxy=None, compression=None, ping_interval=None, max_size=None, **options
        )
        return cls(socket, pong)

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._reader.done()

    async def send(self, *commands: dict[str, Any] | str) -> None:
        """Send one frame of commands; texts go as they are."""
        await self.socket.send("\n".join(one if isinstance(one, str) else json.dumps(one) for one in commands))

    def numbered(self, **request: Any) -> dict[str, Any]:
        """Return a command with the next id."""
        return {"id": next(self._ids), **request}

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send one command and return its reply."""
        command = self.numbered(**request)
        await self.send(command)
        return await self.reply(command["id"])

    async def reply(self, number: int, seconds: float = SECONDS) -> dict[str, Any]:
        """Return the reply to the command of that id, as soon as it is there."""
        await self.until(lambda: number in self.replies, f"a reply to command {number}", seconds)
        return self.replies[number]

    async def enter(self, token: str = "", **fields: Any) -> dict[str, Any]:
        """Send connect; return its result."""
        reply = await self.ask(connect={"token": token, **fields} if token else fields)
        assert "connect" in reply, reply
        result: dict[str, Any] = reply["connect"]
        return result

    async def call(self, method: str, **body: Any) -> dict[str, Any]:
        """Call an RPC method; return its result."""
        reply = await self.ask(rpc={"method": method, "data": body})
        assert "rpc" in reply, reply
        result: dict[str, Any] = reply["rpc"]["data"]
        return result

    async def refusal(self, **request: Any) -> int:
        """Send a command that must be refused; return the error's code."""
        reply = await self.ask(**request)
        assert reply.keys() == {"id", "error"}, reply
        assert reply["error"]["message"]
        code: int = reply["error"]["code"]
        return code

    async def follow(self, room: str = GENERAL, **fields: Any) -> dict[str, Any]:
        """Join a room and subscribe to its channel; return the subscribe result."""
        await self.call("room.join", room=room)
        reply = await self.ask(subscribe={"channel": f"room:{room}", **fields})
        assert "subscribe" in reply, reply
        result: dict[str, Any] = reply["subscribe"]
        return result

    async def make_room(self, name: str = "A room") -> str:
        """Return the id of a new room, with the client in it."""
        room: str = (await self.call("room.create", name=name))["room"]["id"]
        return room

    async def say(self, room: str, *texts: str) -> list[int]:
        """Send messages, each when the one before is acknowledged; return their offsets."""
        return [
            (await self.call("message.send", room=room, id=new_message_id(), text=text))["offset"] for text in texts
        ]

    def events(self, room: str = GENERAL) -> list[dict[str, Any]]:
        """Return the events of `room` that were pushed."""
        return [push["pub"]["data"] for push in self.pushes if push.get("channel") == f"room:{room}" and "pub" in push]

    def texts(self, room: str = GENERAL) -> list[str]:
        """Return the texts that were pushed."""
        return [event["text"] for event in self.events(room) if event["type"] == "message"]

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = SECONDS) -> None:
        """Return when `condition` is true; it is asked again after each frame. Fail when the connection ends first."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    assert not self.closed, f"closed with {self._code()} before {what}"
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}") from None

    async def end(self, seconds: float = SECONDS) -> tuple[int, str]:
        """Return code and reason with which the server ends the connection."""
        try:
            await asyncio.wait_for(asyncio.shield(self._reader), seconds)
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: the server closes the connection") from None
        return self._code()

    def _code(self) -> tuple[int, str]:
        return self.socket.close_code or 1006, self.socket.close_reason or ""

    async def close(self) -> None:
        """Leave."""
        await self.socket.close()
        await self._reader

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _read(self) -> None:
        try:
            async for frame in self.socket:
                for line in str(frame).split("\n"):
                    await self._take(json.loads(line))
                self._changed.set()
        except websockets.ConnectionClosed:
            pass  # `end` tells with which code
        finally:
            self._changed.set()

    async def _take(self, reply: dict[str, Any]) -> None:
        if not reply:
            self.pings.append(time.monotonic())
            if self.pong:
                await self.socket.send("{}")
        elif "push" in reply:
            self.pushes.append(reply["push"])
        else:
            assert reply["id"] not in self.replies, f"two replies to {reply['id']}"
            self.replies[reply["id"]] = reply
            self.order.append(reply["id"])
