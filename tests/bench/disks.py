"""File systems of a test's own, mounted for as long as it runs. Need root. Import nothing of ours."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK = 1 << 20
"""Bytes that are written at once into a disk that is to be full."""


@contextmanager
def small(place: Path, size: str) -> Iterator[Path]:
    """Mount a file system in memory of that size (`24m`) at `place`."""
    _needs_root()
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], check=True, timeout=30)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, timeout=30)


class Disk:
    """An ext4 file system in a file: a disk whose content at any moment can be copied, as a power cut leaves it."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def make(self, megabytes: int) -> "Disk":
        """Make the file and the file system in it."""
        _needs_root()
        with self.image.open("wb") as file:
            file.truncate(megabytes << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(self.image)], check=True, timeout=60)
        return self

    def mount(self) -> None:
        """Mount it, replaying its journal as after any crash."""
        self.place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], check=True, timeout=60)

    def unmount(self) -> None:
        """Take it away, if it is there; whoever still holds a file of it keeps that."""
        if self.place.is_mount():
            subprocess.run(["umount", "--lazy", str(self.place)], check=True, timeout=60)

    def cut(self, image: Path) -> "Disk":
        """Copy what has reached the disk so far, while it is in use: what a power cut at this moment leaves."""
        subprocess.run(["cp", "--sparse=always", str(self.image), str(image)], check=True, timeout=120)
        return Disk(image, self.place)

    def remove(self) -> None:
        """Unmount it and delete the file."""
        self.unmount()
        self.image.unlink(missing_ok=True)


def fill(place: Path, leave: int) -> Path:
    """Fill a file system until `leave` bytes are free, while others write into it; return the file that does it."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        while (free := os.statvfs(place)).f_bavail * free.f_frsize > leave:
            file.write(bytes(min(CHUNK, free.f_bavail * free.f_frsize - leave)))
    return filler


def _needs_root() -> None:
    assert os.geteuid() == 0, "mounting needs root"
    assert shutil.which("mkfs.ext4"), "mkfs.ext4 is missing"
