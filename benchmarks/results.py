"""What was measured, kept beside the code: each row with its time and circumstances, so that one can be taken again."""

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.generator import HERE
from benchmarks.session import Measured

FILE = HERE / "results.json"
DIGITS = 5


@dataclass
class Spread:
    """One figure over the repeats."""

    median: float
    least: float
    most: float


@dataclass
class Result:
    """One row as it was measured."""

    taken: str
    """When, and on what commit."""
    seconds: float
    load_before: float
    """How many processes wanted a core in the minute before (the load average): of others, if not of the row before."""
    repeats: int
    figures: dict[str, dict[str, Spread]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    pace: float = 0.0
    """The processor's speed before, as a share of its best (`machine.pace`); 0: not looked at."""

    def median(self, label: str, key: str) -> float | None:
        """Return a figure, or nothing when it was not measured."""
        spread = self.figures.get(label, {}).get(key)
        return spread.median if spread else None


@dataclass
class Results:
    """All rows that were measured, and where."""

    machine: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Result] = field(default_factory=dict)

    @classmethod
    def load(cls, file: Path = FILE) -> "Results":
        """Read what was kept; nothing when there is none."""
        if not file.exists():
            return cls()
        kept = json.loads(file.read_text())
        return cls(kept["machine"], {name: _result(row) for name, row in kept["rows"].items()})

    def keep(self, file: Path = FILE) -> None:
        """Write everything."""
        rows = {
            name: vars(row)
            | {
                "figures": {
                    label: {key: [_short(value) for value in vars(spread).values()] for key, spread in found.items()}
                    for label, found in row.figures.items()
                }
            }
            for name, row in self.rows.items()
        }
        file.write_text(_compact(json.dumps({"machine": self.machine, "rows": rows}, indent=1)) + "\n")


def spreads(runs: dict[str, list[Measured]]) -> dict[str, dict[str, Spread]]:
    """Return the median and the range of each figure of each server."""
    return {
        label: {
            key: Spread(statistics.median(values), min(values), max(values))
            for key in listed[0]
            for values in [[one[key] for one in listed]]
        }
        for label, listed in runs.items()
        if listed
    }


def _result(kept: dict[str, Any]) -> Result:
    figures = {
        label: {key: Spread(*values) for key, values in found.items()} for label, found in kept.pop("figures").items()
    }
    return Result(**kept, figures=figures)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _compact(text: str) -> str:
    """Put each list of numbers on one line, so that a change of a figure is a change of a line."""
    lines: list[str] = []
    for line in text.splitlines():
        if lines and (lines[-1].endswith("[") or lines[-1].startswith("\0")):
            opened = lines.pop().removeprefix("\0")
            joined = opened + line.strip() + (" " if line.endswith(",") and line.strip() != "]," else "")
            lines.append(joined if line.strip().startswith("]") else "\0" + joined)
        else:
            lines.append(line)
    return "\n".join(lines)
