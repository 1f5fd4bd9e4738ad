"""`python -m tests.faults`: put faults on a system under load, one after the other, and count what came of it.

The last line counts what was acknowledged, lost, duplicated and reordered. The exit code is 0 when the last three are 0
and every row kept its bars.
"""

import argparse
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def main() -> int:
    """Run the rows that the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Put one fault at a time on a system under load and judge what came of it (docs/promises.md). "
        "Needs root: rows mount file systems and make network namespaces. `make faults SET=short ROW=name` passes on.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--set", default="all", choices=("all", "short"), help="short: the rows and counts that fit into 15 minutes")
    add("--row", action="append", default=[], help="only rows whose name begins so; may be repeated")
    add("--messages", type=int, help="messages of each row; default 100000, and some hundreds in the short set")
    add("--report", type=Path, help="append a line of JSON for each row to this file")
    add(
        "--resume", action="store_true", help="with --report: leave out rows that it has as kept, with as many messages"
    )
    add("--list", action="store_true", help="print the names of the rows, run none")
    options = parser.parse_args()
    if options.resume and not options.report:
        parser.error("--resume needs --report")
    arguments = [str(HERE), "--set", options.set, "-q", "--tb=short", "-p", "no:cacheprovider"]
    arguments += [f"--row={one}" for one in options.row]
    arguments += [f"--messages={options.messages}"] if options.messages else []
    arguments += [f"--report={options.report}"] if options.report else []
    arguments += ["--resume"] if options.resume else []
    arguments += ["--collect-only"] if options.list else []
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
