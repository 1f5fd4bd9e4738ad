"""One part of the ring as a supervised process: started, started again when it ends, stopped with what it started."""

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path

from launcher.guard import Guard, send
from launcher.logfiles import open_log, turn
from launcher.say import say
from launcher.settings import LauncherSettings

LONG_RUN_SECONDS = 30
"""A process that ran this long starts again after the shortest pause."""


class GaveUp(Exception):
    """A part ended again and again before it was ever ready; the text names it and its log."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a part is run, and how long it may take to stop."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    directory: Path
    stop_seconds: float


class Supervised:
    """Keeps one part running. Each start is a session, and so a process group, of its own."""

    def __init__(self, plan: Plan, settings: LauncherSettings, guard: Guard) -> None:
        self.name = plan.name
        self.log = plan.log
        self.was_ready = False
        self._plan = plan
        self._settings = settings
        self._guard = guard
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start the part, and again whenever it ends; return after `stop`; raise `GaveUp`."""
        clock = asyncio.get_running_loop().time
        attempts = 0
        pause = self._settings.restart_first_seconds
        while not self._stopping.is_set():
            started = clock()
            code = await self._run_once()
            if self._stopping.is_set():
                return
            attempts += 1
            if not self.was_ready and attempts >= self._settings.start_attempts:
                raise GaveUp(f"{self.name} ended {attempts} times before it was ready; its log: {self.log}")
            if clock() - started > LONG_RUN_SECONDS:
                pause = self._settings.restart_first_seconds
            say(f"{self.name} ended ({ending(code)}); starting it again in {pause:g} s; its log: {self.log}")
            await self._wait_unless_stopped(pause)
            pause = min(pause * 2, self._settings.restart_most_seconds)

    async def stop(self) -> None:
        """Stop the part: SIGTERM to its main process, SIGKILL to what is left after the deadline."""
        self._stopping.set()
        process = self._process
        if process is None:
            return
        _signal(process, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._plan.stop_seconds)
        except TimeoutError:
            say(f"{self.name} did not stop within {self._plan.stop_seconds:g} s; killing it")
            self.kill()
            await process.wait()

    def kill(self) -> None:
        """End the part and all its descendants at once; it is not started again."""
        self._stopping.set()
        if self._process is not None:
            send(self._process.pid, signal.SIGKILL)

    async def _run_once(self) -> int:
        plan = self._plan
        turn(plan.log, self._settings.log_bytes)
        with open_log(plan.log) as log:
            process = await asyncio.create_subprocess_exec(
                *plan.command,
                cwd=plan.directory,
                env=plan.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._process = process
        self._guard.watch(process.pid)
        if self._stopping.is_set():  # asked to stop while it was being started
            send(process.pid, signal.SIGTERM)
        try:
            return await process.wait()
        finally:
            # Workers of a main process that was killed would keep its port.
            await _empty(process.pid)
            self._process = None
            self._guard.release(process.pid)

    async def _wait_unless_stopped(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            pass  # nobody asked to stop: go on


def ending(code: int) -> str:
    """Return in words how a process with that exit code ended."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


async def _empty(group: int) -> None:
    """Kill what is left of a process group, and wait until init has taken it away."""
    for _ in range(50):
        if not send(group, signal.SIGKILL):
            return
        await asyncio.sleep(0.02)


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except ProcessLookupError:
        pass  # it ended by itself just now
