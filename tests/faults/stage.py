"""The system that rows break: NATS, the services as processes, and whoever starts again what died.

Imports nothing of ours.
"""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.cluster import Cluster
from tests.bench.fleet import Fleet, Service
from tests.bench.nats import NatsServer
from tests.bench.roomlog import RoomLogs

SETTINGS = {
    "PING_SECONDS": "5",
    "PONG_SECONDS": "4",
    "HISTORY_LIMIT": "4000",  # a client may miss that many and recover; a row sends faster than people do
    "GATEWAY_DRAIN_SECONDS": "3",
    "AUTH_ADDRESS_SESSION_BURST": "0",
    "AUTH_ACCESS_SECONDS": "900",  # outlives the longest outage: here it is not the tokens that are tried
}
LOOK_SECONDS = 0.05


class Stage:
    """One auth service, `chats` chat services, two gateways of one worker each, on one NATS or on a cluster."""

    def __init__(
        self, directory: Path, nats: NatsServer | Cluster | None = None, *, chats: int = 1, **settings: str
    ) -> None:
        self.directory = directory
        self.nats = nats or NatsServer(directory / "nats")
        self.settings = SETTINGS | settings
        self.fleet = Fleet(directory / "fleet", self.nats.url, self.nats.passwords, chats=chats, **self.settings)
        self.restarts: Counter[str] = Counter()
        """Name of a service to how often it was started again after it had died."""
        self.halts: Counter[str] = Counter()
        """Name of a service to how often one of its processes was found stopped, and woken up."""

    def __enter__(self) -> Self:
        try:
            self.nats.start()
            self.fleet.start()
        except BaseException:  # whatever went wrong, nothing is left behind
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in self.fleet.services.values():
            if service.running:
                for pid in pids_of(service):
                    processes.kill(pid, signal.SIGCONT)
        self.fleet.end()
        for node in self.nats.nodes if isinstance(self.nats, Cluster) else [self.nats]:
            node.kill() if node.running else None

    def logs(self) -> RoomLogs:
        """Return a connection that reads the logs of rooms past our services; to be entered."""
        return RoomLogs(self.nats.url, self.nats.passwords["chat"])

    def service(self, name: str) -> Service:
        """Return auth, chat (the second: chat-2), gateway-1 or gateway-2."""
        return self.fleet.services[name]

    async def renewed(self, name: str, **settings: str) -> None:
        """Start a service again with other settings; return when it is ready."""
        service = self.service(name)

        def renew() -> None:
            if service.running:
                service.kill()
            service.start(**settings)
            service.wait_until_ready()

        await asyncio.to_thread(renew)

    async def ready(self, seconds: float = 60) -> float:
        """Return when every service is ready: the seconds it took."""
        began = time.monotonic()

        def wait() -> None:
            for service in self.fleet.services.values():
                service.wait_until_ready(seconds)

        await asyncio.to_thread(wait)
        return time.monotonic() - began

    @contextlib.asynccontextmanager
    async def failing(self, name: str, failpoint: str, halts: Sequence[float]) -> AsyncIterator[None]:
        """Have a failpoint set in one service, whose processes are started again, or woken up after the seconds of
        `halts`: one after the other, and then the last one for each."""
        await self.renewed(name, FAILPOINT=failpoint)
        keeper = asyncio.create_task(self._keep(halts))
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            for pid in pids_of(self.service(name)) if self.service(name).running else []:
                processes.kill(pid, signal.SIGCONT)
            await self.renewed(name, FAILPOINT="")
            await self.ready()

    async def _keep(self, halts: Sequence[float]) -> None:
        """Do what an orchestrator does, and wake up what was stopped; for ever."""
        stopped: dict[int, float] = {}
        woken = self.halts.total()
        seen: dict[str, set[int]] = {name: set() for name in self.fleet.services}
        while True:
            for name, service in self.fleet.services.items():
                if not service.running:
                    service.start()
                    self.restarts[name] += 1
                    seen[name] = set()
                    continue
                pids = set(pids_of(service))
                if seen[name] - pids - {service.pid}:
                    self.restarts[name] += len(seen[name] - pids)  # gunicorn has started another worker
                seen[name] = pids
                self._wake(name, pids, stopped, halts[min(self.halts.total() - woken, len(halts) - 1)])
            await asyncio.sleep(LOOK_SECONDS)

    def _wake(self, name: str, pids: set[int], stopped: dict[int, float], halt_seconds: float) -> None:
        for pid in pids:
            if not is_stopped(pid):
                stopped.pop(pid, None)
            elif stopped.setdefault(pid, time.monotonic()) + halt_seconds < time.monotonic():
                processes.kill(pid, signal.SIGCONT)
                self.halts[name] += 1
                del stopped[pid]


def pids_of(service: Service) -> list[int]:
    """Return a service's process and its workers."""
    try:
        return [service.pid, *processes.children_of(service.pid)]
    except OSError:
        return []  # it ended while we looked


def is_stopped(pid: int) -> bool:
    """Tell whether a process was halted by a signal."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:
        return False
