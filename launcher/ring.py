"""The ring on this machine: every part started in order, watched until it is ready, stopped in reverse."""

import asyncio
import signal
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import httpx

from launcher import readiness
from launcher.guard import Guard
from launcher.logfiles import Follower, turn
from launcher.parts import NATS, Part
from launcher.process import Plan, Supervised
from launcher.say import announce, say
from launcher.settings import LauncherSettings

ASK_EVERY_SECONDS = 0.1
SAY_EVERY_SECONDS = 5.0
FOLLOW_EVERY_SECONDS = 0.2
TURN_EVERY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Member:
    """A part with the process that runs it."""

    part: Part
    process: Supervised


class Ring:
    """All parts of one machine, in the order of the Procfile."""

    def __init__(self, settings: LauncherSettings, plans: list[tuple[Part, Plan]], guard: Guard) -> None:
        self._settings = settings
        self._members = [Member(part, Supervised(plan, settings, guard)) for part, plan in plans]
        self._tasks: list[asyncio.Task[None]] = []
        self._lacks = {member.part.name: "not started yet" for member in self._members}

    async def run(self, verbose: bool) -> int:
        """Start; go on until asked to stop or until something cannot go on; stop. Return the exit code."""
        self._ending: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._take_signals()
        extras = [self._spawn(self._bound_logs()), self._spawn(self._start())]
        if verbose:
            extras += [self._spawn(_follow(member.process)) for member in self._members]
        try:
            return await self._ending
        finally:
            say("stopping")
            extras[1].cancel()
            for member in reversed(self._members):
                await member.process.stop()
            for extra in extras:
                extra.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _start(self) -> None:
        """Start all parts, NATS first; announce that they are ready, or end the ring when they are not in time."""
        say(f"starting {', '.join(m.part.name for m in self._members)}; logs: {self._members[0].process.log.parent}")
        first = [member for member in self._members if member.part.name == NATS]
        try:
            async with asyncio.timeout(self._settings.start_seconds), readiness.new_client() as client:
                for members in (first, [member for member in self._members if member not in first]):
                    for member in members:
                        self._lacks[member.part.name] = "does not answer yet"
                        self._spawn(member.process.run())
                    await self._wait_for(client, members)
        except TimeoutError:
            self._end(1, f"not ready within {self._settings.start_seconds:g} s: {self._what_lacks()}")
            return
        announce(f"Parley is ready: {self._address()}  (Ctrl-C stops it)")

    async def _wait_for(self, client: httpx.AsyncClient, members: list[Member]) -> None:
        clock = asyncio.get_running_loop().time
        said = clock()
        while True:
            answers = await asyncio.gather(*(readiness.missing(client, member.part) for member in members))
            for member, lack in zip(members, answers, strict=True):
                self._lacks.pop(member.part.name, None)
                if lack is None:
                    member.process.was_ready = True
                else:
                    self._lacks[member.part.name] = lack
            if not any(member.part.name in self._lacks for member in members):
                return
            if clock() - said > SAY_EVERY_SECONDS:
                said = clock()
                say(f"waiting for {self._what_lacks()}")
            await asyncio.sleep(ASK_EVERY_SECONDS)

    def _what_lacks(self) -> str:
        return ", ".join(f"{name} ({lack})" for name, lack in self._lacks.items())

    def _address(self) -> str:
        host = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "localhost"}.get(
            self._settings.bind_host, self._settings.bind_host
        )
        return f"http://{f'[{host}]' if ':' in host else host}:{self._settings.gateway_port}"

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._finished)
        self._tasks.append(task)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        """A task that failed ends the ring: a part that gave up, a log that cannot be written."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(1, str(error) or type(error).__name__)

    def _end(self, code: int, why: str | None = None) -> None:
        if not self._ending.done():
            if why:
                say(why)
            self._ending.set_result(code)

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asked to outlive the terminal
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._asked_to_stop)

    def _asked_to_stop(self) -> None:
        """The first time: stop in good order. Again: kill."""
        if not self._ending.done():
            self._end(0)
            return
        for member in self._members:
            member.process.kill()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(TURN_EVERY_SECONDS)
            for member in self._members:
                turn(member.process.log, self._settings.log_bytes)


async def _follow(process: Supervised) -> None:
    """Print what comes new into a part's log, each line with the part's name."""
    follower = Follower(process.log)
    while True:
        for line in follower.new_lines():
            announce(f"{process.name:<8}| {line}")
        await asyncio.sleep(FOLLOW_EVERY_SECONDS)
