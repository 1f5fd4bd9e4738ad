"""The parts' logs in DATA_DIR/logs: bounded in size, and followed for `--verbose`."""

import os
import shutil
from pathlib import Path
from typing import BinaryIO


def open_log(file: Path) -> BinaryIO:
    """Open `file` for a process to append to."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return file.open("ab")


def turn(file: Path, limit: int) -> None:
    """Move what `file` holds to `file`.1 when it is larger than `limit` bytes; whoever appends to it goes on."""
    if file.exists() and file.stat().st_size > limit:
        shutil.copyfile(file, file.with_name(f"{file.name}.1"))
        os.truncate(file, 0)


class Follower:
    """Reads what comes new into a log."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = file.stat().st_size if file.exists() else 0

    def new_lines(self) -> list[str]:
        """Return the lines completed since the last call."""
        if not self._file.exists():
            return []
        with self._file.open("rb") as log:
            if log.seek(0, os.SEEK_END) < self._at:
                self._at = 0  # it was turned
            log.seek(self._at)
            complete, newline, _ = log.read().rpartition(b"\n")
        self._at += len(complete) + len(newline)
        return complete.decode(errors="replace").splitlines()
