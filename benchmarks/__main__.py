"""`python -m benchmarks`: measure Parley and its peers side by side, on this machine."""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from benchmarks import machine, page, quick
from benchmarks.generator import Failed
from benchmarks.results import Result, Results, spreads
from benchmarks.rows import BY_NAME, OURS, ROWS, Row
from benchmarks.session import Measured, Session, prepare, say
from benchmarks.works import SECONDS

TERMINATED = 143


def measured(row: Row, repeats: int) -> Result:
    """Measure one row; what could not be had is in its `failed`."""
    began, load, pace = time.monotonic(), os.getloadavg()[0], machine.pace()
    say(f"--- {row.name}: {row.title}")
    repeats = min(repeats, row.repeats)
    with Session(repeats, row.once) as session:
        session.attempt(OURS, partial(prepare, row.connections))
        if not session.failed:
            row.ours(session)
            for name in row.peers:
                session.start(name)
        runs: dict[str, list[Measured]] = {}
        if session.running:
            session.attempt(OURS, lambda: runs.update(row.measure(session)))
        seconds = time.monotonic() - began
        say(f"{row.name} took {seconds:.0f} s")
        taken = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {machine.commit()}, Python {platform.python_version()}"
        return Result(taken, round(seconds), round(load, 2), repeats, spreads(runs), session.failed, round(pace, 2))


def run(names: Sequence[str], repeats: int) -> int:
    """Measure rows, keep each and write the page after it; return the exit code: 1 when something is missing."""
    began = time.monotonic()
    results = Results.load()
    failed: dict[str, dict[str, str]] = {}
    for name in names:
        result = measured(BY_NAME[name], repeats)
        failed[name] = result.failed
        results.machine = machine.described()
        results.rows[name] = result
        results.keep()
        page.write(results)
    say(f"all took {time.monotonic() - began:.0f} s; see {page.PAGE}")
    for name, servers in failed.items():
        for server, why in servers.items():
            say(f"FAILED in {name}: {server}: {why}")
    return 1 if any(failed.values()) else 0


def main() -> int:
    """Do what the arguments ask for; return the exit code: 1 when something was missing."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that the servers are ended
    began = time.monotonic()
    try:
        if arguments.command == "rows":
            return run(arguments.row or [row.name for row in ROWS], arguments.repeats)
        if arguments.command == "page":
            page.write(Results.load())
            return 0
        ratios = quick.ratios(arguments.repeats, arguments.connections, arguments.members, arguments.seconds)
    except Failed as error:
        say(f"FAILED: {error}")
        return 1
    say(f"took {time.monotonic() - began:.0f} s")
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    rows = commands.add_parser(
        "rows",
        help="every row of docs/performance.md, or some; writes them there (make bench)",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="rows:\n" + "\n".join(f"  {row.name:10} {row.title}" for row in ROWS),
    )
    rows.add_argument("row", nargs="*", type=_row, help="names of rows; default all")
    rows.add_argument("--repeats", type=int, default=3, help="runs of each load on each server, interleaved")
    commands.add_parser("page", help="write docs/performance.md again from benchmarks/results.json")
    short = commands.add_parser("quick", help="nine ratios in four minutes; the last line is JSON (make bench-quick)")
    short.add_argument("--repeats", type=int, default=3, help="runs of each load on each server, interleaved")
    short.add_argument("--connections", type=int, default=10_000, help="idle connections to measure memory with")
    short.add_argument("--members", type=int, default=1000, help="members of the room")
    short.add_argument("--seconds", type=float, default=SECONDS, help="how long each load lasts")
    return parser.parse_args()


def _row(name: str) -> str:
    if name not in BY_NAME:
        raise argparse.ArgumentTypeError(f"no row {name}; there are {', '.join(BY_NAME)}")
    return name


if __name__ == "__main__":
    sys.exit(main())
