"""What this process costs: processor, memory, file descriptors, pauses of the collector, lateness of the event loop.

prometheus_client tells this only of services of one process: under gunicorn its own `process_*` metrics are left out.
So each process samples itself, and no process id becomes a label.
"""

import asyncio
import gc
import os
import resource
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from chassis import metrics

LAG_EVERY_SECONDS = 0.25
"""Four wakes per second: seldom enough to cost nothing, often enough that a blocked loop is caught by the next one."""
COST_EVERY_SECONDS = 5.0
GC_THRESHOLDS = (10_000, 20, 100)
KEPT = 10_000
"""Pauses between two samples; a loop that is blocked for longer than these last has worse to report."""
_DESCRIPTORS = (Path("/proc/self/fd"), Path("/dev/fd"))
"""Linux, and what macOS has instead."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MEMORY_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container sees its own limit: cgroups of version 2 and 1."""


def settled() -> None:
    """Say that the process has started: what exists now lives as long as it, and is never looked at for cycles again.

    Cycles are looked for seldom from now on: connections and messages make few, and a look at all that is there holds
    everybody up (100 ms at 100,000 objects).
    """
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


@asynccontextmanager
async def watched() -> AsyncIterator[None]:
    """Sample this process for as long as the context lasts."""
    pauses = Pauses()
    gc.callbacks.append(pauses.on_collection)
    task = asyncio.create_task(_sample(pauses))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        gc.callbacks.remove(pauses.on_collection)
        metrics.pour()
        metrics.processes.set(0)


class Pauses:
    """Pauses of the garbage collector, kept aside until it is safe to count them.

    A collection may begin anywhere, also inside prometheus_client while it holds its lock, which is not re-entrant:
    counting there would wait for ever.
    """

    def __init__(self) -> None:
        self._started = 0.0
        self._kept: deque[float] = deque(maxlen=KEPT)

    def on_collection(self, phase: str, _: dict[str, int]) -> None:
        """Take note that a collection begins ("start") or ends; the interpreter calls it."""
        if phase == "start":
            self._started = time.perf_counter()
        else:
            self._kept.append(time.perf_counter() - self._started)

    def taken(self) -> list[float]:
        """Return the pauses since the last call, in seconds."""
        kept = self._kept
        return [kept.popleft() for _ in range(len(kept))]


async def _sample(pauses: Pauses) -> None:
    metrics.process_started.set(time.time())
    metrics.processes.set(1)
    metrics.memory_limit.set(memory_limit_bytes())
    loop = asyncio.get_running_loop()
    counted, cost_due = 0.0, 0.0
    while True:
        now = loop.time()
        if now >= cost_due:
            counted, cost_due = _count_cost(counted), now + COST_EVERY_SECONDS
        for pause in pauses.taken():
            metrics.gc_pause.observe(pause)
        metrics.pour()
        due = loop.time() + LAG_EVERY_SECONDS
        await asyncio.sleep(LAG_EVERY_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))


def _count_cost(counted: float) -> float:
    """Set the figures; `counted` are the processor seconds counted before. Return those counted now."""
    used = time.process_time()
    metrics.process_cpu.inc(used - counted)
    metrics.process_max_fds.set(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    metrics.process_open_fds.set(open_descriptors())
    try:
        metrics.process_memory.set(resident_bytes())
    except OSError:
        pass  # no file descriptor is left to read it with: the last figure stands, and the line above says why
    return used


def open_descriptors() -> int:
    """Return how many file descriptors this process has open."""
    for directory in _DESCRIPTORS:
        if directory.exists():
            # Linux 6.2 and later tell the number at once; before, and elsewhere, it has to be counted.
            return (directory.stat().st_size if directory.parts[1] == "proc" else 0) or len(os.listdir(directory))
    return 0


def resident_bytes() -> int:
    """Return the memory this process holds; where there is no /proc, the most it ever held."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * _PAGE_BYTES
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts it in bytes


def memory_limit_bytes(files: Iterable[Path] = _MEMORY_LIMITS) -> int:
    """Return the least of the container's limits, which stand in `files`, and the memory of the machine."""
    texts = [file.read_text().strip() for file in files if file.exists()]
    # Without a limit the first says "max", the second a number beyond any machine.
    return min([int(text) for text in texts if text.isdigit()] + [os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES])
