"""Free ports of 127.0.0.1, and waiting for conditions."""

import random
import socket
import time
from collections.abc import Callable

_FIRST, _LAST = (
    20000,
    31999,
)  # below Linux's ephemeral range, so that no outgoing connection takes one meanwhile
_given: set[int] = set()


def free_port() -> int:
    """Return a port nobody listens on, never the same one twice in this process."""
    for _ in range(1000):
        port = random.randint(_FIRST, _LAST)
        if port not in _given and _is_free(port):
            _given.add(port)
            return port
    raise RuntimeError("no free port found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(condition: Callable[[], object], what: str, seconds: float = 15, every: float = 0.02) -> None:
    """Return as soon as `condition()` is true; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(every)
