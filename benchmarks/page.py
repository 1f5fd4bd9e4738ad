"""Writes the measured tables into docs/performance.md, between its markers; the prose around them stays."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import costs, plots
from benchmarks.aims import judged
from benchmarks.generator import HERE, Failed
from benchmarks.results import Result, Results
from benchmarks.rows import ROWS, Column, Row

PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
BUSY = 0.5
"""A load average above which others had work on the machine too."""


def write(results: Results, page: Path = PAGE) -> None:
    """Draw the plots, and put everything into the page. Raises `Failed` when the page has no markers."""
    text = page.read_text()
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise Failed(f"{page.name} lacks {BEGIN} or {END}")
    drawn = plots.draw(results, page.parent / "images")
    page.write_text(f"{head}{BEGIN}\n{body(results, drawn)}\n{END}{tail}")


def body(results: Results, drawn: Mapping[str, str]) -> str:
    """Return the tables, with plots where `drawn` names the file of a row."""
    parts = (_circumstances(results), _aims(results), _rows(results, drawn), costs.told(results))
    return "\n".join(line for part in parts for line in part)


def _circumstances(results: Results) -> Iterator[str]:
    yield "Measured on " + "; ".join(f"{name}: {value}" for name, value in results.machine.items()) + "."
    yield ""
    if missing := [f"`{row.name}`" for row in ROWS if row.name not in results.rows]:
        yield f"**Not measured yet**: {', '.join(missing)}."
        yield ""
    busy = [row for row in results.rows.values() if row.load_before > BUSY]
    if busy:
        yield (
            f"**Others had work on the machine** before {len(busy)} of {len(results.rows)} rows (load average up to "
            f"{max(row.load_before for row in busy):.1f}): processor times and latencies are upper bounds there, "
            "ratios say more."
        )
        yield ""


def _aims(results: Results) -> Iterator[str]:
    yield "### Against the aims"
    yield ""
    yield "| work | aim | measured | |"
    yield "|---|---|---|---|"
    for aim in judged(results):
        yield f"| {aim.work} | {aim.aim} | {aim.measured} | {'reached' if aim.reached else '**falls short**'} |"
    yield ""


def _rows(results: Results, drawn: Mapping[str, str]) -> Iterator[str]:
    for row in ROWS:
        result = results.rows.get(row.name)
        if result is None:
            continue
        yield f"### {row.title}"
        yield ""
        yield row.says
        yield ""
        yield from _table(row, result)
        yield ""
        load = f"load average before {result.load_before:.1f}"
        pace = f", processor at {result.pace:.0%} of its best" if result.pace else ""
        yield f"`{row.name}`: {result.taken}, medians of {result.repeats}, {load}{pace}."
        yield ""
        if row.name in drawn:
            yield f"![{row.title}](images/{drawn[row.name]})"
            yield ""


def _table(row: Row, result: Result) -> Iterator[str]:
    yield "| | " + " | ".join(column.heading for column in row.columns) + " |"
    yield "|---" * (len(row.columns) + 1) + "|"
    for label in result.figures:
        yield f"| {label} | " + " | ".join(_cell(result, label, column) for column in row.columns) + " |"
    for label, why in result.failed.items():
        yield f"| {label} | **failed**: {' '.join(why.split())[:160]}" + " |" * len(row.columns)


def _cell(result: Result, label: str, column: Column) -> str:
    spread = result.figures[label].get(column.key)
    if spread is None:
        return ""
    text = format(spread.median, column.form)
    low, high = format(spread.least, column.form), format(spread.most, column.form)
    return text if low == high else f"{text} ({low} to {high})"
