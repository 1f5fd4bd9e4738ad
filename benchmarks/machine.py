"""What the figures were taken on."""

import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks.generator import HERE, SERVER_CORE
from benchmarks.servers import NCHAN, PEERS

PACKAGES = ("uvicorn", "uvloop", "nats-py", "fastapi", "python-socketio", "channels")
NODE_PACKAGES = ("ws", "socket.io")
DOCUMENTS = (":!/docs", ":!/*.md", ":!/benchmarks/results.json")
DEBIAN_PACKAGES = ("libnginx-mod-nchan", "redis-server", "gcc")
WORK, TRIES = 20_000, 400
"""How much `pace` has done, a few milliseconds of it, and how often."""


def described() -> dict[str, str]:
    """Return what matters of this machine and of the programs on it."""
    cpu = next((line.split(":", 1)[1] for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    return {
        "processor": f"{os.cpu_count()} x {cpu.strip()}",
        "memory": f"{memory / 2**20:.0f} GiB",
        "system": f"{_distribution()}, Linux {platform.release().partition('-')[0]}",
        "packages": ", ".join(_versions()),
    }


def pace() -> float:
    """Return the speed of the servers' core within a second: the median as a share of the best. Below 1 others, outside
    of this machine too, are in its way, and processor times and latencies are that much longer."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CORE})
    try:
        took = [_piece_of_work() for _ in range(TRIES)]
    finally:
        os.sched_setaffinity(0, mine)
    return min(took) / statistics.median(took)


def _piece_of_work() -> float:
    """Return how long (seconds) some Python takes that is always the same."""
    began = time.perf_counter()
    sum(len(str(number)) for number in range(WORK))
    return time.perf_counter() - began


def commit() -> str:
    """Return the commit that is checked out, and whether something besides documents was changed since."""
    try:
        name, changed = _git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--", ":/", *DOCUMENTS)
    except (OSError, subprocess.CalledProcessError):
        return "an unknown commit"
    return f"{name} and changes" if changed else name


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()


def _versions() -> list[str]:
    found = [f"{name} {version(name)}" for name in PACKAGES]
    nats = subprocess.run([Path(sys.executable).parent / "nats-server", "--version"], capture_output=True, text=True)
    found.append(nats.stdout.strip().replace(": v", " "))
    for name in NODE_PACKAGES:
        lines = _lines(str(PEERS / "node" / "node_modules" / name / "package.json"))
        found += [f"{name} {line.split(':')[1].strip(' ,').strip(chr(34))}" for line in lines if '"version":' in line]
    if NCHAN.exists():
        for name in DEBIAN_PACKAGES:
            asked = subprocess.run(["dpkg-query", "-Wf", "${Version}", name], capture_output=True, text=True)
            found += [f"{name} {asked.stdout}"] if asked.stdout else []
    return found


def _distribution() -> str:
    named = [line.partition("=")[2].strip('"') for line in _lines("/etc/os-release") if line.startswith("PRETTY_NAME=")]
    return named[0] if named else platform.system()


def _lines(file: str) -> list[str]:
    path = Path(file)
    return path.read_text().splitlines() if path.exists() else []
