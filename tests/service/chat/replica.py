"""One chat service as a process, and the asker that stands for a gateway."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Self

import msgspec

from chassis.bus import Bus, Unavailable
from chassis.settings import Settings, environment
from protocol import codes, subjects
from protocol.commands import Answer, Command, Refusal
from protocol.events import User
from tests.bench.nats import ROOT, NatsServer
from tests.bench.ports import free_port, wait_until

ADA = User("ada", "Ada")
BOB = User("bob", "Bob")
GENERAL = "general"


class Replica:
    """One `python -m chat_service`."""

    def __init__(self, directory: Path, nats: NatsServer, settings: dict[str, str]) -> None:
        directory.mkdir(parents=True)
        self.port = free_port()
        self.log = directory / "chat.log"
        own = {"CHAT_PORT": str(self.port), "DATA_DIR": str(directory), "LOG_FORMAT": "json", "LOG_LEVEL": "debug"}
        self._environment = {**environment(), **nats.environment("chat"), **own, **settings}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; return when it is ready."""
        self.launch()
        self.wait_until_ready()
        return self

    def launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it, and return at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "chat_service", *arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._process

    def run(self, *arguments: str) -> None:
        """Run one of its commands beside the service, to the end."""
        done = subprocess.run(
            [sys.executable, "-m", "chat_service", *arguments],
            cwd=ROOT,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        """End it as kill -9 does."""
        assert self._process is not None, "not started"
        self._process.kill()
        self._process.wait(10)

    def end(self) -> None:
        """End it with SIGTERM, by which it has to end in time (uvicorn lets the signal through when all is closed)."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            code = self._process.wait(15)
            assert code in (0, -signal.SIGTERM), f"ended with {code}:\n{self.log.read_text()[-4000:]}"

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def page(self, path: str) -> tuple[int, str]:
        """Return status and body of one of its HTTP pages; status 0 while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def missing(self) -> dict[str, str]:
        """Return what it says is missing."""
        status, body = self.page("/health/ready")
        return json.loads(body)["missing"] if status else {"http": "does not listen"}

    def wait_until_ready(self, seconds: float = 20) -> None:
        """Return when nothing is missing."""
        wait_until(lambda: not self.running or not self.missing(), "the chat service is ready", seconds)
        assert self.running, f"ended:\n{self.log.read_text()[-4000:]}"

    def metric(self, line: str) -> float:
        """Return the value of the metric whose name and labels are `line`; 0 when there is none yet."""
        for found in self.page("/metrics")[1].splitlines():
            name, _, value = found.rpartition(" ")
            if name == line:
                return float(value)
        return 0.0


class Asker:
    """Sends commands as a gateway does, and lets a test retry as a client does."""

    def __init__(self, nats: NatsServer, directory: Path) -> None:
        self.bus = Bus(_settings(nats, "gateway", directory), "gateway")

    async def __aenter__(self) -> Self:
        await self.bus.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.bus.close()

    async def raw(self, method: str, body: bytes, seconds: float = 3) -> Answer:
        """Send a request body as it is; return the answer."""
        message = await self.bus.request(subjects.chat_command(method), body, seconds=seconds)
        return msgspec.json.decode(message.body, type=Answer)

    async def ask(self, user: User, method: str, /, **fields: Any) -> Any:
        """Send one command; return the result as a dict, or the refusal."""
        data = msgspec.Raw(msgspec.json.encode(fields))
        answer = await self.raw(method, msgspec.json.encode(Command(user=user, client="c1", data=data)))
        return answer.refusal if answer.refusal else msgspec.json.decode(answer.result or b"null")

    async def insist(self, user: User, method: str, /, seconds: float = 30, **fields: Any) -> Any:
        """Ask until the answer is not "unavailable", with the same fields, as a client does."""
        end = time.monotonic() + seconds
        while True:
            try:
                answer = await self.ask(user, method, **fields)
                if not (isinstance(answer, Refusal) and answer.code == codes.UNAVAILABLE.code):
                    return answer
            except Unavailable:
                pass
            assert time.monotonic() < end, f"{method} stayed unavailable for {seconds:g} s"
            await asyncio.sleep(0.05)

    async def send(self, user: User, room: str, id: str, text: str = "hello") -> Any:
        """Send one message, once."""
        return await self.ask(user, "message.send", room=room, id=id, text=text)


def _settings(nats: NatsServer, user: str, directory: Path) -> Settings:
    return Settings(
        nats_url=nats.url, nats_user=user, nats_password=nats.passwords[user], data_dir=directory, log_level="warning"
    )


def chat_settings(nats: NatsServer, directory: Path) -> Settings:
    """Return the settings with which a test reads the log as the chat service does."""
    return _settings(nats, "chat", directory)
