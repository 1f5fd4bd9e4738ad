"""The suite: fetched as the hash-pinned source distribution, never committed, and run module by module."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PIN = ROOT / "requirements" / "conformance-suite.txt"
CACHE = Path(sys.prefix) / "conformance"
"""Beside the libraries: `make clean` removes it."""

_RAN = re.compile(r"^Ran (\d+) tests? in", re.MULTILINE)
_ENDED = re.compile(r"^(?:OK|FAILED)(?: \((.*)\))?$", re.MULTILINE)


@dataclass(frozen=True)
class Result:
    """What came of one module of the suite."""

    module: str
    ran: int
    failed: int
    skipped: int
    seconds: float
    output: str

    @property
    def passed(self) -> int:
        """Tests that ran to their end without a complaint."""
        return max(0, self.ran - self.failed - self.skipped)


def fetch() -> Path:
    """Return the directory of the unpacked suite; download it when it is not there."""
    name = next(line.split()[0].replace("==", "-") for line in PIN.read_text().splitlines() if "==" in line)
    place = CACHE / name
    if place.is_dir():
        return place
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as draft:
        # pip reads the metadata of a source distribution by running its build backend: the one that is locked.
        command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--quiet"]
        command += ["--no-deps", "--no-binary", ":all:", "--no-build-isolation", "--require-hashes"]
        subprocess.run([*command, "--dest", draft, "--requirement", str(PIN)], check=True, cwd=ROOT)
        (archive,) = Path(draft).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            # Python 3.11 has filters from its fourth release on; what is unpacked is pinned by its hash in any case.
            safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packed.extractall(draft, **safely)  # noqa: S202  # see above
        archive.unlink()
        (unpacked,) = Path(draft).iterdir()
        shutil.move(unpacked, place)
    return place


def modules(suite: Path) -> list[str]:
    """Return the names of all test modules of the suite; the one that talks most to the server comes first."""
    found = [f"tests.{file.stem}" for file in sorted((suite / "tests").glob("test_*.py"))]
    return sorted(found, key=lambda name: name != "tests.test_client")


def run(suite: Path, module: str, seconds: float) -> Result:
    """Run one module; a run that does not end in time is one failure."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "unittest", "-v", module],
        cwd=suite,
        env=os.environ | {"PYTHONPATH": str(suite), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
        ended = True
    except subprocess.TimeoutExpired:
        ended = False
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # with what it started
    if not ended:
        output, _ = process.communicate()
        output += f"\nnot ended after {seconds:g} s"
    return result(module, output, process.returncode, time.monotonic() - started)


def result(module: str, output: str, code: int, seconds: float) -> Result:
    """Read what unittest printed; without its last lines, or with a bad exit code, something failed."""
    ran = _RAN.findall(output)
    ended = _ENDED.findall(output)
    counts = dict(part.split("=") for part in ended[-1].split(", ")) if ended and ended[-1] else {}
    failed = sum(int(counts.get(kind, 0)) for kind in ("failures", "errors", "unexpected successes"))
    if not ran or not int(ran[-1]) or (code and not failed):
        failed = max(1, failed)
    return Result(module, int(ran[-1]) if ran else 1, failed, int(counts.get("skipped", 0)), seconds, output)
