"""TLS between the services and NATS: with the right authority, the wrong one, the wrong name, and none."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bench.certificates import Authority
from tests.bench.clients import Frames, eventually, guest
from tests.bench.metrics import metric
from tests.bench.nats import CONFIG, ROOT, NatsServer
from tests.bench.ports import wait_until
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
USERS = {"auth": "auth_service", "chat": "chat_service", "gateway": "gateway"}


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The authority whom the services are to trust."""
    return Authority(tmp_path / "authority", "throw-away")


@pytest.fixture
def encrypted(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., NatsServer]]:
    """Make a nats-server with a certificate for these names: `encrypted("127.0.0.1")`."""
    made: list[NatsServer] = []

    def make(*hosts: str) -> NatsServer:
        certificate, key = authority.certificate(*hosts)
        config = tmp_path / "tls.conf"
        ours = os.path.relpath(CONFIG, tmp_path)  # an include starts at the directory of the file that has it
        config.write_text(f'include "{ours}"\ntls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 5 }}\n')
        made.append(NatsServer(tmp_path / "nats", config))
        return made[-1].start()

    yield make
    for server in made:
        server.stop()


class Services:
    """Some of our services as processes of their own, as containers have them; a `Ring` that runs no NATS."""

    def __init__(self, directory: Path, parts: tuple[str, ...], nats_port: int, **settings: str) -> None:
        self.ring = Ring(directory / "data", {})
        self._parts = parts
        self._directory = directory
        self._settings = {"NATS_URL": f"tls://127.0.0.1:{nats_port}", "LOG_FORMAT": "json", **settings}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, passwords: dict[str, str]) -> None:
        """Start them, and wait for nothing."""
        for part in self._parts:
            own = {"NATS_PASSWORD": passwords[part], "DATA_DIR": str(self._directory / part), "GATEWAY_WORKERS": "1"}
            with (self._directory / f"{part}.log").open("ab") as log:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", USERS[part]],
                        cwd=ROOT,
                        env=os.environ | self.ring.settings | own | self._settings,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                    )
                )

    def missing(self) -> dict[str, dict[str, str]]:
        """Return what each of them says is missing."""
        return {part: missing for part in self._parts if (missing := self.ring.missing(part))}

    def wait_until_ready(self) -> None:
        """Return when nothing is missing."""
        try:
            wait_until(lambda: not self.missing(), "they are ready", 60, 0.1)
        except AssertionError:
            logs = [(self._directory / f"{part}.log").read_text()[-2000:] for part in self._parts]
            raise AssertionError(f"not ready: {self.missing()}\n" + "\n".join(logs)) from None

    def why(self, part: str) -> str:
        """Return what `part` says of its connection to NATS."""
        return self.ring.missing(part).get("nats", "")

    def errors(self, part: str) -> list[str]:
        """Return the reasons that `part` logged for having no connection."""
        lines = [json.loads(line) for line in (self._directory / f"{part}.log").read_text().splitlines()]
        return [line["reason"] for line in lines if line["event"] == "no TLS connection to NATS"]

    def end(self) -> None:
        """End them."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(30)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Callable[..., Services]]:
    """Start services: `services(passwords, port, "chat", NATS_CA_FILE=...)`; all three when none is named."""
    made: list[Services] = []

    def make(passwords: dict[str, str], port: int, *parts: str, **settings: str) -> Services:
        made.append(Services(tmp_path, parts or tuple(USERS), port, **settings))
        made[-1].start(passwords)
        return made[-1]

    yield make
    for one in made:
        one.end()


async def test_everything_goes_on_over_tls(
    encrypted: Callable[..., NatsServer], services: Callable[..., Services], authority: Authority, frames: Open
) -> None:
    """People chat, nats-server is killed and starts again, the same sockets chat on; no service logs an error."""
    nats = encrypted("127.0.0.1")
    with socket.create_connection(("127.0.0.1", nats.port), 5) as plain:
        assert b'"tls_required":true' in plain.recv(4096)
    running = services(nats.passwords, nats.port, NATS_CA_FILE=str(authority.file))
    running.wait_until_ready()
    ann, bob = await frames(running.ring), await frames(running.ring)
    for one in (ann, bob):
        await one.enter((await guest(running.ring)).access)
        await one.follow()
    await ann.say("general", "before")
    nats.restart()
    running.wait_until_ready()
    await ann.say("general", "after")
    await bob.until(lambda: bob.texts() == ["before", "after"], "both messages")
    assert [running.errors(part) for part in USERS] == [[], [], []]


async def test_a_certificate_of_somebody_else_is_refused(
    encrypted: Callable[..., NatsServer], services: Callable[..., Services], authority: Authority, tmp_path: Path
) -> None:
    """Readiness and one line of the log say why; once the file has the right authority the same process is ready."""
    nats = encrypted("127.0.0.1")
    trusted = tmp_path / "trusted.crt"
    shutil.copy(Authority(tmp_path / "other", "throw-away").file, trusted)
    chat = services(nats.passwords, nats.port, "chat", NATS_CA_FILE=str(trusted))
    wait_until(lambda: "certificate is refused" in chat.why("chat"), "the refusal is seen", 30)
    assert chat.why("chat").startswith("no connection to NATS: its certificate is refused: ")

    async def attempts() -> bool:
        kind = "SSLCertVerificationError"
        return await metric(chat.ring, "parley_nats_errors_total", "chat", kind=kind) > 4

    await eventually(attempts, "it tries again", 30)
    assert len(chat.errors("chat")) == 1, "said once, not at every attempt"

    shutil.copy(authority.file, trusted)
    chat.wait_until_ready()
    assert chat.errors("chat")[1:] == []


async def test_a_certificate_that_turns_bad_is_refused_until_it_is_good(
    encrypted: Callable[..., NatsServer], services: Callable[..., Services], authority: Authority, tmp_path: Path
) -> None:
    """A service that was connected tries again, as long as it takes, and ends in time meanwhile."""
    nats = encrypted("127.0.0.1")
    good = nats.config.read_text()
    certificate, key = Authority(tmp_path / "other", "throw-away").certificate("127.0.0.1")
    bad = good[: good.index("tls {")] + f'tls {{ cert_file: "{certificate}", key_file: "{key}", timeout: 5 }}\n'
    chat = services(nats.passwords, nats.port, "chat", NATS_CA_FILE=str(authority.file))
    chat.wait_until_ready()
    for last in (False, True):
        nats.stop()
        nats.config.write_text(bad)
        before = await metric(chat.ring, "parley_nats_errors_total", "chat", kind="SSLCertVerificationError")
        nats.start()

        async def attempts(before: float = before) -> bool:
            kind = "SSLCertVerificationError"
            return await metric(chat.ring, "parley_nats_errors_total", "chat", kind=kind) > before + 4

        await eventually(attempts, "it tries again", 30)
        assert "certificate is refused" in chat.why("chat")
        if not last:
            nats.stop()
            nats.config.write_text(good)
            nats.start()
            chat.wait_until_ready()
    started = time.monotonic()
    chat.end()
    assert time.monotonic() - started < 15


@pytest.mark.parametrize("expected", ["", "nats.example.org"])
def test_the_name_in_the_certificate_counts(
    encrypted: Callable[..., NatsServer], services: Callable[..., Services], authority: Authority, expected: str
) -> None:
    """A certificate for another name is refused, unless that name is the one expected by NATS_TLS_HOSTNAME."""
    nats = encrypted("nats.example.org")
    settings = {"NATS_CA_FILE": str(authority.file), "NATS_TLS_HOSTNAME": expected}
    chat = services(nats.passwords, nats.port, "chat", **settings)
    if expected:
        chat.wait_until_ready()
    else:
        wait_until(lambda: "certificate is not valid for" in chat.why("chat"), "the mismatch is seen", 30)
        assert len(chat.errors("chat")) == 1


def test_a_file_that_cannot_be_read_is_waited_for(
    encrypted: Callable[..., NatsServer], services: Callable[..., Services], authority: Authority, tmp_path: Path
) -> None:
    """Without its authorities a service connects to nobody, says so, and goes on when the file is there."""
    nats = encrypted("127.0.0.1")
    trusted = tmp_path / "later.crt"
    chat = services(nats.passwords, nats.port, "chat", NATS_CA_FILE=str(trusted))
    wait_until(lambda: "NATS_CA_FILE cannot be used" in chat.why("chat"), "it says what is wrong", 30)
    trusted.write_text("no certificate")
    shutil.copy(authority.file, trusted)
    chat.wait_until_ready()


@contextmanager
def pretender() -> Iterator[tuple[int, list[bytes]]]:
    """Answer on a port as a nats-server that knows no TLS; give the port, and what is sent to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(2)
                    info = {"server_id": "x", "version": "2.15.1", "headers": True, "max_payload": 1048576}
                    connection.sendall(b"INFO " + json.dumps({**info, "auth_required": True}).encode() + b"\r\n")
                    try:
                        heard.append(connection.recv(4096))
                    except OSError:
                        heard.append(b"")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1], heard
        finally:
            over.set()
            thread.join(10)


@pytest.mark.parametrize("how", ["the URL", "the file"])
def test_no_password_goes_unencrypted(services: Callable[..., Services], authority: Authority, how: str) -> None:
    """Whoever takes TLS out of what a server offers hears nothing, be it wanted by tls:// or by NATS_CA_FILE."""
    with pretender() as (port, heard):
        by_file = {"NATS_URL": f"nats://127.0.0.1:{port}", "NATS_CA_FILE": str(authority.file)}
        chat = services({"chat": "a-password-of-a-test"}, port, "chat", **(by_file if how == "the file" else {}))
        wait_until(lambda: len(heard) > 3, "it tries again", 30)
        assert chat.why("chat") == "no connection to NATS: the server does not offer TLS"
        assert heard == [b""] * len(heard)
        assert len(chat.errors("chat")) == 1
