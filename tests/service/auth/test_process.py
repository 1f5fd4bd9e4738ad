"""The service as it is started: `python -m auth_service`, a real socket, SIGTERM."""

import asyncio
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.bench.nats import NatsServer
from tests.bench.ports import free_port
from tests.service.auth.running import bearer, eventually, good, refused


class Process:
    """`python -m auth_service` with settings; `client` asks it over HTTP."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.port = free_port()
        self.log = directory / "auth.log"
        self.settings = {
            "PATH": "/usr/bin:/bin",
            "AUTH_PORT": str(self.port),
            "DATA_DIR": str(directory / "data"),
            "LOG_LEVEL": "debug",
            **settings,
        }
        self.client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}")

    async def __aenter__(self) -> "Process":
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "auth_service"),
                stdout=log,
                stderr=log,
                env=self.settings,
                cwd=Path(__file__).parents[3],
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def answers(self, path: str, status: int = 200) -> None:
        """Return when GET `path` is answered with `status`."""

        async def does() -> bool:
            try:
                return (await self.client.get(path)).status_code == status
            except httpx.TransportError:
                assert self.process.returncode is None, self.log.read_text()
                return False

        await eventually(does, f"{path} answers {status}", 30)

    async def end(self) -> None:
        """End it as Kubernetes does: it ends in time, of that signal, which uvicorn raises again after its shutdown."""
        self.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(self.process.wait(), 15) in (0, -signal.SIGTERM)


async def test_logs_say_no_secret(tmp_path: Path, nats_server: Callable[..., NatsServer]) -> None:
    """No line, at the most talkative level, carries a token, a ticket, a password or a name."""
    async with Process(tmp_path, **nats_server().environment("auth")) as auth:
        await auth.answers("/health/ready")
        person = {"username": "annabella", "password": "a very private phrase"}
        tokens = good(await auth.client.post("/auth/register", json=person))
        guest = good(await auth.client.post("/auth/guest", json={"name": "Zacharias Unlogged"}))
        refused(await auth.client.post("/auth/register", json=person), 409, "username_taken")
        wrong = await auth.client.post("/auth/login", json={**person, "password": "a very wrong phrase"})
        refused(wrong, 401, "invalid_credentials")
        bad = await auth.client.post("/auth/register", json={**person, "username": "bad name here"})
        refused(bad, 422, "invalid_request")
        asked = await auth.client.get(f"/auth/me?access_token={tokens['access_token']}")
        refused(asked, 401, "invalid_token")
        mine = bearer(tokens["access_token"])
        ticket = good(await auth.client.post("/auth/tickets", headers=mine))["ticket"]
        refreshed = good(await auth.client.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
        refused(await auth.client.get("/auth/me", headers=bearer(tokens["access_token"] + "x")), 401, "invalid_token")
        left = await auth.client.post("/auth/logout", json={"refresh_token": guest["refresh_token"]})
        assert left.status_code == 204
        page = (await auth.client.get("/metrics")).text
        await auth.end()
    written = auth.log.read_text() + page
    assert "session opened" in written
    assert "Traceback" not in written
    secrets = [answer[kind] for answer in (tokens, guest, refreshed) for kind in ("access_token", "refresh_token")]
    for secret in [*secrets, ticket, "private phrase", "wrong phrase", "annabella", "Zacharias", "bad name", "$argon2"]:
        assert secret not in written


async def test_metrics_have_no_ids(tmp_path: Path) -> None:
    """Many people make no more series than few."""
    async with Process(tmp_path) as auth:
        await auth.answers("/.well-known/jwks.json")

        async def series() -> set[str]:
            lines = (await auth.client.get("/metrics")).text.splitlines()
            return {re.sub(r" [^ ]+$", "", line) for line in lines if line.startswith("parley_")}

        for number in range(3):
            await auth.client.post("/auth/guest", json={"name": f"Guest {number}"})
            await auth.client.get("/metrics")
        few = await series()
        for number in range(30):
            await auth.client.post("/auth/guest", json={"name": f"Guest {number}"})
        assert await series() == few


async def test_lives_without_nats_and_ends(tmp_path: Path) -> None:
    """Without NATS it serves all that needs none, is not ready, and ends in time."""
    async with Process(tmp_path, NATS_PORT=str(free_port())) as auth:
        await auth.answers("/.well-known/jwks.json")
        tokens = good(await auth.client.post("/auth/guest", json={"name": "Guest"}))
        assert (await auth.client.get("/auth/me", headers=bearer(tokens["access_token"]))).status_code == 200
        await auth.answers("/health/ready", 503)
        await auth.end()


async def test_ends_while_nats_is_lost(tmp_path: Path, nats_server: Callable[..., NatsServer]) -> None:
    """A service that has lost NATS still ends in time, without a traceback."""
    nats = nats_server()
    async with Process(tmp_path, **nats.environment("auth")) as auth:
        await auth.answers("/health/ready")
        nats.kill()
        await auth.answers("/health/ready", 503)
        await auth.end()
    assert "Traceback" not in auth.log.read_text()


@pytest.mark.parametrize(
    ("name", "value"),
    [("AUTH_ACCESS_SECONDS", "3600"), ("AUTH_KEY_PREPUBLISH_SECONDS", "10"), ("AUTH_ARGON2_RUNNING", "none")],
)
async def test_bad_setting(tmp_path: Path, name: str, value: str) -> None:
    """A setting that cannot be used ends the start with one line that names it."""
    async with Process(tmp_path, **{name: value}) as auth:
        assert await asyncio.wait_for(auth.process.wait(), 30) == 2
    (line,) = auth.log.read_text().splitlines()
    assert line.startswith(f"parley: bad setting {name}=")
