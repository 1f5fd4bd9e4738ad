"""The services as an operator runs them, each a process of its own, on NATS and databases that the test chooses.

Has the addresses of a `Ring`, so people and raw clients connect to it in the same way. Imports nothing of ours.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tests.bench.ports import free_port, wait_until
from tests.bench.ring import ROOT

START_SECONDS = 60
_PACKAGES = {"auth": "auth_service", "chat": "chat_service", "gateway": "gateway"}


class Service:
    """One process. `start` after `kill` or `stop` finds the same port and the same settings."""

    def __init__(self, name: str, directory: Path, settings: dict[str, str]) -> None:
        self.name = name
        self.kind = name.partition("-")[0]
        self.port = free_port()
        self.log = directory / f"{name}.log"
        self.tree = ROOT
        """Where its code is: another release may be started as well."""
        self._settings = settings | {f"{self.kind.upper()}_PORT": str(self.port), "DATA_DIR": str(directory / name)}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None, "not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self, **changed: str) -> None:
        """Start it, with other settings from now on; return without waiting."""
        self._settings |= changed
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", _PACKAGES[self.kind]],
                cwd=self.tree,
                env=os.environ | {name: value for name, value in self._settings.items() if value},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def run(self, *arguments: str, seconds: float = 60) -> str:
        """Run one of its commands to its end; return what it printed."""
        return command(_PACKAGES[self.kind], *arguments, settings=self._settings, seconds=seconds)

    def missing(self) -> dict[str, str]:
        """Return what it says is missing; empty when it is ready."""
        try:
            with urllib.request.urlopen(f"{self.url}/health/ready", timeout=5) as answer:
                answer.read()
            return {}
        except urllib.error.HTTPError as error:
            with error:
                missing: dict[str, str] = json.load(error).get("missing") or {"status": str(error.code)}
            return missing
        except (OSError, ValueError) as error:
            return {"connection": str(error)}

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when it says that it is ready."""
        wait_until(lambda: not self.running or not self.missing(), f"{self.name} is ready", seconds, 0.1)
        assert self.running, f"{self.name} ended:\n{self.log.read_text()[-4000:]}"

    def kill(self) -> None:
        """End it as kill -9 does, with its workers, as when a container is killed."""
        assert self._process is not None, "not started"
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        """End it with SIGTERM; kill it when it does not end in time, and say so."""
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@dataclass(frozen=True)
class Door:
    """Where clients come in: the addresses of a `Ring`."""

    websocket_url: str
    gateway_url: str
    auth_url: str


class Fleet:
    """One auth service, `chats` chat services and `gateways` gateways of one worker each."""

    def __init__(
        self,
        directory: Path,
        nats_url: str,
        passwords: dict[str, str],
        *,
        gateways: int = 2,
        chats: int = 1,
        **settings: str,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.passwords = passwords
        others = [f"chat-{number}" for number in range(2, chats + 1)]
        names = ["auth", "chat", *others, *(f"gateway-{number}" for number in range(1, gateways + 1))]
        common = {
            "NATS_URL": nats_url,
            "LOG_FORMAT": "json",
            "GATEWAY_WORKERS": "1",
            "GATEWAY_DRAIN_SECONDS": "1",
            "GATEWAY_DRAIN_DELAY_SECONDS": "0",
            "AUTH_ADDRESS_GUEST_BURST": "0",
            "AUTH_ADDRESS_PASSWORD_BURST": "0",
            "PUBLIC_WEBSOCKET_URL": "ws://127.0.0.1/connection/websocket",
        }
        self.services: dict[str, Service] = {}
        for name in names:
            kind = name.partition("-")[0]
            own = {"NATS_USER": kind, "NATS_PASSWORD": passwords[kind]}
            if kind == "gateway":
                own["JWKS_URL"] = f"{self.services['auth'].url}/.well-known/jwks.json"
            self.services[name] = Service(name, directory, common | own | settings)
        self.auth_url = f"{self.services['auth'].url}/auth"
        self.chat_url = self.services["chat"].url
        self.gateway_url = self.doors[0].gateway_url
        self.websocket_url = self.doors[0].websocket_url

    @property
    def gateways(self) -> list[Service]:
        """The gateways."""
        return [service for service in self.services.values() if service.kind == "gateway"]

    @property
    def doors(self) -> list[Door]:
        """Where clients of each gateway come in."""
        return [
            Door(f"ws://127.0.0.1:{one.port}/connection/websocket", one.url, self.auth_url) for one in self.gateways
        ]

    def start(self) -> "Fleet":
        """Start every service; return when all are ready."""
        for service in self.services.values():
            service.start()
        self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Return when every service says that it is ready."""
        for service in self.services.values():
            service.wait_until_ready()

    def operate(self, module: str, *arguments: str, nats_url: str = "") -> str:
        """Run an operator's command (`deploy.backup`, `deploy.streams`) to its end; return what it printed."""
        settings = {
            "NATS_URL": nats_url or self.services["chat"]._settings["NATS_URL"],
            "NATS_USER": "operator",
            "NATS_PASSWORD": self.passwords["operator"],
            "NATS_REPLICAS": self.services["chat"]._settings.get("NATS_REPLICAS", "1"),
        }
        return command(module, *arguments, settings=settings)

    def stop(self) -> None:
        """End every service in good order, gateways first."""
        for service in reversed(self.services.values()):
            service.stop()

    def end(self) -> None:
        """Leave no process, whatever state the test left."""
        for service in self.services.values():
            if service.running:
                service.kill()

    def logs(self, lines: int = 30) -> str:
        """Return the end of each service's log."""
        files = [service.log for service in self.services.values() if service.log.exists()]
        return "\n".join(
            f"--- {file.name}\n" + "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) for file in files
        )


def command(module: str, *arguments: str, settings: dict[str, str], seconds: float = 60) -> str:
    """Run `python -m module arguments` to its end; return what it printed, fail when its exit code is not 0."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{module} {arguments} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout
