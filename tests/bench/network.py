"""A network of one's own: the processes that a test starts in it share a loopback that nobody else has.

Enters a new network namespace of Linux, with what is started afterwards; leaves it at the end. Needs root. Packets are
dropped by iptables, where `DROP` is silence and nobody is told. Imports nothing of ours.
"""

import ctypes
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

_NEW_NETWORK = 0x40000000
"""CLONE_NEWNET of sched.h; Python has a name for it from 3.12 on."""
_OWN = Path("/proc/thread-self/ns/net")


class Network:
    """Use as a context, from the main thread and before the processes: threads and children inherit it."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._before = -1

    def __enter__(self) -> Self:
        assert os.geteuid() == 0, "a network namespace needs root"
        self._before = os.open(_OWN, os.O_RDONLY)
        self._call("unshare", _NEW_NETWORK)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call("setns", self._before, _NEW_NETWORK)
        os.close(self._before)

    def drop(self, *matches: str) -> None:
        """Have what matches (`-d 127.0.0.2 -p tcp ...`) vanish on its way in, until `heal`."""
        self._iptables("-A", "INPUT", *matches, "-j", "DROP")

    def heal(self) -> None:
        """Let everything pass again."""
        self._iptables("-F", "INPUT")

    def _iptables(self, *words: str) -> None:
        subprocess.run(["iptables", *words], check=True, timeout=10)

    def _call(self, name: str, *arguments: int) -> None:
        if getattr(self._libc, name)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")
