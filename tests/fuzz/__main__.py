"""`python -m tests.fuzz`: run each fuzzer for its share of the seconds, then ask the auth API what it promises."""

import argparse
import logging
import os
import sys
import time

import structlog

from tests.fuzz import api
from tests.fuzz.targets import EXAMPLES, TARGETS

SECONDS = 60.0


def main() -> int:
    """Return 0 when nothing was found; what hypothesis found is raised, with the bytes that show it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=(__doc__ or "").partition(": ")[2])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"api, {', '.join(t.__name__ for t in TARGETS)}")
    parser.add_argument(
        "--seconds", type=float, default=float(os.environ.get("FUZZ_SECONDS") or SECONDS), help="for all together"
    )
    options = parser.parse_args()
    # What receivers raise is logged, and means nothing here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    wanted = [one for one in TARGETS if not options.targets or one.__name__ in options.targets]
    for target in wanted:
        rounds, started = 0, time.monotonic()
        while not rounds or time.monotonic() - started < options.seconds / len(wanted):
            target()
            rounds += 1
        print(f"  {target.__name__}: {rounds * EXAMPLES} examples in {time.monotonic() - started:.0f} s", flush=True)
    failed = 0
    if not options.targets or "api" in options.targets:
        failed = api.run(options.seconds)
    ran = len(wanted) + (not options.targets or "api" in options.targets)
    print(f"fuzz: {ran - failed} passed, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
