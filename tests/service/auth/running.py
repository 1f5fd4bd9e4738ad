"""A running auth service inside the test's own process: real application, database and NATS, a clock that can jump."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

import httpx

from auth_service.app import create
from auth_service.endpoints import Parts
from auth_service.settings import Settings

PASSWORD = "a long enough phrase"


class Clock:
    """Seconds since the epoch; `ahead` moves it on without waiting."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Running:
    """One replica. `client` asks it over HTTP, without a socket between."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.app = create(settings, clock)
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://auth.test")
        self._stack = AsyncExitStack()

    @property
    def parts(self) -> Parts:
        """The parts that its endpoints work with."""
        parts: Parts = self.app.state.parts
        return parts

    async def start(self) -> Self:
        """Start it; returns at once, as uvicorn's start does."""
        await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        return self

    async def end(self) -> None:
        """End it as SIGTERM does."""
        await self.client.aclose()
        await self._stack.aclose()

    async def missing(self) -> dict[str, str]:
        """What its readiness says is missing."""
        missing: dict[str, str] = (await self.client.get("/health/ready")).json()["missing"]
        return missing

    async def post(self, path: str, body: Any = None, token: str = "") -> httpx.Response:
        """POST `body` as JSON, with `token` as access token."""
        return await self.client.post(path, json=body, headers=bearer(token))

    async def me(self, token: str) -> httpx.Response:
        """GET /auth/me with `token`."""
        return await self.client.get("/auth/me", headers=bearer(token))

    async def register(self, username: str = "ann", password: str = PASSWORD) -> dict[str, Any]:
        """Register, and return the tokens."""
        return good(await self.post("/auth/register", {"username": username, "password": password}))

    async def login(self, username: str = "ann", password: str = PASSWORD) -> httpx.Response:
        """Try to log in."""
        return await self.post("/auth/login", {"username": username, "password": password})

    async def guest(self, name: str = "Guest") -> dict[str, Any]:
        """Sign a guest in, and return the tokens."""
        return good(await self.post("/auth/guest", {"name": name}))

    async def refresh(self, token: str) -> httpx.Response:
        """Try to refresh."""
        return await self.post("/auth/refresh", {"refresh_token": token})


def bearer(token: str) -> dict[str, str]:
    """The header that carries an access token; none for none."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def good(response: httpx.Response) -> dict[str, Any]:
    """The JSON of an answer that must be 200."""
    assert response.status_code == 200, response.text
    body: dict[str, Any] = response.json()
    return body


def refused(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem of an answer that must be this refusal, in the one shape that all have."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    problem: dict[str, Any] = response.json()
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    if status in (429, 503):
        assert int(response.headers["retry-after"]) >= 1
    return problem


async def eventually(condition: Callable[[], Any], what: str, seconds: float = 15) -> None:
    """Return as soon as `condition()`, awaited, is true; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.02)
