"""The whole system as an operator has it: `python -m launcher` with its children, from outside.

Imports nothing of ours; knows the settings, the ready line and the health pages that the docs promise.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import ClassVar

from tests.bench import processes
from tests.bench.ports import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60
STOP_SECONDS = 60
COMMANDS = {
    "nats": "nats-server",
    "auth": "-m auth_service",
    "chat": "-m chat_service",
    "gateway": "-m gateway",
}
"""Name of each part to what its command line holds."""


class Ring:
    """One running system on free ports. `start` again after `stop` finds the same ports and the same directory."""

    running: ClassVar[list["Ring"]] = []

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self.directory = directory
        self.ports = {part: free_port() for part in COMMANDS}
        self.settings = {f"{part.upper()}_PORT": str(port) for part, port in self.ports.items()} | settings
        self.page_url = f"http://localhost:{self.ports['gateway']}"
        self.gateway_url = f"http://127.0.0.1:{self.ports['gateway']}"
        self.auth_url = f"http://127.0.0.1:{self.ports['auth']}/auth"
        self.chat_url = f"http://127.0.0.1:{self.ports['chat']}"
        self.websocket_url = f"ws://127.0.0.1:{self.ports['gateway']}/connection/websocket"
        self.launcher: subprocess.Popen[bytes] | None = None
        self._mark = f"PARLEY_TEST_RING={uuid.uuid4().hex}"
        directory.parent.mkdir(parents=True, exist_ok=True)
        self._output = directory.parent / f"{directory.name}-launcher.log"

    def launch(self, *options: str) -> "Ring":
        """Start the launcher, and return without waiting for anything."""
        name, _, value = self._mark.partition("=")
        own = {"DATA_DIR": str(self.directory), name: value, "PYTHONUNBUFFERED": "1"}
        inherited = {key: value for key, value in os.environ.items() if key not in self.settings}
        with self._output.open("wb") as output:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "launcher", *options],
                cwd=ROOT,
                env=inherited | own | {key: value for key, value in self.settings.items() if value},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        Ring.running.append(self)
        return self

    def start(self) -> "Ring":
        """Start everything; return when the launcher says that it is ready."""
        self.launch()
        wait_until(
            lambda: "is ready" in self.output or self.exit_code is not None,
            "the ring is ready",
            START_SECONDS,
        )
        assert self.exit_code is None, f"the launcher ended with {self.exit_code}:\n{self.output}\n{self.logs()}"
        return self

    @property
    def output(self) -> str:
        """What the launcher printed so far."""
        return self._output.read_text() if self._output.exists() else ""

    @property
    def exit_code(self) -> int | None:
        """The launcher's exit code; None while it runs."""
        return self.launcher.poll() if self.launcher else None

    def wait_for_exit(self, seconds: float = STOP_SECONDS) -> int:
        """Return the launcher's exit code, once it has ended by itself."""
        assert self.launcher is not None, "not started"
        return self.launcher.wait(seconds)

    def signal(self, number: int) -> None:
        """Send a signal to the launcher alone, as a terminal's Ctrl-C reaches it."""
        assert self.launcher is not None, "not started"
        self.launcher.send_signal(number)

    def stop(self) -> None:
        """Press Ctrl-C; the launcher has to end with 0 and to leave no process."""
        self.signal(signal.SIGINT)
        code = self.wait_for_exit()
        assert code == 0, f"the launcher ended with {code}:\n{self.output}"
        assert not self.processes(), f"left behind: {self.processes()}"
        self._ended()

    def end(self) -> None:
        """Leave no process, whatever state the test left; a ring that still runs has to stop by the rules."""
        try:
            if self.launcher is not None and self.exit_code is None:
                self.stop()
            left = self.processes()
            assert not left, f"left behind: {left}"
        finally:
            for process in self.processes():
                processes.kill(process.pid)
            self._ended()

    def processes(self) -> list[processes.Process]:
        """Return every living process of this ring, the launcher included."""
        return processes.marked(self._mark)

    def pid_of(self, part: str) -> int:
        """Return the process id of `part` (nats, auth, chat, gateway): for gateway that of gunicorn's main process."""
        assert self.launcher is not None, "not started"
        found = [p.pid for p in self.processes() if COMMANDS[part] in p.command and p.parent == self.launcher.pid]
        assert len(found) == 1, f"{part} runs {len(found)} times: {self.processes()}"
        return found[0]

    def worker_pids(self) -> list[int]:
        """Return the process ids of the gateway's workers."""
        main = self.pid_of("gateway")
        return [process.pid for process in self.processes() if process.parent == main]

    def kill(self, part: str) -> int:
        """Kill one part with signal 9; return the process id it had. The launcher starts it again."""
        pid = self.pid_of(part)
        processes.kill(pid)
        return pid

    def missing(self, part: str) -> dict[str, str]:
        """Return what `part` (auth, chat, gateway) says is missing; empty when it is ready."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[part]}/health/ready", timeout=5) as answer:
                answer.read()
            return {}
        except urllib.error.HTTPError as error:
            with error:
                missing: dict[str, str] = json.load(error).get("missing") or {"status": str(error.code)}
            return missing
        except (OSError, ValueError) as error:
            return {"connection": str(error)}

    def wait_until_ready(self, seconds: float = START_SECONDS) -> None:
        """Return when every part answers that it is ready."""
        parts = [part for part in self.ports if part != "nats"]
        wait_until(lambda: not any(self.missing(part) for part in parts), "every part is ready", seconds, 0.1)

    def logs(self, lines: int = 40) -> str:
        """Return the end of the launcher's output and of each part's log."""
        files = [self._output, *sorted(self.directory.glob("logs/*.log"))]
        ends = {file.name: file.read_text(errors="replace").splitlines()[-lines:] for file in files if file.exists()}
        return "\n".join(f"--- {name}\n" + "\n".join(end) for name, end in ends.items())

    def _ended(self) -> None:
        if self in Ring.running:
            Ring.running.remove(self)
