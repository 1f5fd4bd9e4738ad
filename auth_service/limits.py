"""What one caller may ask: the size of a body, attempts per address, one attempt at a time per name."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth_service import metrics, refusals
from auth_service.settings import Settings
from chassis.addresses import network
from chassis.app import problem_response


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class AddressLimit:
    """A token bucket per address, for one kind of request; remembers a bounded number of addresses."""

    def __init__(self, kind: str, burst: int, per_second: float, addresses: int, clock: Callable[[], float]) -> None:
        self._kind = kind
        self._burst = burst
        self._per_second = per_second
        self._addresses = addresses
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, address: str) -> None:
        """Count one request of `address`; raise the 429 refusal when it has none left."""
        if self._burst == 0:
            return
        now = self._clock()
        key = network(address)
        bucket = self._buckets.setdefault(key, _Bucket(self._burst, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._addresses:
            self._buckets.popitem(last=False)
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now - bucket.at) * self._per_second)
        bucket.at = now
        if bucket.tokens < 1:
            metrics.address_refusals.labels(self._kind).inc()
            raise refusals.too_many_requests(math.ceil((1 - bucket.tokens) / self._per_second))
        bucket.tokens -= 1


class AddressLimits:
    """The three kinds of requests that an address is limited in, from the dearest to the cheapest."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        many = settings.auth_addresses
        password = (settings.auth_address_password_burst, settings.auth_address_password_per_second)
        guest = (settings.auth_address_guest_burst, settings.auth_address_guest_per_second)
        session = (settings.auth_address_session_burst, settings.auth_address_session_per_second)
        self.password = AddressLimit("password", *password, many, clock)
        self.guest = AddressLimit("guest", *guest, many, clock)
        self.session = AddressLimit("session", *session, many, clock)


@dataclass(slots=True)
class _Turn:
    lock: asyncio.Lock
    users: int = 0


class Turns:
    """One password attempt at a time per name, so that parallel guesses see each other's failures."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._turns: dict[str, _Turn] = {}

    @asynccontextmanager
    async def take(self, name: str) -> AsyncIterator[None]:
        """Wait for the turn of `name`; raise the 429 refusal when too many wait already."""
        turn = self._turns.setdefault(name, _Turn(asyncio.Lock()))
        if turn.users >= self._most:
            raise refusals.too_many_requests(1)
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if turn.users == 0:
                del self._turns[name]


class BodyLimit:
    """ASGI middleware: reads a request's body whole, up to a size and a time, before anything looks at it."""

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        self.app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body in one piece, or answer 413 or 408."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with asyncio.timeout(self._seconds):
                body = await self._read(receive)
        except TimeoutError:
            await problem_response(408, "timeout", "the request body took too long")(scope, receive, send)
            return
        if body is None:
            detail = f"a request body has at most {self._most} bytes"
            await problem_response(413, "too_large", detail)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        await self.app(scope, lambda: _next(whole, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client went away; what follows will find that out
                return bytes(body)
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if not message.get("more_body"):
                return bytes(body)


async def _next(whole: list[Message], receive: Receive) -> Message:
    return whole.pop() if whole else await receive()
