"""Chat services in processes of their own, on a real nats-server, with SQLite or PostgreSQL under the archive."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.nats import NatsServer
from tests.bench.postgres import Postgres
from tests.service.chat.replica import Asker, Replica


@pytest.fixture
def nats(nats_server: Callable[..., NatsServer]) -> NatsServer:
    """A running nats-server as we ship it: acknowledged means on disk."""
    return nats_server()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Give the URL of a new empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'archive.db'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url()


@pytest.fixture
def replicas(nats: NatsServer, database: str, tmp_path: Path) -> Iterator[Callable[..., Replica]]:
    """Make chat services that share NATS and database: `replicas(CHAT_RECEIPTS="8")` takes settings."""
    made: list[Replica] = []

    def make(**settings: str) -> Replica:
        made.append(Replica(tmp_path / f"chat{len(made)}", nats, {"DATABASE_URL": database, **settings}))
        return made[-1].start()

    yield make
    for replica in made:
        replica.end()


@pytest.fixture
async def asker(nats: NatsServer, tmp_path: Path) -> AsyncIterator[Asker]:
    """A gateway's connection to NATS, which sends commands."""
    async with Asker(nats, tmp_path) as asker:
        yield asker
