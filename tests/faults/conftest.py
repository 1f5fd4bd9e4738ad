"""Rows: chosen by name and set, told what to send, their figures gathered, their sum printed last."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.faults.crowd import Crowd
from tests.faults.report import Report, total
from tests.faults.rows import KINDS, Row
from tests.faults.stage import Stage

Enter = Callable[..., Awaitable[Crowd]]
ROWS = pytest.StashKey[list[Row]]()
DONE = pytest.StashKey[dict[str, Any]]()
"""Rows that an earlier run has done: name to line of the report."""
PASSED = pytest.StashKey[bool]()
PROGRESS_SECONDS = 15


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what `python -m tests.faults` passes on."""
    group = parser.getgroup("faults")
    group.addoption("--set", default="all", choices=("all", "short"), help="which rows, and how long they take")
    group.addoption("--row", action="append", default=[], help="run rows whose name begins so")
    group.addoption("--messages", type=int, help="messages of each row, instead of what its set says")
    group.addoption("--report", type=Path, help="append a line of JSON for each row to this file")
    group.addoption("--resume", action="store_true", help="leave out rows that the report has as kept")


def pytest_configure(config: pytest.Config) -> None:
    """Know the marks."""
    config.addinivalue_line("markers", "short: part of the short set")
    config.addinivalue_line("filterwarnings", "ignore:datetime.datetime.utcnow:DeprecationWarning:nats")
    config.stash[ROWS] = []
    short = config.getoption("--set") == "short"
    green = Report(config.getoption("--report")).green(config.getoption("--messages"), short)
    config.stash[DONE] = green if config.getoption("--resume") else {}


def name_of(item: pytest.Item) -> str:
    """Return a row's name: its function's without test_, and its parameters."""
    return item.name.removeprefix("test_")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the rows that were asked for."""
    wanted = tuple(config.getoption("--row"))
    short = config.getoption("--set") == "short" and not wanted
    asked = [
        item
        for item in items
        if name_of(item).startswith(wanted or "") and (not short or item.get_closest_marker("short"))
    ]
    done = config.stash[DONE]
    config.stash[DONE] = {name_of(item): done[name_of(item)] for item in asked if name_of(item) in done}
    left = [item for item in asked if name_of(item) not in done]
    config.hook.pytest_deselected(items=[item for item in items if item not in left])
    items[:] = left


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Call it well when nothing was left to do."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.config.stash[DONE]:
        session.exitstatus = pytest.ExitCode.OK


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the sum of all rows, as the last line of all."""
    rows = config.stash.get(ROWS, [])
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not config.option.collectonly:
        done = config.stash.get(DONE, {})
        for name, line in done.items():
            terminal.write_line(f"{name}: acknowledged {line['acknowledged']}, at {line['at']}, from the report")
        for row in rows:
            terminal.write_line(row.line())
        lines = [(line["acknowledged"], Counter({kind: line[kind] for kind in KINDS})) for line in done.values()]
        terminal.write_line(total(lines + [(row.acknowledged, row.counted) for row in rows]))


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """What this row is told, and tells."""
    config = request.config
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    capture: Any = config.pluginmanager.get_plugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(text, flush=True)

    short = config.getoption("--set") == "short"
    made = Row(name_of(request.node), short, config.getoption("--messages"), say)
    config.stash[ROWS].append(made)
    number = len(config.stash[ROWS]) + len(config.stash[DONE])
    of = request.session.testscollected + len(config.stash[DONE])
    say(f"{made.name} ... row {number} of {of}")
    yield made
    say(f"  {made.line()}")
    made.close()


@pytest_asyncio.fixture
async def enter(row: Row) -> AsyncIterator[Enter]:
    """Make crowds that leave with the row: `await enter(stage)`."""
    made: list[Crowd] = []

    async def make(stage: Stage, **options: Any) -> Crowd:
        made.append(row.crowd(stage, **options))
        return await made[-1].enter()

    async def tell() -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            row.say(row.progress())

    telling = asyncio.create_task(tell())
    yield make
    telling.cancel()
    for crowd in made:
        await crowd.leave()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One system for the rows of a module, which leave it whole and ready."""
    with Stage(tmp_path_factory.mktemp("stage")) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Write down what came of a row, and show the logs of the services when it fails."""
    report = yield
    if report.when == "call":
        item.stash[PASSED] = report.passed
    row = getattr(item, "funcargs", {}).get("row")
    if report.when == "teardown" and row is not None:
        Report(item.config.getoption("--report")).add(row, item.stash.get(PASSED, False) and report.passed)
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Stage):
                report.sections.append(("logs", value.fleet.logs(8)))
    return report
