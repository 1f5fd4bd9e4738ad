"""The servers of one row while they run, and the order in which they are measured."""

import dataclasses
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from benchmarks.generator import GENERATOR_CORE, SERVER_CORE, Failed, Figures, Load, Work, cpu_seconds, resident_kib
from benchmarks.servers import PEERS_BY_NAME, Server

SETTLED = 0.005
"""Memory that changes by less than this share in a second has settled."""
SETTLE_SECONDS = 6
WARM = Work(100, senders=10, flight=4, seconds=1, warm=0.5)
SPARE_FILES = 500
Measured = dict[str, float]
"""One run: name of a figure to its value, in the unit that the name ends with."""


def say(text: str) -> None:
    """Tell the person who waits."""
    print(f"benchmarks: {text}", file=sys.stderr, flush=True)


def prepare(connections: int) -> None:
    """Let this process and those it starts open as many files as they may. `Failed`: too few files or cores."""
    if not {GENERATOR_CORE, SERVER_CORE} <= os.sched_getaffinity(0):
        raise Failed(f"two cores are needed, number {SERVER_CORE} and number {GENERATOR_CORE}")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < connections + SPARE_FILES:
        raise Failed(f"a process may open {hard} files here, and {connections} connections need more: see ulimit -Hn")


class Session:
    """Servers that run side by side. One that cannot be had, or breaks, is left out and kept in `failed`."""

    def __init__(self, repeats: int, once: Sequence[str] = ()) -> None:
        """Each server is measured `repeats` times, those named by `once` in the first round alone."""
        self.repeats = repeats
        self._once_only = set(once)
        self.running: dict[str, Server] = {}
        self.failed: dict[str, str] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def start(self, name: str, how: Callable[[], AbstractContextManager[Server]] | None = None) -> None:
        """Start a server: a peer of that name, or what `how` makes."""

        def starting() -> None:
            server = self._stack.enter_context((how or PEERS_BY_NAME[name])())
            self.running[name] = dataclasses.replace(server, name=name)

        self.attempt(name, starting)

    def warm(self, seconds: float = 1) -> None:
        """Put a little load on every server: what its first work costs is nobody's measure."""
        work = dataclasses.replace(WARM, seconds=seconds)
        for name, server in list(self.running.items()):
            self.attempt(name, partial(fan_out(work), server))

    def attempt(self, name: str, step: Callable[[], object]) -> None:
        """Take a step for a server; when it fails say so, and leave that server out from now on."""
        try:
            step()
        except (Failed, AssertionError, OSError, ValueError, LookupError) as error:
            self.failed[name] = str(error)
            self.running.pop(name, None)
            say(f"FAILED: {name}: {error}")

    def interleaved(
        self, what: str, measure: Callable[[Server], Measured], among: Sequence[str] = ()
    ) -> dict[str, list[Measured]]:
        """Measure each server (or some) in turn, `repeats` times over; each round begins with another one."""
        found: dict[str, list[Measured]] = {}
        names = list(among or self.running)
        for round_ in range(self.repeats):
            shift = round_ % max(1, len(names))
            for name in names[shift:] + names[:shift]:
                if round_ and name in self._once_only:
                    continue
                if (server := self.running.get(name)) is not None:
                    self.attempt(name, partial(self._once, found, f"{what} {round_ + 1}", server, measure))
        return {name: runs for name, runs in found.items() if name in self.running}

    def _once(
        self, into: dict[str, list[Measured]], what: str, server: Server, measure: Callable[[Server], Measured]
    ) -> None:
        found = measure(server)
        into.setdefault(server.name, []).append(found)
        figures = ", ".join(f"{key} {value:.4g}" for key, value in found.items())
        say(f"{what}/{self.repeats}: {server.name}: {figures}")


def fan_out(work: Work) -> Callable[[Server], Measured]:
    """Return how to put `work` on a server."""

    def measure(server: Server) -> Measured:
        return told(Load(server.template, work).measure(server.groups))

    return measure


def told(figures: Figures) -> Measured:
    """Return the figures of a run of fan-out. Raises `Failed` when nothing came."""
    if figures.delivered == 0:
        raise Failed("nothing was delivered")
    return {
        "seen_k": figures.rate / 1000,
        "per_core_k": 1000 / figures.cpu_us,
        "cpu_us": figures.cpu_us,
        "kernel_us": figures.kernel_us,
        "message_us": 1e6 * figures.cpu["server"] / max(1, figures.sent),
        "p50_ms": figures.deliveries.p50_ms,
        "p99_ms": figures.deliveries.p99_ms,
        "per_read": figures.delivered / max(1, figures.reads),
        "server_cores": figures.cores("server"),
        "broker_cores": figures.cores("broker"),
        "generator_cores": figures.generator_cores,
    }


def idle(server: Server, connections: int) -> Measured:
    """Return what a connection costs: KiB at rest, and processor time to make it."""
    template = server.idle or server.template
    small = Work(min(200, connections), rooms=200)
    Load(template, small, hold=True).release()  # what the first ones make once
    before, used = settled_kib(server.pids), cpu_seconds(server.pids)
    load = Load(template, Work(connections, rooms=max(1, connections // 5)), hold=True)
    spent = cpu_seconds(server.pids) - used
    kib = (settled_kib(server.pids) - before) / connections
    load.release()
    return {
        "idle_kib": kib,
        "connects_per_core_s": connections / spent,
        "connects_per_s": connections / load.greeted_seconds,
        "base_mib": before / 1024,
    }


def settled_kib(pids: Sequence[int]) -> int:
    """Return the memory of these processes once it changes no more (or hardly: a collector may have to run first)."""
    last, end = resident_kib(pids), time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < end:
        time.sleep(1)  # nothing runs meanwhile
        now = resident_kib(pids)
        if abs(now - last) <= SETTLED * last:
            return now
        last = now
    return last


def medians(runs: Iterable[Measured]) -> Measured:
    """Return the median of each figure over some runs."""
    listed = list(runs)
    return {key: statistics.median(one[key] for one in listed) for key in listed[0]} if listed else {}
