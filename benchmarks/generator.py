"""The load generator, built from load.c, and what one run of it measures."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
GENERATOR_CORE, SERVER_CORE = 1, 0


class Failed(Exception):
    """Something that the comparison needs is missing or broke; the text says what to do."""


@dataclass(frozen=True)
class Template:
    """How a client of a server talks: where it connects, what it says first, and what stands around a message."""

    port: int
    path: str = "/?room=%r"
    greeting: tuple[str, ...] = ()
    prefix: str = ""
    suffix: str = ""
    tokens: Sequence[str] = ()


@dataclass(frozen=True)
class Work:
    """A load. `rate` messages a second in all (open loop), or `flight` under way per sender (closed loop)."""

    clients: int
    rooms: int = 1
    senders: int = 1
    flight: int = 1
    rate: float = 0
    seconds: float = 5
    warm: float = 1
    silent: int = 0
    payload: int = 128

    @property
    def arguments(self) -> list[str]:
        """As the generator takes it."""
        names = ("clients", "rooms", "senders", "flight", "rate", "seconds", "warm", "silent", "payload")
        return [part for name in names for part in (f"--{name}", str(getattr(self, name)))]


@dataclass
class Figures:
    """What a run measured. Latencies in milliseconds; processor times in seconds, by who used them."""

    delivered: int
    sent: int
    seconds: float
    reads: int
    p50_ms: float
    p99_ms: float
    generator_cores: float
    greeted_seconds: float
    lost: int
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.delivered / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's processor time per delivery in microseconds; what brokers used is apart."""
        return 1e6 * self.cpu["server"] / max(1, self.delivered)


def build(source: Path) -> Path:
    """Compile one C file, unless that was done; return the program. Raises `Failed` without a compiler."""
    target = Path(tempfile.gettempdir()) / f"parley-bench-{os.getuid()}" / source.stem
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Failed("no C compiler: install gcc")
        target.parent.mkdir(exist_ok=True)
        subprocess.run([compiler, "-O2", "-o", target, source], check=True)
    return target


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that these processes have used, all threads, children not."""
    total = 0.0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def resident_kib(pids: Sequence[int]) -> int:
    """Return the memory that these processes have of their own (anonymous, resident) in KiB."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                total += int(line.split()[1])
    return total


class Load:
    """The generator with one server's clients connected and greeted."""

    def __init__(self, template: Template, work: Work, *, hold: bool = False) -> None:
        """Start it; `hold` keeps the clients idle until `release`."""
        self._directory = tempfile.TemporaryDirectory()
        command = [str(build(HERE / "load.c")), "--port", str(template.port), "--path", template.path, *work.arguments]
        command += ["--prefix", template.prefix, "--suffix", template.suffix]
        if template.greeting:
            greeting = Path(self._directory.name) / "greeting"
            greeting.write_text("\n".join(template.greeting))
            command += ["--greeting", str(greeting)]
        if template.tokens:
            tokens = Path(self._directory.name) / "tokens"
            tokens.write_text("\n".join(template.tokens[: work.clients]))
            command += ["--tokens", str(tokens)]
        if hold:
            command.append("--hold")
        self._process = subprocess.Popen(
            ["taskset", "-c", str(GENERATOR_CORE), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.greeted_seconds = float(json.loads(self._line().removeprefix("ready "))["seconds"])

    def measure(self, pids: dict[str, Sequence[int]]) -> Figures:
        """Return the figures of the run, with the processor time of each of the named groups of processes."""
        before: dict[str, float] = {}
        after: dict[str, float] = {}
        while not (line := self._line()).startswith("{"):
            for name, group in pids.items():
                (before if line == "start" else after)[name] = cpu_seconds(group)
        self._process.wait(10)
        self._directory.cleanup()
        told = json.loads(line)
        return Figures(
            told["delivered"],
            told["sent"],
            told["seconds"],
            told["reads"],
            told["p50_ms"],
            told["p99_ms"],
            told["generator_cores"],
            self.greeted_seconds,
            told["lost"],
            {name: after[name] - before[name] for name in pids},
        )

    def release(self) -> None:
        """End a held run."""
        self._process.communicate("\n", 10)
        self._directory.cleanup()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            _, problem = self._process.communicate()
            raise Failed(f"the generator ended: {problem.strip().splitlines()[-1:] or 'without a word'}")
        return line
