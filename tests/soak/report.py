"""`python -m tests.soak.report LOG`: what a soak printed, as a page with a table and a plot (docs/soak.md).

The plot's library is in requirements/bench.txt (`make bench` installs it).
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAGE, PLOT = ROOT / "docs" / "soak.md", ROOT / "docs" / "images" / "soak.svg"
COLUMNS = ("time", "sent", "acked", "delivered", "recovered", "gaps", "repeated", "missed", "cuts", "kills", "rounds")
HEAD = """\
# A soak

Load and random faults for half an hour: gateways that lose one live message in a hundred, broken connections, gateway
workers killed with signal 9, losses of NATS. Every round is judged whole by the history checker
(`tests/bench/history.py`). `make soak SOAK='--minutes 30'` runs it again; `python -m tests.soak.report` writes this.
"""
ROWS = 16
"""About how many lines of the table are kept."""
OURS, FAULTS = "#0b7285", "#e8590c"


def parsed(text: str) -> list[dict[str, int]]:
    """Return the lines of a soak's table; `time` in seconds."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == len(COLUMNS) and ":" in words[0] and words[1].isdigit():
            minutes, _, seconds = words[0].partition(":")
            found.append(dict(zip(COLUMNS, [int(minutes) * 60 + int(seconds), *map(int, words[1:])], strict=True)))
    return found


def table(lines: list[dict[str, int]]) -> str:
    """Return about `ROWS` of the lines, the last among them, as Markdown."""
    step = max(1, len(lines) // ROWS)
    kept = [*lines[step - 1 : -1 : step], lines[-1]]
    head = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
    rows = [
        f"| {one['time'] // 60}:{one['time'] % 60:02} | {' | '.join(f'{one[name]:,}' for name in COLUMNS[1:])} |"
        for one in kept
    ]
    return "\n".join([head, *rows])


def draw(lines: list[dict[str, int]], file: Path) -> None:
    """Draw acknowledged messages and faults by time."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "parley", "font.size": 9})
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
    minutes = [one["time"] / 60 for one in lines]
    rates = [
        (after["acked"] - before["acked"]) / max(1, after["time"] - before["time"])
        for before, after in itertools.pairwise([dict.fromkeys(COLUMNS, 0), *lines])
    ]
    above.plot(minutes, rates, color=OURS, linewidth=1)
    above.set_ylabel("acknowledged per second")
    for name, style in (("cuts", "-"), ("kills", "--")):
        below.plot(minutes, [max(1, one[name]) for one in lines], style, color=FAULTS, label=name)
    lost: Any = [one["missed"] + one["repeated"] for one in lines]
    below.plot(minutes, lost, color=OURS, label="lost or doubled")
    below.set_yscale("symlog")
    below.set_xlabel("minutes")
    below.set_ylabel("so far")
    below.legend(frameon=False)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    file.write_text("\n".join(line.rstrip() for line in file.read_text().splitlines()) + "\n")


def main() -> None:
    """Write the page of the log that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.report", description=__doc__)
    parser.add_argument("log", type=Path, help="what `make soak` printed")
    parser.add_argument("--about", default="", help="a sentence on machine, date and options, for the page")
    arguments = parser.parse_args()
    text = arguments.log.read_text()
    lines = parsed(text)
    if not lines:
        raise SystemExit(f"{arguments.log}: no line of a soak's table; give the file that `make soak > FILE` wrote")
    last = [line for line in text.splitlines() if line.strip()][-1]
    draw(lines, PLOT)
    parts = [HEAD, arguments.about, "", table(lines), "", f"Its last line: `{last.strip()}`", ""]
    PAGE.write_text("\n".join([*parts, "![Rate and faults](images/soak.svg)", ""]))
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)} and {PLOT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
