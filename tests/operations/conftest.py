"""Servers and services of one test, each ended with it."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.bench.cluster import Cluster
from tests.bench.fleet import Fleet

_running: list[Fleet] = []


@pytest.fixture
def fleets(tmp_path: Path) -> Iterator[Callable[..., Fleet]]:
    """Make services: `fleets(nats_url, passwords, gateways=2, **settings).start()`."""
    made: list[Fleet] = []

    def make(nats_url: str, passwords: dict[str, str], **options: object) -> Fleet:
        made.append(Fleet(tmp_path / f"fleet{len(made)}", nats_url, passwords, **options))  # type: ignore[arg-type]
        _running.append(made[-1])
        return made[-1]

    yield make
    for fleet in made:
        fleet.end()
        _running.remove(fleet)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three nodes of NATS, not started."""
    made = Cluster(tmp_path / "nats")
    yield made
    made.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the services that run while a test fails."""
    report = yield
    if report.failed:
        report.sections += [(f"logs of {fleet.directory}", fleet.logs()) for fleet in _running]
    return report
