"""The load generator, built from load.c, and what one run of it measures."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
GENERATOR_CORE, SERVER_CORE = 1, 0
END_SECONDS = 10
YIELD = 10
"""Niceness of a load beside which the latency of another one is measured."""

Groups = dict[str, Sequence[int]]
"""Process ids by whose work counts as what."""


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
    names: Sequence[str] = ()
    """Names of the rooms; without any they are called by their numbers."""
    reply: str = ""
    """What stands before the number in a reply, where replies are timed."""
    again: tuple[str, ...] = ()
    """What a client says first when it comes back after a cut."""


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
    settle: float = 0
    silent: int = 0
    payload: int = 128
    concurrency: int = 128

    @property
    def arguments(self) -> list[str]:
        """As the generator takes it."""
        return [part for name, value in vars(self).items() for part in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Times:
    """How long things took, in milliseconds."""

    count: int
    late: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float


@dataclass
class Figures:
    """What a run measured; processor times in seconds and memory in KiB, by who used them."""

    delivered: int
    sent: int
    owed: int
    """Deliveries that the messages of the measured time are worth; `arrived` is how many of these came."""
    arrived: int
    refused: int
    seconds: float
    reads: int
    generator_cores: float
    lost: int
    deliveries: Times
    replies: Times
    greeted_seconds: float
    cpu: dict[str, float] = field(default_factory=dict)
    kernel: dict[str, float] = field(default_factory=dict)
    """Of that, what the kernel used for them."""
    grown_kib: dict[str, int] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.delivered / self.seconds

    @property
    def cpu_us(self) -> float:
        """The server's processor time per delivery in microseconds; what brokers used is apart."""
        return 1e6 * self.cpu["server"] / max(1, self.delivered)

    @property
    def kernel_us(self) -> float:
        """Of that, what the kernel used."""
        return 1e6 * self.kernel["server"] / max(1, self.delivered)

    def cores(self, group: str) -> float:
        """How many cores a group of processes kept busy."""
        return self.cpu[group] / self.seconds


def build(source: Path) -> Path:
    """Compile one C file, unless that was done; return the program. Raises `Failed` without a compiler."""
    target = Path(tempfile.gettempdir()) / f"parley-bench-{os.getuid()}" / source.stem
    newest = max(file.stat().st_mtime for file in (source, *source.parent.glob("*.h")))
    if not target.exists() or target.stat().st_mtime < newest:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Failed("no C compiler: apt-get install gcc libc6-dev")
        target.parent.mkdir(exist_ok=True)
        done = subprocess.run([compiler, "-O2", "-o", target, source, "-lm"], capture_output=True, text=True)
        if done.returncode:
            raise Failed(f"{source.name} does not compile (apt-get install gcc libc6-dev): {done.stderr[-500:]}")
    return target


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that these processes have used, all threads, children not."""
    total = 0.0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0]) / 1e9
    return total


def kernel_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that the kernel has used for these processes, to the clock tick (proc(5), stat)."""
    ticks = sum(int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[12]) for pid in pids)
    return ticks / os.sysconf("SC_CLK_TCK")


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

    def __init__(self, template: Template, work: Work, *, hold: bool = False, yielding: bool = False) -> None:
        """Start it; `hold` keeps the clients idle until `release`; `yielding` lets whoever shares its core go first."""
        self._directory = tempfile.TemporaryDirectory()
        command = [str(build(HERE / "load.c")), "--port", str(template.port), "--path", template.path, *work.arguments]
        command += ["--prefix", template.prefix, "--suffix", template.suffix, "--reply", template.reply]
        for name, lines in (
            ("greeting", template.greeting),
            ("again", template.again),
            ("tokens", template.tokens[: work.clients]),
            ("names", template.names),
        ):
            if lines:
                file = Path(self._directory.name) / name
                file.write_text("\n".join(lines))
                command += [f"--{name}", str(file)]
        if hold:
            command.append("--hold")
        self._process = subprocess.Popen(
            ["nice", "-n", str(YIELD if yielding else 0), "taskset", "-c", str(GENERATOR_CORE), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.greeted_seconds = float(json.loads(self._line().removeprefix("ready "))["seconds"])

    def measure(self, groups: Groups) -> Figures:
        """Return the figures of the run, with what each of the groups of processes used meanwhile."""
        cpu: list[dict[str, float]] = []
        kernel: list[dict[str, float]] = []
        kib: list[dict[str, int]] = []
        while not (line := self._line()).startswith("{"):
            cpu.append({name: cpu_seconds(pids) for name, pids in groups.items()})
            kernel.append({name: kernel_seconds(pids) for name, pids in groups.items()})
            kib.append({name: resident_kib(pids) for name, pids in groups.items()})
        self._end()
        told: dict[str, Any] = json.loads(line)
        del told["bytes"]
        return Figures(
            **told | {name: Times(**told[name]) for name in ("deliveries", "replies")},
            greeted_seconds=self.greeted_seconds,
            cpu={name: cpu[1][name] - cpu[0][name] for name in groups},
            kernel={name: kernel[1][name] - kernel[0][name] for name in groups},
            grown_kib={name: kib[1][name] - kib[0][name] for name in groups},
        )

    def cut(self) -> tuple[float, Times]:
        """Close every connection of a held load at once; return when all are back (seconds), and how each took."""
        assert self._process.stdin is not None
        self._process.stdin.write("cut\n")
        self._process.stdin.flush()
        told = json.loads(self._line().removeprefix("back "))
        return float(told["seconds"]), Times(**told["returns"])

    def release(self) -> None:
        """End a held load."""
        self._end("\n")

    def _end(self, word: str = "") -> None:
        try:
            self._process.communicate(word, END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise Failed("the generator does not end") from None
        finally:
            self._directory.cleanup()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            _, problem = self._process.communicate()
            self._directory.cleanup()
            raise Failed(f"the generator ended: {(problem.strip().splitlines() or ['without a word'])[-1]}")
        return line
