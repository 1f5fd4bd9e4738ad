"""Processes as Linux shows them in /proc: found by a mark in their environment, killed by id."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One living process."""

    pid: int
    parent: int
    command: str


def marked(mark: str) -> list[Process]:
    """Return the processes whose environment at start held `mark`: a started system with all its descendants."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            if mark.encode() not in (entry / "environ").read_bytes().split(b"\0"):
                continue
            stat = (entry / "stat").read_text().rpartition(") ")[2].split()
            if stat[0] != "Z":  # its parent has only not yet asked how it ended
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found.append(Process(int(entry.name), int(stat[1]), command))
        except OSError:
            continue  # it ended while we looked, or it is not ours
    return sorted(found, key=lambda process: process.pid)


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to one process; no error when it has ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def children_of(parent: int) -> list[int]:
    """Return the process ids of the children of one process."""
    tasks = Path(f"/proc/{parent}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
