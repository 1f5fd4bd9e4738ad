"""Plots of the rows, as small SVG files. The library is in requirements/bench.txt; nothing else here uses it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import Result, Results

OURS = "Parley"
OURS_COLOUR, THEIR_COLOUR, TEXT_COLOUR = "#0b7285", "#adb5bd", "#495057"
INCHES = 7.0
BAR_INCHES = 0.32


def draw(results: Results, directory: Path) -> dict[str, str]:
    """Draw what was measured; return the name of the file of each row that has one."""
    found = {}
    for name, plot in PLOTS.items():
        if (row := results.rows.get(name)) and row.figures:
            file = directory / f"bench-{name}.svg"
            plot(row, file)
            found[name] = file.name
    return found


def _figure(height: float) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    # Text stays text, and the same figures make the same file.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "parley", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(INCHES, height), layout="constrained")
    return figure, axes


def _save(figure: Any, axes: Any, file: Path) -> None:
    from matplotlib import pyplot

    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    lines = [line.rstrip() for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")


def _bars(key: str, label: str, form: str, *, logarithmic: bool = False) -> Callable[[Result, Path], None]:
    """Return how to draw one figure of every server, the largest first."""

    def plot(row: Result, file: Path) -> None:
        pairs = [(name, spread[key].median) for name, spread in row.figures.items() if key in spread]
        pairs.sort(key=lambda pair: pair[1])
        names: Sequence[str] = [name for name, _ in pairs]
        figure, axes = _figure(0.8 + BAR_INCHES * len(pairs))
        colours = [OURS_COLOUR if name.startswith(OURS) else THEIR_COLOUR for name in names]
        bars = axes.barh(names, [value for _, value in pairs], color=colours)
        axes.bar_label(bars, [format(value, form) for _, value in pairs], padding=3, color=TEXT_COLOUR)
        if logarithmic:
            axes.set_xscale("log")
        axes.margins(x=0.12)
        axes.set_xlabel(label + (", logarithmic" if logarithmic else ""))
        _save(figure, axes, file)

    return plot


def _latency(row: Result, file: Path) -> None:
    """Draw p50 and p99 of every server."""
    pairs = sorted(row.figures.items(), key=lambda pair: -pair[1]["p50_ms"].median)
    figure, axes = _figure(0.8 + BAR_INCHES * len(pairs))
    for i, (name, spread) in enumerate(pairs):
        colour = OURS_COLOUR if name.startswith(OURS) else THEIR_COLOUR
        p50, p99 = spread["p50_ms"].median, spread["p99_ms"].median
        axes.plot([p50, p99], [i, i], color=colour, linewidth=3)
        axes.plot([p50], [i], "o", color=colour)
        axes.plot([p99], [i], "|", color=colour, markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(pairs)), [name for name, _ in pairs])
    axes.set_xscale("log")
    axes.set_xlabel("ms: p50 (dot) to p99 (bar), logarithmic")
    _save(figure, axes, file)


def _members(row: Result, file: Path) -> None:
    """Draw the cost of a delivery by the size of its room."""
    sizes = [int(label.rpartition(" ")[2]) for label in row.figures]
    costs = [spread["cpu_us"].median for spread in row.figures.values()]
    figure, axes = _figure(2.8)
    axes.loglog(sizes, costs, "o-", color=OURS_COLOUR)
    for size, cost in zip(sizes, costs, strict=True):
        axes.annotate(f"{cost:.1f}", (size, cost), textcoords="offset points", xytext=(4, 5), color=TEXT_COLOUR)
    axes.set_xlabel("members of a room")
    axes.set_ylabel("gateway CPU µs per delivery")
    _save(figure, axes, file)


PLOTS: dict[str, Callable[[Result, Path], None]] = {
    "room": _bars("per_core_k", "thousand deliveries per core-second", ",.0f", logarithmic=True),
    "room5000": _bars("per_core_k", "thousand deliveries per core-second", ",.0f", logarithmic=True),
    "small": _bars("per_core_k", "thousand deliveries per core-second", ",.0f"),
    "steady": _latency,
    "idle": _bars("idle_kib", "KiB of an idle connection", ".1f"),
    "members": _members,
}
