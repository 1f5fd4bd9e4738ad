"""Who is written to next: a queue of writing jobs, emptied in slices, so that other work gets its turn between them."""

import asyncio
from collections import deque
from typing import Protocol

SLICE = 200
"""Writes of one turn of the event loop, 1 to 2 ms of it: a small room waits for a few of these beside a large one."""


class Job(Protocol):
    """Something to be written."""

    def step(self, budget: int) -> int:
        """Write to at most `budget` sockets; return to how many. Below `budget` means that the job is done."""


class Postman:
    """Carries out the writing jobs of one process, a slice of each in turn, in the order in which they were called."""

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._next: list[Job] = []
        self._scheduled = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of this process, asked for once: Python 3.11 makes a system call each time."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def call(self, job: Job) -> None:
        """Have `job` carried out at the end of this turn of the event loop."""
        self._jobs.append(job)
        self._schedule()

    def call_next(self, job: Job) -> None:
        """Have `job` carried out a turn later: what is about to come for the same client may leave in one write."""
        self._next.append(job)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._round)

    def _round(self) -> None:
        budget, jobs = SLICE, self._jobs
        following, self._next = self._next, []
        try:
            while budget > 0 and jobs:
                job = jobs.popleft()
                written = job.step(budget)
                if written >= budget:
                    jobs.append(job)  # perhaps not done: its next slice comes behind the others
                budget -= max(1, written)
        finally:
            # Also when a job failed: it must not take the others with it.
            jobs.extend(following)
            self._scheduled = bool(jobs or self._next)
            if self._scheduled:
                self.loop.call_soon(self._round)
