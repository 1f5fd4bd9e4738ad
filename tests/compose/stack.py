"""A compose project of its own: brought up on the loopback, watched until all is well, taken away without a trace."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.ports import wait_until

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "parley-check"
FILES = ("docker-compose.yml", "compose/host-network.yml")
ONCE = ("migrate-auth", "migrate-chat")
"""Services that do one thing and end."""
START_SECONDS = 240.0
STOP_SECONDS = 180.0
LABEL = f"label=com.docker.compose.project={PROJECT}"


class CannotRun(Exception):
    """The check cannot run here at all; the text says why. That is a failure, not a reason to pass."""


def docker(*arguments: str, seconds: float = 60, environment: dict[str, str] | None = None) -> str:
    """Return what docker prints; fail with its own words."""
    try:
        run = subprocess.run(
            ["docker", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds
        )
    except FileNotFoundError:
        raise CannotRun("docker is not installed") from None
    assert run.returncode == 0, f"docker {' '.join(arguments)}: {run.stderr.strip()[-2000:] or run.stdout[-2000:]}"
    return run.stdout


class Stack:
    """All containers of docker-compose.yml, on addresses 127.77.0.* (compose/host-network.yml)."""

    websocket_url = "ws://127.77.0.1:8080/connection/websocket"
    gateway_url = "http://127.77.0.1:8080"
    auth_url = "http://127.77.0.1:8080/auth"
    prometheus_url = "http://127.77.0.51:9090"
    alertmanager_url = "http://127.77.0.52:9093"

    def __init__(self, directory: Path, profiles: str = "") -> None:
        self.directory = directory
        self._environment = {
            **os.environ,
            "COMPOSE_PROFILES": profiles,
            "PARLEY_SECRETS": str(directory / "secrets"),
        }

    def compose(self, *arguments: str, seconds: float = 60) -> str:
        """Return what `docker compose` prints for this project; the .env of this machine's operator has no say."""
        files = [word for file in FILES for word in ("--file", file)]
        before = ("compose", "--project-name", PROJECT, "--env-file", str(self.directory / ".env"), *files)
        return docker(*before, *arguments, seconds=seconds, environment=self._environment)

    def check(self) -> None:
        """Raise `CannotRun` when there is no engine, or what another run left behind."""
        try:
            docker("version", "--format", "{{.Server.Version}}")
            docker("compose", "version")
        except AssertionError as error:
            raise CannotRun(f"no engine with compose answers: {error}") from None
        if left := self.left():
            raise CannotRun(f"another run is under way, or left behind: {', '.join(left)}")

    def start(self) -> None:
        """Make secrets, start everything, return when every container is well."""
        subprocess.run([sys.executable, "-m", "deploy.secrets", "--root", str(self.directory)], cwd=ROOT, check=True)
        missing = [name for name in self.images() if not docker("images", "--quiet", name).strip()]
        if missing:
            raise CannotRun(f"no such image here: {', '.join(missing)}; make images, and the stand-ins of CI")
        self.compose("up", "--detach", "--no-build", "--pull", "never", seconds=START_SECONDS)
        self.wait_until_healthy()

    def images(self) -> list[str]:
        """Return the images that this project runs."""
        return sorted(set(self.compose("config", "--images").split()))

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return service to what compose says of its container."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        return {one["Service"]: one for one in map(json.loads, lines)}

    def lacks(self) -> dict[str, str]:
        """Return each service that is not as it should be, and how it is."""
        found = {}
        for service, one in self.containers().items():
            done = one["State"] == "exited" and one["ExitCode"] == 0
            well = one["State"] == "running" and one["Health"] == "healthy"
            if not (done if service in ONCE else well):
                found[service] = f"{one['State']}, {one['Health'] or 'no health'}, exit code {one['ExitCode']}"
        return found

    def wait_until_healthy(self, seconds: float = START_SECONDS) -> None:
        """Return when every container is healthy, and what runs once has ended well."""
        try:
            wait_until(lambda: not self.lacks(), "every container is healthy", seconds, 0.5)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.lacks()}") from None

    def restart(self, service: str) -> float:
        """Stop a container in good order and start it again; return the seconds that took until it was healthy."""
        started = time.monotonic()
        self.compose("restart", service, seconds=STOP_SECONDS)
        self.wait_until_healthy()
        return time.monotonic() - started

    def logs(self, lines: int = 30) -> str:
        """Return the end of what each container said."""
        return self.compose("logs", "--no-color", "--tail", str(lines))

    def stop(self) -> list[str]:
        """Take everything away; return what is left all the same."""
        self.compose("down", "--volumes", "--remove-orphans", seconds=STOP_SECONDS)
        return self.left()

    def left(self) -> list[str]:
        """Return every container, volume and network of the project."""
        asked: dict[str, Callable[[], str]] = {
            "container": lambda: docker("ps", "--all", "--filter", LABEL, "--format", "{{.Names}}"),
            "volume": lambda: docker("volume", "ls", "--filter", LABEL, "--format", "{{.Name}}"),
            "network": lambda: docker("network", "ls", "--filter", LABEL, "--format", "{{.Name}}"),
        }
        return [f"{kind} {name}" for kind, ask in asked.items() for name in ask().split()]
