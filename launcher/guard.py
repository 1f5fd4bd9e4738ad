"""`python -m launcher.guard`: a process that ends the ring when the launcher is killed.

The launcher holds the other end of this process's stdin and writes there which process groups exist. The kernel closes
that pipe when the launcher ends in any way, kill -9 included; the guard then stops every group that is left. It also
holds the data directory's lock, so that nobody starts a second ring meanwhile. Linux could do without it
(PR_SET_PDEATHSIG), but only for direct children, not for gunicorn's workers, and only there.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_SECONDS = 5.0
"""How long groups may take to end after SIGTERM. Short: everything here is safe to kill."""


class Guard:
    """The launcher's side: tells the guard process which process groups exist."""

    def __init__(self, lock: int) -> None:
        self._lock = lock
        self._groups: set[int] = set()
        self._process = self._start()

    def watch(self, group: int) -> None:
        """A process group was started."""
        self._groups.add(group)
        self._tell(f"+{group}")

    def release(self, group: int) -> None:
        """A process group has ended entirely."""
        self._groups.discard(group)
        self._tell(f"-{group}")

    def close(self) -> None:
        """End the guard process; it stops the groups that were not released."""
        assert self._process.stdin is not None  # opened as a pipe
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it is gone already
        self._process.wait()

    def _start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "launcher.guard"],
            cwd=Path(__file__).resolve().parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._lock],
            start_new_session=True,
            bufsize=0,
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None  # opened as a pipe
        try:
            self._process.stdin.write(f"{line}\n".encode())
        except BrokenPipeError:  # somebody ended the guard; the next one learns what exists now
            self._process.wait()
            self._process = self._start()
            for group in self._groups:
                self._tell(f"+{group}")


def send(group: int, number: int) -> bool:
    """Send a signal to a process group (0: to none); return whether the group has members."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):  # the latter: macOS, for a group of zombies
        return False
    return True


def end(groups: set[int], seconds: float) -> None:
    """Stop process groups: SIGTERM, and SIGKILL for what is left after `seconds`."""
    for group in groups:
        send(group, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(send(group, 0) for group in groups):
        time.sleep(0.05)
    for group in groups:
        send(group, signal.SIGKILL)


def main() -> None:
    """Follow the launcher's lines until they end, then stop what is left."""
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    end(groups, STOP_SECONDS)


if __name__ == "__main__":
    main()
