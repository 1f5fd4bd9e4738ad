"""The commands of one client, carried out one after the other, so that what it sends in order happens in order.

What needs nobody else is done in the turn in which it came. What has to ask somebody goes on in a task, of which a
client has one at most, and what comes meanwhile waits; a run of subscribes to different channels is carried out
together. While nothing waits there is no task. Where thousands connect at once their connect commands wait for the
turnstile, and what they sent behind waits with them.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING

import structlog

from chassis import logs, traces
from gateway import metrics
from gateway.alarms import NEVER
from gateway.operations import OPERATIONS
from gateway.parts import Outcome, refusal
from gateway.session import Perform, Refuse, request_name
from protocol import codes
from protocol.client import Command, Reply
from protocol.codes import DisconnectCode

if TYPE_CHECKING:
    from gateway.connection import Connection

log = logs.get(__name__)

RESTARTS_TIMER = frozenset(("connect", "refresh", "subscribe", "sub_refresh"))
"""After these the session has something else to decide next."""


class CommandQueue:
    """What one client has asked for and was not answered yet."""

    __slots__ = ("_connection", "_waiting", "working")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self._waiting: list[Command] = []
        self.working = False
        """Whether a command is being carried out that has to wait for somebody."""

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, command: Command) -> None:
        """Carry out a command, now or when those before it are done; none when the connection has ended."""
        if self.working or self._waiting:
            self._waiting.append(command)
        elif command.connect is None or self._connection.parts.turnstile.may_pass(self, inside=True):
            self._begin(command)
        elif self._connection.open:
            self._waiting.append(command)
            self._connection.due = NEVER  # a client that waits for us is not stale

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    # For the turnstile.

    def come_in(self) -> None:
        """Carry out the connect command that waited, and what came behind it; nothing to do when it has ended."""
        if not self._waiting:
            return
        self._connection.session.heard(self._connection.now())
        self._connection.set_alarm()
        while self._waiting and not self.working:
            self._begin(self._waiting.pop(0))
        self._connection.commands_left(len(self._waiting))

    def turn_away(self) -> None:
        """End the connection: too many wait."""
        self._connection.end(codes.SERVER_ERROR)

    # Inside.

    def _begin(self, command: Command) -> None:
        try:
            unfinished = self._perform(command)
        except Exception:  # a fault of ours ends this connection, never the process or another client
            self._fail()
            return
        if unfinished is not None:
            self.working = True
            self._connection.background.spawn(self._work(unfinished))

    async def _work(self, unfinished: Awaitable[None]) -> None:
        """Finish a command, then carry out what waits, until nothing does."""
        connection = self._connection
        structlog.contextvars.bind_contextvars(client=connection.client)  # of this task alone
        try:
            await unfinished
            while self._waiting and connection.open:
                batch = [one for one in map(self._perform, self._next_batch()) if one is not None]
                await (batch[0] if len(batch) == 1 else asyncio.gather(*batch))
                connection.commands_left(len(self._waiting))
        except Exception:  # a fault of ours, here in a task of its own, ends this connection alone
            self._fail()
        finally:
            self.working = False
            connection.commands_done()

    def _fail(self) -> None:
        log.exception("command failed", client=self._connection.client)
        self._connection.end(codes.SERVER_ERROR)

    def _next_batch(self) -> list[Command]:
        """Take the next command, or the run of subscribes to different channels that is next."""
        batch = [self._waiting.pop(0)]
        channels = {batch[0].subscribe.channel} if batch[0].subscribe else set()
        while channels and self._waiting:
            following = self._waiting[0].subscribe
            if following is None or following.channel in channels:
                break
            channels.add(following.channel)
            batch.append(self._waiting.pop(0))
        return batch

    def _perform(self, command: Command) -> Awaitable[None] | None:
        """Carry out a command; return what is left to be awaited, if it has to wait for somebody."""
        started = time.perf_counter()
        request = request_name(command)
        method = request or "unknown"
        session = self._connection.session
        decision = session.pace(self._connection.now()) or session.receive(command, request)
        if isinstance(decision, Perform):
            if traces.on():
                return self._traced(command, method, started)
            outcome = OPERATIONS[method](self._connection, command)
            if isinstance(outcome, Awaitable):
                return self._finished(outcome, method, started)
            self._conclude(outcome, method, started)
        elif isinstance(decision, Refuse):
            self._conclude(refusal(command, decision.error, decision.detail), method, started)
        else:
            self._conclude(decision.code, method, started)
        return None

    async def _finished(self, pending: Awaitable[Outcome], method: str, started: float) -> None:
        self._conclude(await pending, method, started)

    async def _traced(self, command: Command, method: str, started: float) -> None:
        with traces.span(method, "server") as span:
            span.note("parley.client", self._connection.client)
            outcome = OPERATIONS[method](self._connection, command)
            if isinstance(outcome, Awaitable):
                outcome = await outcome
            span.note("parley.result", result_of(outcome))
        self._conclude(outcome, method, started)

    def _conclude(self, outcome: Outcome, method: str, started: float) -> None:
        connection = self._connection
        if isinstance(outcome, Reply):
            if connection.open:
                connection.send(outcome)
        elif outcome is not None:
            connection.end(outcome)
        metrics.answered(method, result_of(outcome), time.perf_counter() - started)
        if method in RESTARTS_TIMER:
            connection.set_alarm()


def result_of(outcome: Outcome) -> str:
    """Return the code of an outcome; 0 is success."""
    if isinstance(outcome, DisconnectCode):
        return str(outcome.code)
    return str(outcome.error.code) if outcome is not None and outcome.error else "0"
