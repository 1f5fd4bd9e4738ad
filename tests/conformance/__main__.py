"""`python -m tests.conformance`: start the ring as the suite expects it, run all of the suite, stop the ring."""

import argparse
import signal
import socket
import sys
import tempfile
from pathlib import Path

from tests.bench.ring import Ring
from tests.conformance import suite

PORT = 8000
SETTINGS = {
    "GATEWAY_PORT": str(PORT),
    "TOKEN_HMAC_SECRET": "secret",
    "PERSONAL_CHANNEL": "true",
    "CHANNELS_FILE": str(suite.ROOT / "tests" / "conformance" / "channels.toml"),
}
MODULE_SECONDS = 300.0


def main() -> int:
    """Return 0 when every test passed, 1 when one failed, 2 when nothing could be run."""
    options = _options()
    place = suite.fetch()
    found = suite.modules(place)
    unknown = set(options.modules) - set(found)
    if unknown:
        return _refuse(f"no such module: {', '.join(sorted(unknown))}; there are {' '.join(found)}")
    if _taken(PORT):
        return _refuse(f"port {PORT} is taken; the suite talks to localhost:{PORT} and nothing else")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as at Ctrl-C: with the ring stopped
    with tempfile.TemporaryDirectory(prefix="parley-conformance-") as directory:
        ring = Ring(Path(directory) / "data", SETTINGS)
        try:
            ring.start()
            results = [_shown(suite.run(place, name, options.timeout)) for name in options.modules or found]
            failed = sum(one.failed for one in results)
            if failed:
                print(ring.logs())
        finally:
            ring.end()
    passed, skipped = sum(one.passed for one in results), sum(one.skipped for one in results)
    print(f"conformance: {place.name}, {len(results)} of {len(found)} modules, {skipped} skipped")
    print(f"conformance: {passed} passed, {failed} failed")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance",
        description="Run the public suite of the Python SDK, from its source distribution, against the ring.",
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as tests.test_client; default all")
    parser.add_argument("--timeout", type=float, default=MODULE_SECONDS, help="seconds for a module (default: 300)")
    return parser.parse_args()


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _shown(one: suite.Result) -> suite.Result:
    skipped = f", {one.skipped} skipped" if one.skipped else ""
    print(f"  {one.module}: {one.passed} passed, {one.failed} failed{skipped} ({one.seconds:.1f} s)", flush=True)
    if one.failed:
        print(one.output, flush=True)
    return one


def _refuse(why: str) -> int:
    print(f"conformance: {why}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
