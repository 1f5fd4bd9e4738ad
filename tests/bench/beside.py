"""Further gateways beside a ring, each a `python -m gateway` as an operator adds one. Imports nothing of ours."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from types import TracebackType
from typing import Self

from tests.bench import processes
from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT, START_SECONDS, STOP_SECONDS, Ring


class GatewayBeside:
    """One more gateway of `ring`, which reaches NATS at `nats_url`."""

    def __init__(self, ring: Ring, nats_url: str, **settings: str) -> None:
        self.ring = ring
        self.port = free_port()
        self.websocket_url = f"ws://127.0.0.1:{self.port}/connection/websocket"
        self._mark = f"PARLEY_TEST_GATEWAY={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        self._settings = {
            **ring.settings,
            "GATEWAY_PORT": str(self.port),
            "DATA_DIR": str(ring.directory),
            "NATS_URL": nats_url,
            "LOG_FORMAT": "json",
            "GATEWAY_DRAIN_SECONDS": "0",  # tests that end one are in a hurry, unless they say otherwise
            name: value,
            **settings,
        }
        self.internal_port = int(self._settings.get("GATEWAY_INTERNAL_PORT", 0)) or self.port
        self._log = ring.directory / "logs" / f"gateway-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # What the launcher gives its own gateway; nats.env is written when the ring starts.
        lines = (self.ring.directory / "secrets" / "nats.env").read_text().splitlines()
        password = dict(line.split("=", 1) for line in lines)["NATS_GATEWAY_PASSWORD"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gateway"],
                cwd=ROOT,
                env=os.environ | self._settings | {"NATS_PASSWORD": password},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self.ready or self._process.poll() is not None, "a gateway is ready", START_SECONDS)  # type: ignore[union-attr]
            assert self._process.poll() is None, f"the gateway ended:\n{self._log.read_text()}"
        except BaseException:  # whatever went wrong, nothing is left behind
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def ready(self) -> bool:
        """Whether it says that it is ready."""
        return not self.missing()

    def missing(self) -> dict[str, str]:
        """Return what it says is missing; empty when it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.internal_port}/health/ready", timeout=5) as answer:
                answer.read()
            return {}
        except urllib.error.HTTPError as error:
            with error:
                missing: dict[str, str] = json.load(error).get("missing") or {"status": str(error.code)}
            return missing
        except (OSError, ValueError) as error:
            return {"connection": str(error)}

    @property
    def exit_code(self) -> int | None:
        """The exit code of its main process; None while it runs."""
        assert self._process is not None, "not started"
        return self._process.poll()

    @property
    def log(self) -> str:
        """What its processes wrote."""
        return self._log.read_text()

    def signal(self, number: int) -> None:
        """Send a signal to its main process."""
        assert self._process is not None, "not started"
        self._process.send_signal(number)

    def metrics(self) -> str:
        """Return its metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.internal_port}/metrics", timeout=10) as answer:
            page: str = answer.read().decode()
        return page

    def worker_pids(self) -> list[int]:
        """Return the process ids of its workers."""
        assert self._process is not None, "not started"
        return [process.pid for process in processes.marked(self._mark) if process.parent == self._process.pid]

    def _end(self) -> None:
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        finally:
            for process in processes.marked(self._mark):
                processes.kill(process.pid)
            self._process.wait(STOP_SECONDS)
