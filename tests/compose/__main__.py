"""`python -m tests.compose`: bring the stack up, chat, watch, restart gateways under load, tear down.

Needs the images of `make images`, and all others that docker-compose.yml names, on an engine that runs them. What
cannot run is a failure. Grafana is left out, and the table says so: where this runs, nobody has its image.
"""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from centrifuge import ReplyError

from tests.bench.clients import eventually, guest
from tests.bench.people import person
from tests.compose import front, rolling, watch
from tests.compose.stack import CannotRun, Stack

T = TypeVar("T")
EXIT_CANNOT_RUN = 2
WIDTH = 22


@dataclass
class Row:
    """One step, for the table at the end."""

    step: str
    well: bool
    seconds: float
    lines: list[str]


class Report:
    """Runs steps, and keeps what they say."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def run(self, name: str, step: Callable[[], list[str]]) -> None:
        """Run one step; a failure is kept and raised."""
        print(f"compose: {name} ...", flush=True)
        started = time.monotonic()
        try:
            lines = step()
        except AssertionError as error:
            self._keep(Row(name, False, time.monotonic() - started, str(error).splitlines()))
            raise
        self._keep(Row(name, True, time.monotonic() - started, lines))

    def _keep(self, row: Row) -> None:
        self.rows.append(row)
        self._print(row)

    def table(self) -> None:
        """Print every step again, below one another."""
        print("\ncompose: summary")
        for row in self.rows:
            self._print(row)
        print("compose: NOT TRIED: grafana (no stand-in of its image); networks of docker (all on the host's)")

    def _print(self, row: Row) -> None:
        first, *more = row.lines or [""]
        print(f"  {'ok  ' if row.well else 'FAIL'} {row.step:<{WIDTH}} {row.seconds:5.0f} s  {first}")
        for line in more:
            print(f"  {'':<{WIDTH + 14}}{line}")
        sys.stdout.flush()


def main() -> int:
    """Return 0 when all went well, 1 when a promise was broken, 2 when nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.compose", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything running when a step fails, to look at it")
    keep: bool = parser.parse_args().keep
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as at Ctrl-C: with everything taken away
    report = Report()
    directory = Path(tempfile.mkdtemp(prefix="parley-compose-"))
    try:
        one_node(Stack(directory / "one"), report, keep)
        three_nodes(Stack(directory / "three", "three"), report, keep)
    except AssertionError:
        report.table()
        print("compose: FAILED", file=sys.stderr)
        return 1
    except CannotRun as error:
        print(f"compose: cannot run: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    finally:
        if not keep:
            shutil.rmtree(directory)
    report.table()
    print("compose: all well")
    return 0


def one_node(stack: Stack, report: Report, keep: bool) -> None:
    """Try everything on one NATS server."""

    def steps() -> None:
        report.run("paths of the proxy", lambda: _lines(front.paths(stack)))
        report.run("client addresses", lambda: _lines(front.addresses(stack)))
        report.run("chat, two people", lambda: _lines(chat(stack)))
        report.run("targets and rules", lambda: _lines(watch.prometheus(stack)))
        report.run("gateways one by one", lambda: roll(stack))
        report.run("queries of panels", lambda: _lines(watch.panels(stack)))
        report.run("canary", lambda: _lines(watch.canary(stack)))
        report.run("alerts", lambda: _lines(watch.alerts(stack)))

    around("one NATS server", stack, report, keep, steps)


def three_nodes(stack: Stack, report: Report, keep: bool) -> None:
    """Try the profile with three NATS servers: chat, also without one of them."""

    def lose_one() -> list[str]:
        stack.compose("kill", "nats-2")
        line = asyncio.run(chat(stack))
        stack.compose("start", "nats-2")
        stack.wait_until_healthy()
        return [f"without nats-2: {line}"]

    def steps() -> None:
        report.run("chat, two people", lambda: _lines(chat(stack)))
        report.run("a NATS server killed", lose_one)

    around("three NATS servers", stack, report, keep, steps)


def around(name: str, stack: Stack, report: Report, keep: bool, steps: Callable[[], None]) -> None:
    """Bring the stack up, take the steps, take it away again; it must leave nothing."""
    stack.directory.mkdir(parents=True)
    stack.check()

    def up() -> list[str]:
        stack.start()
        return [f"{len(stack.containers())} containers, all healthy"]

    def down() -> list[str]:
        left = stack.stop()
        assert not left, f"left behind: {left}"
        return ["nothing left"]

    failed = True
    try:
        report.run(f"up, {name}", up)
        steps()
        failed = False
    finally:
        if failed and stack.left():
            print(stack.logs())
        if not (failed and keep):
            report.run(f"down, {name}", down)


async def chat(stack: Stack) -> str:
    """Let two people with the official SDK talk, and a third over an HTTP stream; return how it was."""
    ann, bob = await person(stack, "Ann"), await person(stack, "Bob")
    try:
        room = await patiently(lambda: ann.make_room("Compose"))
        mine, his = await patiently(lambda: ann.follow(room)), await patiently(lambda: bob.follow(room))
        said = [f"hello {number}" for number in range(20)]
        for number, text in enumerate(said):
            await (ann, bob)[number % 2].insist(text, room)
        await eventually(lambda: mine.texts == said and his.texts == said, "both hear both, in order")
        streamed = await front.stream(stack, await guest(stack, "Cid"), room)
    finally:
        await ann.leave()
        await bob.leave()
    return f"WebSocket: {len(said)} messages, heard by both in order; http_stream: {streamed}"


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again while the answer is "not now", as while NATS chooses another leader; at most half a minute."""
    end = time.monotonic() + 30
    while True:
        try:
            return await ask()
        except ReplyError as error:
            if not error.temporary or time.monotonic() > end:
                raise AssertionError(f"refused: {error}") from None
        await asyncio.sleep(0.2)


def roll(stack: Stack) -> list[str]:
    """Restart the gateways under load."""
    lines, faults = asyncio.run(rolling.under_load(stack))
    assert not faults, "\n".join([*lines, *faults[:20]])
    return lines


def _lines(said: Awaitable[str]) -> list[str]:
    async def wait() -> str:
        return await said

    return [asyncio.run(wait())]


if __name__ == "__main__":
    sys.exit(main())
