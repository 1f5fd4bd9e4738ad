"""What a row is told, and what it tells: how much to send, which bars it keeps, what was acknowledged and lost."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.bench.stays import DUPLICATED, FORGED, LEAKED, LOST, REFUSED, REORDERED, Fault
from tests.faults.crowd import Crowd, Verdict
from tests.faults.stage import Stage

KINDS = (LOST, DUPLICATED, REORDERED)
OTHERS = (LEAKED, FORGED, REFUSED)


@dataclass
class Row:
    """One fault."""

    name: str
    short: bool
    asked: int | None
    """Messages to send, when somebody said so on the command line."""
    say: Callable[[str], None]
    acknowledged: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    crowds: list[Crowd] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """When it began, by the clock."""

    def messages(self, short: int = 600, whole: int = 100_000) -> int:
        """Return how many messages to have acknowledged."""
        return self.asked or (short if self.short else whole)

    @property
    def rooms(self) -> int:
        """How many rooms to fill: in the whole set as many as keep the services busy, with two in each who talk."""
        return 8 if self.short else 128

    @property
    def seconds(self) -> float:
        """How long it takes up to now."""
        return time.monotonic() - self.began

    def progress(self) -> str:
        """Return how far it is."""
        heard = sum(one.acknowledged for one in self.crowds)
        return f"  {self.name}: {heard:,} acknowledged after {self.seconds:.0f} s"

    def crowd(self, stage: Stage, **options: Any) -> Crowd:
        """Return a crowd on a stage, to be entered; `options` are those of a crowd."""
        doors = options.pop("doors", stage.fleet.doors)
        self.crowds.append(Crowd(doors, stage.logs, options.pop("rooms", self.rooms), **options))
        return self.crowds[-1]

    def figure(self, what: str, value: object) -> None:
        """Tell something measured."""
        self.figures[what] = f"{value:.2f}" if isinstance(value, float) else str(value)
        self.say(f"  {self.name}: {what} {self.figures[what]}")

    def bar(self, what: str, value: float, most: float) -> None:
        """Tell something measured that must not be above `most`."""
        self.figure(what, f"{value:.2f} (bar {most:g})")
        if value > most:
            self.missed.append(f"{what}: {value:.2f}, bar {most:g}")

    def judge(self, verdict: Verdict, least: int = 1) -> None:
        """Take what came of it; fails when anything is not kept, or fewer than `least` were acknowledged."""
        self.acknowledged += verdict.acknowledged
        self.counted += verdict.counted
        self.faults += verdict.faults
        assert verdict.acknowledged >= least, f"only {verdict.acknowledged} of {least} acknowledged"
        assert not self.faults, "\n".join(map(str, self.faults[:20]))

    def close(self) -> None:
        """Fail when a bar was missed."""
        assert not self.missed, "; ".join(self.missed)

    def line(self) -> str:
        """Return what came of it in one line."""
        words = [f"acknowledged {self.acknowledged}", *(f"{kind} {self.counted[kind]}" for kind in KINDS)]
        words += [f"{kind} {self.counted[kind]}" for kind in OTHERS if self.counted[kind]]
        return f"{self.name}: {', '.join(words)}, {self.seconds:.0f} s"
