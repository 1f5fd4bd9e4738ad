"""One client's waiting frames: bounded in bytes here, in seconds by the connection. Overflow is a named ending.

What is put within one turn of the event loop leaves as one frame (the protocol allows many replies in a frame). A
large fan-out is written in slices, so that other work gets its turn between them.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

from gateway import metrics
from gateway.publications import Encoded
from gateway.socket import Wire

SLICE = 500
"""Outboxes written in one turn (measured: 12 ms p99 for a small room beside one of 5,000, against 97 without)."""


class Waiting(Protocol):
    """What the postman comes to: an outbox, or what is to be told that all before it were emptied."""

    def empty(self) -> None:
        """Do what is to be done then."""


class Postman:
    """Empties the outboxes of one process, in the order in which they were first written to."""

    def __init__(self) -> None:
        self._waiting: deque[Waiting] = deque()
        self._scheduled = False

    def call(self, waiting: Waiting) -> None:
        """Have an outbox emptied at the end of this turn of the event loop."""
        self._waiting.append(waiting)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._round)

    def _round(self) -> None:
        for _ in range(min(SLICE, len(self._waiting))):
            self._waiting.popleft().empty()
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            asyncio.get_running_loop().call_soon(self._round)


class Outbox:
    """What one client has yet to be sent."""

    __slots__ = ("_limit", "_overflowed", "_postman", "_waiting", "_waiting_bytes", "_wire")

    def __init__(self, wire: Wire, postman: Postman, limit: int, overflowed: Callable[[], None]) -> None:
        self._wire = wire
        self._postman = postman
        self._limit = limit
        self._overflowed = overflowed
        self._waiting: list[Encoded] = []
        self._waiting_bytes = 0

    def put(self, reply: Encoded) -> None:
        """Add a reply behind those that wait. Never blocks; above the limit the client is given up."""
        if not self._waiting:
            self._postman.call(self)
        self._waiting.append(reply)
        self._waiting_bytes += len(reply.payload)

    def empty(self) -> None:
        """Write all that waits as one frame, or end the connection when the client does not take what was written."""
        waiting, self._waiting = self._waiting, []
        size, self._waiting_bytes = self._waiting_bytes, 0
        if not waiting or not self._wire.open:
            return
        if self._wire.waiting_bytes + size > self._limit:
            metrics.overflows.labels("outbox").inc()
            self._overflowed()
            return
        written = self._wire.write_replies(waiting)
        metrics.messages_out.inc(len(waiting))
        metrics.frames_out.inc()
        metrics.bytes_out.inc(written)
