"""What a dashboard is to us: rows of panels, each with its queries, its unit and a sentence on what a rise means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

Kind = Literal["stat", "timeseries", "heatmap", "table"]

HEIGHT: dict[Kind, int] = {"stat": 4, "timeseries": 8, "heatmap": 8, "table": 8}
"""Rows of Grafana's grid that a panel takes."""
COLUMNS = 24
"""Columns of Grafana's grid."""


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression. `legend` names its series: text, with labels in double braces."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `unit` is Grafana's word for it (s, bytes, percentunit, reqps, short ...).

    `amber` and `red` are the values from which on it is coloured; with `low_is_bad`, from which on it is not.
    """

    kind: Kind
    title: str
    meaning: str
    unit: str
    queries: tuple[Query, ...]
    amber: float | None = None
    red: float | None = None
    low_is_bad: bool = False
    alerts: tuple[str, ...] = ()
    """Names of the alerts that stand on the same figure; their runbooks are linked."""
    width: int = 8
    stacked: bool = False
    decimals: int | None = None
    most: float | None = None
    """The end of the axis, where the figure has one (1 for shares)."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard. `instances` is the metric whose targets the variable `instance` offers."""

    uid: str
    title: str
    question: str
    """What it answers, in one sentence."""
    instances: str
    rows: tuple[Row, ...]


class Options(TypedDict, total=False):
    """What may be said of a panel besides what it must have; as in `Panel`."""

    amber: float
    red: float
    low_is_bad: bool
    alerts: tuple[str, ...]
    width: int
    stacked: bool
    decimals: int
    most: float


def number(title: str, meaning: str, unit: str, expr: str, **options: Unpack[Options]) -> Panel:
    """Return one figure, 4 columns wide unless told."""
    wide: Options = {"width": 4, **options}
    return Panel("stat", title, meaning, unit, (Query(expr),), **wide)


def lines(title: str, meaning: str, unit: str, queries: Sequence[Query], **options: Unpack[Options]) -> Panel:
    """Return lines over time."""
    return Panel("timeseries", title, meaning, unit, tuple(queries), **options)


def heat(title: str, meaning: str, unit: str, expr: str, **options: Unpack[Options]) -> Panel:
    """Return how a histogram's buckets fill over time; `expr` gives one series per `le`."""
    return Panel("heatmap", title, meaning, unit, (Query(expr, "{{le}}"),), **options)


def table(title: str, meaning: str, unit: str, expr: str, **options: Unpack[Options]) -> Panel:
    """Return the newest value of each series as a row, the largest first."""
    return Panel("table", title, meaning, unit, (Query(expr),), **options)
