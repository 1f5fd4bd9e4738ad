"""A canary beside a ring: `python -m canary` as a process of its own, read from outside. Imports nothing of ours."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

import httpx

from tests.bench.clients import eventually, http
from tests.bench.metrics import total
from tests.bench.ports import free_port
from tests.bench.ring import ROOT, Ring

STOP_SECONDS = 10
RECEIVERS = 2
BROKEN = ("lost", "duplicated", "reordered", "late")


class Canary:
    """One running canary, quick by default: ten messages a second, judged after two."""

    def __init__(self, directory: Path, ring: Ring, url: str = "", **settings: str) -> None:
        """`url` is the public address, when it is not the gateway's own."""
        self.port = free_port()
        self.log = directory / f"canary-{self.port}.log"
        self.settings = {
            "CANARY_URL": url or ring.gateway_url,
            "CANARY_AUTH_URL": ring.auth_url,
            "CANARY_PORT": str(self.port),
            "CANARY_RECEIVERS": str(RECEIVERS),
            "CANARY_INTERVAL_SECONDS": "0.1",
            "CANARY_LOST_AFTER_SECONDS": "2",
            "CANARY_RETRY_SECONDS": "0.2",
            "CANARY_ANSWER_SECONDS": "3",
            "LOG_FORMAT": "json",
        } | settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "canary"],
                cwd=ROOT,
                env=os.environ | self.settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def stop(self) -> int:
        """Send SIGTERM; return the exit code, which has to come soon."""
        assert self._process is not None, "not started"
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def end(self) -> None:
        """Leave no process, whatever state the test left."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    async def page(self) -> str:
        """Return its metrics page; empty while it does not answer yet."""
        assert self._process is not None, "not started"
        assert self._process.poll() is None, f"the canary ended with {self._process.returncode}:\n{self.tail()}"
        try:
            return (await http("GET", f"http://127.0.0.1:{self.port}/metrics")).text
        except httpx.TransportError:
            return ""

    async def figure(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples, its name without the prefix of the canary's."""
        return total(await self.page(), f"parley_canary_{name}", **labels)

    async def broken(self) -> dict[str, float]:
        """Return how often each promise was broken; empty when none was."""
        page = await self.page()
        assert page, "no metrics page"
        return {what: found for what in BROKEN if (found := total(page, f"parley_canary_{what}_total"))}

    async def health(self, which: str = "ready") -> int:
        """Return the status of a health page; 0 while there is no answer."""
        try:
            return (await http("GET", f"http://127.0.0.1:{self.port}/health/{which}")).status_code
        except httpx.TransportError:
            return 0

    async def until(self, name: str, at_least: float, seconds: float = 30, **labels: str) -> float:
        """Return the figure as soon as it is at least that."""
        found = 0.0

        async def reached() -> bool:
            nonlocal found
            found = await self.figure(name, **labels)
            return found >= at_least

        await eventually(reached, f"canary: {name} {labels or ''} is at least {at_least:g}", seconds, 0.1)
        return found

    async def chats(self, messages: int = 30, seconds: float = 30) -> None:
        """Return when that many more messages were sent, and all of what was sent so far has been judged."""
        await self.until("sent_total", await self.figure("sent_total") + messages, seconds)

    def tail(self) -> str:
        """Return the end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""
