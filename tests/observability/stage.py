"""Everything that Prometheus watches, running: NATS, auth, chat, two gateways, the canary, the exporter of NATS.

Without the launcher, whose NATS has no monitoring port. The second gateway hears NATS through a proxy that loses
messages, so that there are gaps to count. Imports nothing of ours.
"""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.lossy import LossyProxy
from tests.bench.nats import NatsServer
from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT, START_SECONDS, STOP_SECONDS, Ring

API_KEY = "the API key of a check, which is long enough"
LOSS = 0.05
SETTINGS = {
    "API_KEY": API_KEY,
    "LOG_FORMAT": "json",
    "GATEWAY_WORKERS": "2",
    "GATEWAY_DRAIN_SECONDS": "6",
    "PING_SECONDS": "3",
    "PONG_SECONDS": "1",
    "POSITION_CHECK_SECONDS": "2",
    "LEASE_SECONDS": "3",
    "REBALANCE_SECONDS": "2",
    "AUTH_REFRESH_GRACE_SECONDS": "1",
    "AUTH_ADDRESS_GUEST_BURST": "0",
    "AUTH_ADDRESS_PASSWORD_BURST": "0",
    "AUTH_ADDRESS_SESSION_BURST": "0",
}
"""Short waits, so that what takes minutes in a day of operation happens while we look."""
LOST_CLUSTER = """
server_name: alone
host: $NATS_HOST
port: $NATS_PORT
jetstream {{ store_dir: $NATS_STORE_DIR, max_file: 10MB, max_mem: 1MB }}
cluster {{ name: lost, host: "127.0.0.1", port: {0}, routes: ["nats://127.0.0.1:{1}", "nats://127.0.0.1:{2}"] }}
"""
"""One of three nodes, whose others are gone: what an alert about a lost quorum looks for."""
CANARY = {"CANARY_INTERVAL_SECONDS": "0.5", "CANARY_RECONNECT_SECONDS": "10", "CANARY_RECEIVERS": "2"}


class Service:
    """One process of ours (gunicorn with its workers counts as one) that says on `port` whether it is ready."""

    def __init__(self, name: str, package: str, port: int, settings: dict[str, str], logs: Path) -> None:
        self.name = name
        self.package = package
        self.port = port
        self.log = logs / f"{name}.log"
        self._mark = f"PARLEY_TEST_SERVICE={uuid.uuid4().hex}"
        name_of_mark, _, value = self._mark.partition("=")
        self._settings = settings | {name_of_mark: value}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting for anything."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self.package],
                cwd=ROOT,
                env=os.environ | self._settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of a gateway's workers."""
        assert self._process is not None, "not started"
        return [process.pid for process in processes.marked(self._mark) if process.parent == self._process.pid]

    @contextlib.contextmanager
    def halted(self) -> Iterator[None]:
        """Let it do nothing within the block (SIGSTOP); what is sent to it waits."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def wait_until_ready(self) -> None:
        """Return when it answers that it is ready."""
        wait_until(lambda: self._ready() or self._ended(), f"{self.name} is ready", START_SECONDS, 0.1)
        assert not self._ended(), f"{self.name} ended:\n{self.log.read_text()[-4000:]}"

    def metrics(self) -> str:
        """Return its metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            page: str = answer.read().decode()
        return page

    def ask_to_end(self) -> None:
        """Send SIGTERM."""
        assert self._process is not None, "not started"
        self._process.terminate()

    def wait_for_end(self) -> None:
        """Wait until it has ended; what is left of it after `STOP_SECONDS` is killed."""
        assert self._process is not None, "not started"
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            for process in processes.marked(self._mark):
                processes.kill(process.pid)
            self._process.wait(10)
            self._process = None

    def end(self) -> None:
        """Leave no process."""
        if self._process is not None:
            self.ask_to_end()
            self.wait_for_end()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


class Stage:
    """The running system. `ring` and `other` are its two gateways, as clients of tests.bench want them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.nats = NatsServer(directory / "nats", monitored=True)
        config = directory / "lost.conf"
        config.write_text(LOST_CLUSTER.format(*(free_port() for _ in range(3))))
        self.lost = NatsServer(directory / "lost", config, monitored=True)
        self.ring = Ring(directory / "data", SETTINGS)  # its ports and addresses; the launcher is not used
        self.other = copy.copy(self.ring)
        self._stack = ExitStack()
        self.proxy = self._stack.enter_context(LossyProxy(self.nats.port, LOSS, seed=4))
        second = free_port()
        self.other.websocket_url = f"ws://127.0.0.1:{second}/connection/websocket"
        self.other.gateway_url = f"http://127.0.0.1:{second}"
        self.services: dict[str, Service] = {}
        self._add("auth", "auth_service", self.ring.ports["auth"], self._nats("auth"))
        self._add("chat", "chat_service", self.ring.ports["chat"], self._nats("chat"))
        self._add("gateway-1", "gateway", self.ring.ports["gateway"], self._nats("gateway"))
        behind = {"GATEWAY_PORT": str(second), "NATS_URL": self.proxy.url}
        self._add("gateway-2", "gateway", second, self._nats("gateway") | behind)
        exporter, canary = free_port(), free_port()
        monitored = {
            "NATS_EXPORTER_PORT": str(exporter),
            "NATS_MONITOR_URLS": ",".join(
                f"http://127.0.0.1:{server.monitor_port}" for server in (self.nats, self.lost)
            ),
        }
        self._add("nats-exporter", "observability.nats_exporter", exporter, monitored)
        public = {
            "CANARY_PORT": str(canary),
            "CANARY_URL": self.ring.gateway_url,
            "CANARY_AUTH_URL": self.ring.auth_url,
        }
        self._add("canary", "canary", canary, CANARY | public)

    @property
    def targets(self) -> dict[str, list[str]]:
        """Job of the shipped Prometheus configuration to the addresses that it scrapes here."""
        jobs = {name: name.rstrip("-12") for name in self.services} | {"nats-exporter": "nats"}
        found: dict[str, list[str]] = {}
        for name, service in self.services.items():
            found.setdefault(jobs[name], []).append(f"127.0.0.1:{service.port}")
        return found

    def __enter__(self) -> Self:
        try:
            for server in (self.nats, self.lost):
                self._stack.callback(server.stop)
                server.start()
            for service in self.services.values():
                self._stack.callback(service.end)
                service.start()
            for service in self.services.values():
                service.wait_until_ready()
        except BaseException:  # whatever went wrong, nothing is left behind
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _add(self, name: str, package: str, port: int, settings: dict[str, str]) -> None:
        base = self.ring.settings | {"DATA_DIR": str(self.directory / "data")}
        self.services[name] = Service(name, package, port, base | settings, self.directory)

    def _nats(self, user: str) -> dict[str, str]:
        return self.nats.environment(user)
