"""What has ended before its time: sessions, every session of a banned account, every token of a withdrawn key.

Announced over NATS, and kept until the last access token that it is about has expired. Followed live by a core
subscription and, at start and after every NATS outage, read back from the stream REVOCATIONS; so a gateway that was
away learns what it missed before it says it is ready.
"""

import asyncio
import time

from chassis import logs
from chassis.bus import Bus, Message, Unavailable
from chassis.streams import Stream
from gateway import metrics
from gateway.hub import Follower, Hub
from gateway.identity import Identity
from gateway.keys import Keys
from gateway.settings import GatewaySettings
from protocol import codes, revocations, subjects
from protocol.codes import DisconnectCode
from protocol.revocations import Revocation

log = logs.get(__name__)

RETRY_SECONDS = 0.5


class Revocations:
    """Which credentials count no more, and the end of the connections that were let in by them."""

    def __init__(self, bus: Bus, settings: GatewaySettings, hub: Hub, keys: Keys) -> None:
        self._bus = bus
        self._stream = Stream(bus, subjects.REVOCATIONS_STREAM)
        self._keep_seconds = settings.token_max_seconds + settings.token_leeway_seconds + 60
        self._hub = hub
        self._keys = keys
        self._known: dict[str, float] = {}
        """Subject to when it was announced last, oldest first."""
        self._bans: dict[str, int] = {}
        self._stale = asyncio.Event()
        self._stale.set()
        self._current = False

    async def ready(self) -> str | None:
        """Health check: None when nothing can have been missed."""
        return None if self._current else "revocations not read yet"

    def ended(self, identity: Identity) -> DisconnectCode | None:
        """Return why `identity` counts no more, as far as is known; None while it does."""
        if not identity.is_native:
            return None
        if self._bans.get(identity.user, 0) > identity.bans:
            return codes.ACCOUNT_BANNED
        if subjects.revoked(identity.session) in self._known:
            return codes.SESSION_REVOKED
        # Last, for it is the only one that another token mends.
        return codes.KEY_WITHDRAWN if self._keys.is_withdrawn(identity.key) else None

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
                    self._take(record.subject, record.body)
                self._current = True
            except Unavailable as error:
                log.debug("revocations not read", reason=str(error))
                self._stale.set()
                await asyncio.sleep(RETRY_SECONDS)

    def _received(self, message: Message) -> None:
        self._take(message.subject, message.body)

    def _take(self, subject: str, body: bytes) -> None:
        """Take note of what has ended, as often as it is told, and end what it ends here."""
        try:
            said = revocations.decode(subject, body)
        except ValueError as error:
            log.warning("not understood", reason=str(error))
            return
        self._remember(subject, said)
        ended = 0
        for follower in self._concerned(said):
            code = self.ended(follower.identity) if follower.identity is not None else None
            if code is not None:
                follower.end(code)
                ended += 1
        if ended and said.at:
            metrics.revocation_seconds.observe(max(0.0, time.time() - said.seconds))

    def _remember(self, subject: str, said: Revocation) -> None:
        now = time.monotonic()
        if said.key:
            self._keys.withdraw(said.key)
            return
        if said.bans:
            if self._bans.get(said.user, 0) >= said.bans:
                return
            self._bans[said.user] = said.bans
            self._known.pop(subject, None)  # banned again: it counts from now
        self._known.setdefault(subject, now)
        # Insertion order is age order: forget from the front what no valid token can name any more.
        while self._known:
            oldest = next(iter(self._known))
            if now - self._known[oldest] < self._keep_seconds:
                break
            del self._known[oldest]
            self._bans.pop(oldest.removeprefix(subjects.REVOKED_USERS), None)

    def _concerned(self, said: Revocation) -> list[Follower]:
        """Return the connections here that may have ended."""
        if said.key:
            return self._hub.let_in_by(said.key)
        return self._hub.of_user(said.user) if said.bans else self._hub.of_session(said.sid)
