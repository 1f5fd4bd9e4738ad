"""Revocations on their way to the gateways: from the outbox in the database into the stream REVOCATIONS.

The database comes first, so a logout counts while NATS is away; it is published when NATS is back. Every replica may
publish what any of them wrote: what it is about is the message id, so NATS keeps one.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from auth_service import metrics
from auth_service.keyring import Keyring
from auth_service.outbox import Outbox
from auth_service.settings import Settings
from chassis import logs
from chassis.bus import Bus, BusError, Message
from chassis.database import DatabaseUnavailable
from chassis.lifecycle import Background
from chassis.streams import Stream
from protocol import subjects

log = logs.get(__name__)

_DUPLICATE_WINDOW_SECONDS = 120
_NANOSECONDS = 1_000_000_000


class Revocations:
    """Publishes until NATS has acknowledged."""

    def __init__(self, settings: Settings, bus: Bus, outbox: Outbox, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._bus = bus
        self._outbox = outbox
        self._clock = clock
        self._stream = Stream(bus, subjects.REVOCATIONS_STREAM)
        self._stream_known = False
        self._wake = asyncio.Event()
        bus.on_connect(self.reconnected)

    def wake(self) -> None:
        """Say that the outbox holds something new."""
        self._wake.set()

    def reconnected(self) -> None:
        """Look at the stream again: NATS may have come back without it."""
        self._stream_known = False
        self._wake.set()

    async def run(self) -> None:
        """Publish what the outbox holds, again and again; for as long as the service lives."""
        while True:
            self._wake.clear()
            wait = self._settings.auth_revocation_poll_seconds
            try:
                if await self._step():
                    continue
            except (BusError, DatabaseUnavailable) as error:
                self._stream_known = False
                wait = self._settings.auth_revocation_retry_seconds
                log.debug("revocations not published", reason=str(error))
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    async def publish_now(self) -> None:
        """Publish all that the outbox holds. Raises `BusError` or `DatabaseUnavailable` when that cannot be done."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        """Publish one batch; tell whether there is more. Raises when NATS or the database is away."""
        waiting, count = await self._outbox.waiting()
        metrics.revocations_pending.set(count)
        if not self._stream_known:
            await self._ensure_stream()
            return True
        done = []
        try:
            for one in waiting:
                await self._stream.append(one.about.subject, msgspec.json.encode(one.about), message_id=one.id)
                done.append(one)
        finally:
            if done:
                await self._outbox.mark_published(done)
                metrics.revocations_published.inc(len(done))
                metrics.revocations_pending.set(count - len(done))
        return count > len(done)

    async def _ensure_stream(self) -> None:
        keep = self._settings.auth_revocation_seconds
        state = await self._stream.ensure(
            subjects=[subjects.REVOCATIONS],
            storage="file",
            num_replicas=self._settings.nats_replicas,
            max_age=keep * _NANOSECONDS,
            duplicate_window=min(keep, _DUPLICATE_WINDOW_SECONDS) * _NANOSECONDS,
            allow_direct=True,
        )
        if state.last == 0:
            # Nothing was ever stored in it: what an earlier stream held would be lost to gateways that start now.
            await self._outbox.publish_again(self._clock() - keep)
        self._stream_known = True


class Withdrawals:
    """Has the ring read again as soon as a key is withdrawn: by an operator's command, beside this process."""

    def __init__(self, bus: Bus, keyring: Keyring, background: Background) -> None:
        self._bus = bus
        self._keyring = keyring
        self._background = background

    async def listen(self) -> None:
        """Hear of withdrawn keys from now on; without NATS the ring is read every `auth_key_reload_seconds`."""
        await self._bus.subscribe(subjects.REVOCATIONS, self._heard)

    def _heard(self, message: Message) -> None:
        if message.subject.startswith(subjects.REVOKED_KEYS):
            self._background.spawn(self._reload())

    async def _reload(self) -> None:
        if await self._keyring.ready() is not None:
            return  # not read a first time yet: that will find the ring as it is
        try:
            await self._keyring.load()
        except DatabaseUnavailable as error:
            log.warning("key ring not read", reason=str(error))
