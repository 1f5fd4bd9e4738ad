"""A real nats-server with the configuration that ships, on a free port."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tests.bench.ports import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "nats" / "nats.conf"


def program() -> str:
    """Return the path of nats-server: beside this Python, else from PATH."""
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    assert found, "nats-server is missing: install requirements/server.txt"
    return found


class NatsServer:
    """One nats-server. `kill` and `start` keep port, store and passwords."""

    def __init__(
        self,
        directory: Path,
        config: Path = CONFIG,
        port: int | None = None,
        monitored: bool = False,
        host: str = "127.0.0.1",
    ) -> None:
        """`host` is where it listens: other than loopback only in a network of a test's own."""
        self.directory = directory
        self.config = config
        self.host = host
        self.port = port or free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self.monitor_port = free_port() if monitored else 0
        self.passwords = {user: f"{user}-password-of-a-test" for user in ("gateway", "auth", "chat", "operator")}
        self.log = directory / "nats.log"
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def environment(self, user: str) -> dict[str, str]:
        """Return the settings with which the service `user` finds this server."""
        return {
            "NATS_URL": self.url,
            "NATS_PORT": str(self.port),
            "NATS_USER": user,
            "NATS_PASSWORD": self.passwords[user],
        }

    def start(self) -> "NatsServer":
        """Start the server and return when it takes connections."""
        assert not self.running, "runs already"
        environment = {
            **os.environ,
            "NATS_HOST": f'"{self.host}"',
            "NATS_PORT": str(self.port),
            "NATS_STORE_DIR": f'"{self.directory / "store"}"',
            **{f"NATS_{user.upper()}_PASSWORD": f'"{password}"' for user, password in self.passwords.items()},
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program(), "--config", str(self.config), *self._monitoring()],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: self._answers() or not self.running, "nats-server takes connections")
        assert self.running, f"nats-server ended:\n{self.log.read_text()}"
        return self

    def kill(self) -> None:
        """End it as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def stop(self) -> None:
        """End it with SIGTERM."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def restart(self) -> None:
        """Kill it, and start it again on the same port and store."""
        self.kill()
        self.start()

    def _monitoring(self) -> list[str]:
        return ["--http_port", str(self.monitor_port)] if self.monitor_port else []

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as connection:
                return connection.recv(5) == b"INFO "
        except OSError:
            return False
