"""How many connections one user may have, in this process and in all of them; beyond it the oldest end.

Nobody counts everybody. Of P processes at least one holds a Pth of what a user has, so a process looks at those alone
who have more than a Pth of the quota with it: when one more comes in, and again now and then, since others may come in
elsewhere. Then it asks all processes, as the server API does. Whoever stays below costs nothing.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from chassis import logs
from chassis.bus import Unavailable
from chassis.lifecycle import Background
from gateway.hub import Hub
from gateway.settings import GatewaySettings
from protocol import codes
from protocol.codes import DisconnectCode

log = logs.get(__name__)

MOST_LOOKING = 32
"""Users whose connections are being counted at once; the next round takes those left out."""


class Everywhere(Protocol):
    """What reaches the connections of all processes."""

    async def connections_of(self, user: str) -> list[tuple[float, str]]:
        """Return age in seconds and client id of each connection of `user`; raise `Unavailable`."""

    async def end_client(self, user: str, client: str, code: DisconnectCode) -> None:
        """End that connection of `user`; raise `Unavailable`."""


class Quota:
    """The bound on connections of one user. `processes` tells how many gateway processes there are, as far as known."""

    def __init__(
        self,
        hub: Hub,
        everywhere: Everywhere,
        background: Background,
        processes: Callable[[], int],
        settings: GatewaySettings,
    ) -> None:
        self._hub = hub
        self._everywhere = everywhere
        self._background = background
        self._processes = processes
        self._settings = settings
        self._most = settings.max_user_connections
        self._looking: set[str] = set()

    def entered(self, user: str) -> None:
        """Take note that a connection of `user` came in, and look whether it is one too many."""
        if not user or not self._most:
            return
        count = self._hub.count_of_user(user)
        if count > self._most:
            self._end_here(user)  # without asking anybody: also while NATS is away
        elif count > self._share():
            self._look(user)

    async def run(self) -> None:
        """Look again at whoever has many connections here. Runs for ever."""
        while self._most:
            await asyncio.sleep(self._settings.lease_seconds)
            for user in filter(None, self._hub.crowds(self._share())):
                self._look(user)

    def _share(self) -> int:
        return self._most // max(1, self._processes())

    def _end_here(self, user: str) -> None:
        ours = sorted((one for one in self._hub.of_user(user) if one.open), key=lambda one: one.age, reverse=True)
        for one in ours[: max(0, len(ours) - self._most)]:
            one.end(codes.TOO_MANY_CONNECTIONS)

    def _look(self, user: str) -> None:
        if user not in self._looking and len(self._looking) < MOST_LOOKING:
            self._looking.add(user)
            self._background.spawn(self._count(user))

    async def _count(self, user: str) -> None:
        try:
            found = sorted(await self._everywhere.connections_of(user), reverse=True)
            for _, client in found[: max(0, len(found) - self._most)]:
                await self._everywhere.end_client(user, client, codes.TOO_MANY_CONNECTIONS)
        except Unavailable as error:
            log.debug("connections of a user not counted", reason=str(error))
        finally:
            self._looking.discard(user)
