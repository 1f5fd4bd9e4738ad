"""Ended sessions: announced over NATS, kept until the last access token of that session has expired.

Followed live by a core subscription and, at start and after every NATS outage, read back from the stream REVOCATIONS;
so a gateway that was away learns what it missed before it says it is ready.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from chassis import logs
from chassis.bus import Bus, Message, Unavailable
from chassis.streams import Stream
from gateway import metrics
from gateway.settings import GatewaySettings
from protocol import subjects

log = logs.get(__name__)

RETRY_SECONDS = 0.5


class _Revocation(msgspec.Struct):
    at: float


class Revocations:
    """Which sessions are over."""

    def __init__(self, bus: Bus, settings: GatewaySettings, end_session: Callable[[str], int]) -> None:
        """`end_session` ends every connection of a session and returns how many there were."""
        self._bus = bus
        self._stream = Stream(bus, subjects.REVOCATIONS_STREAM)
        self._keep_seconds = settings.token_max_seconds + settings.token_leeway_seconds + 60
        self._end_session = end_session
        self._revoked: dict[str, float] = {}
        self._stale = asyncio.Event()
        self._stale.set()
        self._current = False

    async def ready(self) -> str | None:
        """Health check: None when nothing can have been missed."""
        return None if self._current else "revocations not read yet"

    def is_revoked(self, session: str) -> bool:
        """Tell whether `session` was ended."""
        return session in self._revoked

    async def follow(self) -> None:
        """Subscribe, then read back what was announced before; again after every reconnect. Runs for ever."""
        self._bus.on_connect(self._stale.set)
        subscribed = False
        while True:
            await self._stale.wait()
            self._stale.clear()
            self._current = False
            try:
                if not subscribed:
                    await self._bus.subscribe(subjects.REVOCATIONS, self._received)
                    subscribed = True
                await self._bus.flush()
                if await self._stream.state() is None:
                    raise Unavailable("the auth service has not made the stream yet")
                async for record in self._stream.read_all(subjects.REVOCATIONS):
                    self._add(record.subject)
                self._current = True
            except Unavailable as error:
                log.debug("revocations not read", reason=str(error))
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)

    def _received(self, message: Message) -> None:
        if self._add(message.subject):
            try:
                said = msgspec.json.decode(message.body, type=_Revocation)
            except msgspec.DecodeError:
                log.warning("revocation without a time")
                return
            metrics.revocation_seconds.observe(max(0.0, time.time() - said.at))

    def _add(self, subject: str) -> int:
        """Take note of an ended session; return how many connections that ended."""
        session = subject.rpartition(".")[2]
        now = time.monotonic()
        ended = 0
        if session not in self._revoked:
            self._revoked[session] = now
            ended = self._end_session(session)
        # Insertion order is age order: forget from the front what no valid token can name any more.
        while self._revoked:
            oldest = next(iter(self._revoked))
            if now - self._revoked[oldest] < self._keep_seconds:
                break
            del self._revoked[oldest]
        return ended
