"""`python -m benchmarks`: measure Parley and its peers side by side, on this machine."""

import argparse
import json
import time

from benchmarks import quick
from benchmarks.generator import Failed
from benchmarks.session import say
from benchmarks.works import SECONDS


def main() -> None:
    """Do what the arguments ask for; end with 1 when something was missing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    short = commands.add_parser("quick", help="nine ratios in four minutes; the last line is JSON")
    short.add_argument("--repeats", type=int, default=3, help="runs of each load on each server, interleaved")
    short.add_argument("--connections", type=int, default=10_000, help="idle connections to measure memory with")
    short.add_argument("--members", type=int, default=1000, help="members of the room")
    short.add_argument("--seconds", type=float, default=SECONDS, help="how long each load lasts")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        ratios = quick.ratios(arguments.repeats, arguments.connections, arguments.members, arguments.seconds)
    except Failed as error:
        say(f"FAILED: {error}")
        raise SystemExit(1) from None
    say(f"took {time.monotonic() - began:.0f} s")
    print(json.dumps({name: round(value, 3) for name, value in ratios.items()}))


if __name__ == "__main__":
    main()
