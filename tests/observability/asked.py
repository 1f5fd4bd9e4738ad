"""What dashboards and rules ask of Prometheus, in a form that can be asked without Grafana and without a fault.

A query of a panel has its variables replaced. An alert's expression gives nothing while all is well, so its comparisons
are turned into ones that answer 0 or 1 (PromQL's `bool`): then it gives data exactly if what it compares is there.
`unless` becomes `and`, `absent` becomes `count`, and what was a quarter of an hour ago is asked for now.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

OBSERVABILITY = Path(__file__).resolve().parents[2] / "observability"
DASHBOARDS = OBSERVABILITY / "grafana" / "dashboards"
RULES = OBSERVABILITY / "prometheus" / "rules"

VARIABLES = {
    "$__rate_interval": "15s",
    "$__interval": "1s",
    "$__range": "10m",
    "$instance": ".*",
}
"""What Grafana would put in. The longest name first, where one begins another."""

_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|\{[^}]*\}")
_COMPARISON = re.compile(r"(==|!=|>=|<=|>|<)(?!\s*bool\b)")
_ABSENT = re.compile(r"\babsent\s*\(")
_ABSENT_OVER_TIME = re.compile(r"\babsent_over_time\s*\(")
_OFFSET = re.compile(r"\boffset\s+\d+[smhd]\b")
_UNLESS = re.compile(r"\bunless\b")


@dataclass(frozen=True)
class Asked:
    """One expression: the file it stands in, what it is for, and how it is asked."""

    source: str
    title: str
    expr: str


def replaced(expr: str) -> str:
    """Return a panel's expression with Grafana's variables replaced."""
    for name, value in VARIABLES.items():
        expr = expr.replace(name, value)
    assert "$" not in expr, f"a variable nobody knows: {expr}"
    return expr


def unconditional(expr: str) -> str:
    """Return an alert's expression so that it gives data whether the alert fires or not."""
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    bare = _QUOTED.sub(keep, expr)
    bare = _COMPARISON.sub(r"\1 bool ", bare)
    bare = _ABSENT_OVER_TIME.sub("count_over_time(", _ABSENT.sub("count(", bare))
    bare = _OFFSET.sub("", _UNLESS.sub("and", bare))
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], bare)


def panels() -> list[tuple[str, dict[str, Any]]]:
    """Return (file name, panel) of everything on a dashboard that is not a row."""
    found = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(file.read_text())["panels"]:
            if panel["type"] != "row":
                found.append((file.stem, panel))
    return found


def of_dashboards() -> Iterator[Asked]:
    """Yield every query of every panel and of every annotation."""
    for source, panel in panels():
        for target in panel.get("targets", ()):
            yield Asked(source, f"{panel['title']} ({target['refId']})", replaced(target["expr"]))
    for file in sorted(DASHBOARDS.glob("*.json")):
        for one in json.loads(file.read_text())["annotations"]["list"]:
            yield Asked(file.stem, f"annotation: {one['name']}", replaced(one["expr"]))


def of_rules() -> Iterator[Asked]:
    """Yield what every recording rule recorded, and what every alert looks at."""
    for file in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    yield Asked(file.name, rule["record"], rule["record"])
                else:
                    yield Asked(file.name, rule["alert"], unconditional(rule["expr"]))


def variables() -> list[tuple[str, str, str]]:
    """Return (file name, metric, label) of every variable that offers the values of a label."""
    found = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        for one in json.loads(file.read_text())["templating"]["list"]:
            match = re.fullmatch(r"label_values\((\w+), (\w+)\)", str(one.get("query", "")))
            if match:
                found.append((file.stem, match[1], match[2]))
    return found
