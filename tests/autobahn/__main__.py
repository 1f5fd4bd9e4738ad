"""`python -m tests.autobahn`: serve the gateway's WebSocket as an echo, put Autobahn's cases to it, and judge."""

import argparse
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.autobahn import suite
from tests.autobahn.verdict import CASES, NOT_NEGOTIATED, judge
from tests.bench.ports import free_port, wait_until

SECONDS = 600.0


def main() -> int:
    """Return 0 when every case is as it has to be, 1 when one is not, 2 when the suite cannot be run."""
    parser = argparse.ArgumentParser(prog="python -m tests.autobahn", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="such as 6.* or 7.1.5; default all but compression")
    chosen = parser.parse_args().cases
    started = time.monotonic()
    try:
        python = suite.interpreter()
        suite.install(python)
        with tempfile.TemporaryDirectory(prefix="parley-autobahn-") as directory:
            results = _run(python, Path(directory), chosen or ["*"])
    except suite.Missing as missing:
        print(f"autobahn: {missing}", file=sys.stderr)
        return 2
    verdict = judge(results, 1 if chosen else CASES)
    for line in verdict.wrong:
        print(f"  {line}")
    counted = ", ".join(f"{number} {name}" for name, number in sorted(verdict.counted.items()))
    print(f"autobahn: {counted or 'nothing'} ({time.monotonic() - started:.0f} s)")
    passed = sum(verdict.counted.values()) - len(verdict.wrong)
    print(f"autobahn: {max(0, passed)} passed, {len(verdict.wrong)} failed")
    return 1 if verdict.wrong else 0


def _run(python: str, directory: Path, cases: list[str]) -> dict[str, dict[str, object]]:
    port = free_port()
    log = directory / "echo.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "tests.autobahn.echo", str(port)], cwd=suite.ROOT, stdout=output, stderr=output
        )
    try:
        wait_until(lambda: _answers(port) or server.poll() is not None, "the echo listens")
        found: dict[str, dict[str, object]] = suite.run(
            python, f"ws://127.0.0.1:{port}/", directory, cases, NOT_NEGOTIATED, SECONDS
        )
    finally:
        server.terminate()
        server.wait(10)
    said = log.read_text()
    assert "Traceback" not in said, said[-2000:]
    return found


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
