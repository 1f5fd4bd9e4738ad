"""What rows came to, a line of JSON each in a file, so that a run that was interrupted goes on where it ended.

Imports nothing of ours.
"""

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

from tests.faults.rows import KINDS, Row


class Report:
    """A file of lines; the last one of a row counts. None: nothing is read or written."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        """Where it is."""

    def green(self, messages: int | None, short: bool) -> dict[str, dict[str, Any]]:
        """Return the rows that were asked for as much as now and kept everything: name to line."""
        if self.path is None or not self.path.exists():
            return {}
        last: dict[str, dict[str, Any]] = {}
        for text in self.path.read_text().splitlines():
            with contextlib.suppress(ValueError):  # a run ended while it wrote
                line = json.loads(text)
                last[line["row"]] = line
        asked = {"messages": messages, "short": short}
        return {name: line for name, line in last.items() if line["green"] and line["asked"] == asked}

    def add(self, row: Row, green: bool) -> None:
        """Append what came of a row."""
        if self.path is None:
            return
        line = {
            "row": row.name,
            "green": green,
            "asked": {"messages": row.asked, "short": row.short},
            "acknowledged": row.acknowledged,
            **{kind: row.counted[kind] for kind in KINDS},
            **{kind: count for kind, count in row.counted.items() if kind not in KINDS},
            "seconds": round(row.seconds, 1),
            "at": row.at,
            "figures": row.figures,
            "missed": row.missed,
        }
        half = self.path.exists() and not self.path.read_text().endswith("\n")  # a run ended while it wrote
        with self.path.open("a") as file:
            file.write("\n" * half + json.dumps(line) + "\n")


def total(lines: list[tuple[int, Counter[str]]]) -> str:
    """Return the sum over rows, as the last line tells it; a row is what was acknowledged, and its counted faults."""
    counted = sum((counts for _, counts in lines), Counter[str]())
    parts = [f"acknowledged {sum(count for count, _ in lines)}", *(f"{kind} {counted[kind]}" for kind in KINDS)]
    return ", ".join(parts)
