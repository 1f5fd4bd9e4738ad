"""What every test may use: real servers from the test bench, each ended with the test that asked for it."""

import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.bench.nats import NatsServer
from tests.bench.ports import free_port as any_free_port
from tests.bench.postgres import Postgres
from tests.bench.ring import Ring


def pytest_configure() -> None:
    """End at SIGTERM as at Ctrl-C: with the fixtures' servers stopped."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


BLACK_BOXES = {"system", "page", "operations", "faults", "security"}
"""Folders of tests in whose process nothing of ours runs, only clients of others' making."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Blame no test for sockets that client libraries leave to the garbage collector, which may come tests later."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in BLACK_BOXES:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


# Under nohup a closed terminal is ignored, by children too; here it is one of the things to be tried.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Give ports that nobody listens on: `free_port()`."""
    return any_free_port


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Callable[..., NatsServer]]:
    """Make running nats-servers with nats/nats.conf: `nats_server()`; each has a store of its own."""
    made: list[NatsServer] = []

    def make(**options: object) -> NatsServer:
        server = NatsServer(tmp_path / f"nats{len(made)}", **options)  # type: ignore[arg-type]
        made.append(server)
        return server.start()

    yield make
    for server in made:
        server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One PostgreSQL for the whole run; `postgres.url()` makes a new database in it."""
    cluster = Postgres()
    try:
        yield cluster.start()
    finally:
        cluster.remove()


@pytest.fixture
def rings(tmp_path: Path) -> Iterator[Callable[..., Ring]]:
    """Make whole systems for one test: `rings(GATEWAY_WORKERS="1").start()`; takes further settings."""
    made: list[Ring] = []

    def make(directory: Path | None = None, **settings: str) -> Ring:
        made.append(Ring(directory or tmp_path / f"ring{len(made)}", settings))
        return made[-1]

    yield make
    for ring in reversed(made):
        ring.end()


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system for the tests of a module, which leave it whole and ready."""
    whole = Ring(tmp_path_factory.mktemp("ring") / "data", {})
    try:
        yield whole.start()
    finally:
        whole.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the rings that run while a test fails."""
    report = yield
    if report.failed:
        report.sections += [(f"logs of {ring.directory}", ring.logs()) for ring in Ring.running]
    return report
