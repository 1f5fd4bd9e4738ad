"""Liveness and readiness.

Live touches nothing: it answers as long as the event loop turns. Ready asks everything and says what is missing.
Started is for those who wait for a first start: yes once the process was ready, whatever happens later.
"""

import asyncio
from collections.abc import Awaitable, Callable

Check = Callable[[], Awaitable[str | None]]
"""Answers None when all is well, else a few words on what is missing."""

CHECK_SECONDS = 2.0


class Health:
    """The list of what this process needs to do its work."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self.draining = False
        """Whether the process is on its way out: not ready, whatever works."""
        self._was_ready = False

    def require(self, name: str, check: Check) -> None:
        """Make readiness depend on `check`."""
        self._checks[name] = check

    async def missing(self) -> dict[str, str]:
        """Run every check with a deadline; return name to what is missing, empty when ready."""
        names = list(self._checks)
        found = await asyncio.gather(*(self._ask(name) for name in names))
        missing = {name: text for name, text in zip(names, found, strict=True) if text}
        if self.draining:
            missing["process"] = "shutting down"
        self._was_ready = self._was_ready or not missing
        return missing

    async def started(self) -> dict[str, str]:
        """Return what was missing so far for a first time of being ready; empty once there was one."""
        return {} if self._was_ready else await self.missing()

    async def _ask(self, name: str) -> str | None:
        try:
            return await asyncio.wait_for(self._checks[name](), CHECK_SECONDS)
        except TimeoutError:
            return f"no answer in {CHECK_SECONDS:g} s"
        except Exception as error:  # a check may fail in any way its part can; each way means "not ready"
            return type(error).__name__
