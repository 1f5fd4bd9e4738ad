"""Says that this process takes commands, so that gateways send it those about its rooms (ADR 22)."""

import asyncio

import msgspec

from chassis import logs
from chassis.bus import Bus, Unavailable
from protocol import subjects
from protocol.commands import HERE_EVERY_SECONDS, Here
from protocol.names import new_id

log = logs.get(__name__)


class Heartbeat:
    """The signs of life of one process. A lost one costs nothing: any process may carry out any command."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.process = new_id()
        """What this process is called; another one after each start."""

    async def beat(self) -> None:
        """Say it every `HERE_EVERY_SECONDS`, for ever; to be begun when commands are taken."""
        while True:
            self._say(Here(self.process))
            await asyncio.sleep(HERE_EVERY_SECONDS)

    def leave(self) -> None:
        """Say that no more commands are taken."""
        self._say(Here(self.process, leaving=True))

    def _say(self, here: Here) -> None:
        try:
            self._bus.send(subjects.CHAT_HERE, msgspec.json.encode(here))
        except Unavailable as error:  # nobody asks either while NATS is away
            log.debug("sign of life not sent", reason=str(error))
