"""Ended sessions, told to the other devices of the same user.

The stream REVOCATIONS is the truth, the live subject only says that there is something new; so what was announced while
this process was away is told as well, unless it is older than `notices.TELL_SECONDS`. Every replica tells everything
it reads: the session's id makes it count once.
"""

import asyncio
import time

from chassis import logs
from chassis.bus import Bus, BusError, Message
from chassis.streams import Record, Stream
from chat_service.notices import TELL_SECONDS, Notices
from protocol import revocations, subjects
from protocol.names import is_id

log = logs.get(__name__)

RETRY_SECONDS = 1.0


class Revocations:
    """Follows the announcements of the auth service."""

    def __init__(self, bus: Bus, notices: Notices) -> None:
        self._bus = bus
        self._notices = notices
        self._stream = Stream(bus, subjects.REVOCATIONS_STREAM)
        self._epoch = ""
        self._told = 0
        self._new = asyncio.Event()
        self._new.set()

    async def follow(self) -> None:
        """Tell what is announced, for ever. The bus must be connected."""
        self._bus.on_connect(self._new.set)
        subscribed = False
        while True:
            await self._new.wait()
            self._new.clear()
            try:
                if not subscribed:
                    await self._bus.subscribe(subjects.REVOCATIONS, self._heard)
                    subscribed = True
                    await self._bus.flush()
                await self._tell_new()
            except BusError as error:
                log.debug("revocations not told", reason=str(error))
                self._new.set()
                await asyncio.sleep(RETRY_SECONDS)

    def _heard(self, _: Message) -> None:
        self._new.set()

    async def _tell_new(self) -> None:
        """Tell every announcement behind the last one told; raise `BusError` when that cannot be done now."""
        state = await self._stream.state()
        if state is None:
            return  # the auth service makes it with the first announcement, which is heard live
        if state.epoch != self._epoch:
            self._epoch, self._told = state.epoch, 0
        async for record in self._stream.read_all(subjects.REVOCATIONS, self._told + 1):
            if record.stored_at >= time.time() - TELL_SECONDS:
                await self._tell(record)
            self._told = record.sequence

    async def _tell(self, record: Record) -> None:
        try:
            ended = revocations.decode(record.subject, record.body)
        except ValueError:
            log.warning("revocation that cannot be read", sequence=record.sequence)
            return
        # Of a ban nobody is left to be told, of a key nobody is concerned for long.
        if is_id(ended.user) and ended.sid:
            await self._notices.tell_revoked(ended.user, ended.sid, ended.reason, ended.at * 1000)
