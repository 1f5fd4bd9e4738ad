"""Auth services for a test, on each kind of database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from auth_service.settings import Settings
from chassis.bus import Bus
from tests.bench.nats import NatsServer
from tests.bench.ports import free_port
from tests.service.auth.running import Clock, Running, eventually

Services = Callable[..., Awaitable[Running]]


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a new empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/auth.db"
    url: str = request.getfixturevalue("postgres").url()
    return url


@pytest.fixture
def nats(nats_server: Callable[..., NatsServer]) -> NatsServer:
    """A running NATS with the permissions that ship."""
    return nats_server()


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncIterator[Bus]:
    """The connection of a gateway."""
    settings = Settings(nats_url=nats.url, nats_password=nats.passwords["gateway"])
    async with Bus(settings, "gateway") as bus:
        yield bus


@pytest.fixture
def clock() -> Clock:
    """The clock of every replica of the test."""
    return Clock()


@pytest.fixture
async def services(tmp_path: Path, clock: Clock) -> AsyncIterator[Services]:
    """Make replicas: `await services(nats=..., auth_database_url=..., ...)`; without `nats`, NATS is away."""
    made: list[Running] = []

    async def make(nats: NatsServer | None = None, prepared: bool = True, **settings: Any) -> Running:
        # Cheap hashes: what they cost is not what most tests are about.
        cheap: dict[str, Any] = {"auth_argon2_memory_kib": 64, "auth_argon2_passes": 1}
        where: dict[str, Any] = {"nats_url": f"nats://127.0.0.1:{free_port()}"}
        if nats is not None:
            where = {"nats_url": nats.url, "nats_password": nats.passwords["auth"]}
        running = Running(Settings(data_dir=tmp_path, **{**cheap, **where, **settings}), clock)
        await running.start()
        made.append(running)
        needed = {"database", "keys"} | ({"nats"} if nats is not None else set())
        if prepared:

            async def ready() -> bool:
                return not needed & set(await running.missing())

            await eventually(ready, "the service is ready")
        return running

    yield make
    for running in reversed(made):
        await running.end()


@pytest.fixture
async def auth(services: Services) -> Running:
    """One service on SQLite."""
    return await services()


@pytest.fixture
async def stored(services: Services, database_url: str) -> Running:
    """One service on each kind of database."""
    return await services(auth_database_url=database_url)
