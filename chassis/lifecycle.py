"""Background work that lives as long as its service.

Services are built in `app.py` with an `AsyncExitStack`, so that parts close in the reverse order of opening.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

from chassis import logs

log = logs.get(__name__)

CANCEL_AGAIN_SECONDS = 0.5


class Background:
    """Named loops and short tasks of one service; cancelled and awaited when it closes.

    A loop that ends with an error ends the process: half a service that looks alive is worse than a restart.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing = True
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            # A cancellation can get lost on its way (seen while a database connection broke): cancel again.
            await asyncio.wait(self._tasks, timeout=CANCEL_AGAIN_SECONDS)

    def __len__(self) -> int:
        return len(self._tasks)

    def loop(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run `run` until the service closes; its failure ends the process with SIGTERM to itself."""

        async def forever() -> None:
            try:
                await run()
            except Exception:  # any failure of a loop is fatal, whatever it is
                log.exception("background loop failed", loop=name)
                os.kill(os.getpid(), signal.SIGTERM)

        self.spawn(forever())

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run `work` once; the caller bounds how many, and handles what it raises."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None and not self._closing:
            log.error("background task failed", exc_info=task.exception())
