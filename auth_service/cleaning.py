"""Removes rows that have expired, a batch of each kind at a time."""

import asyncio
import time
from collections.abc import Callable

from auth_service import metrics
from auth_service.accounts import Accounts
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from chassis import logs
from chassis.database import DatabaseUnavailable

log = logs.get(__name__)


class Cleaning:
    """The loop that keeps the database from growing with what nobody can use any more."""

    def __init__(
        self,
        settings: Settings,
        accounts: Accounts,
        sessions: Sessions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._accounts = accounts
        self._sessions = sessions
        self._clock = clock

    async def run(self) -> None:
        """Clean, wait, and clean again; without a wait while batches come back full."""
        while True:
            try:
                full = await self.step()
            except DatabaseUnavailable as error:
                log.warning("nothing cleaned", reason=str(error))
                full = False
            if not full:
                await asyncio.sleep(self._settings.auth_clean_seconds)

    async def step(self) -> bool:
        """Remove one batch of each kind; tell whether one of them was full."""
        now = self._clock()
        removed = {**await self._sessions.clean(now), **await self._accounts.clean(now)}
        for table, rows in removed.items():
            metrics.rows_removed.labels(table).inc(rows)
        if any(removed.values()):
            log.info("expired rows removed", **removed)
        return max(removed.values()) >= self._settings.auth_clean_batch
