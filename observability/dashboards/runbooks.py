"""The runbooks as a dashboard of texts, so that they are one click from each panel wherever Grafana runs.

A link into a repository would need an address that only the team knows. The texts are those of observability/runbooks.
"""

from pathlib import Path
from typing import Any

from observability.dashboards import grafana
from observability.dashboards.model import COLUMNS

DIRECTORY = Path(__file__).parents[1] / "runbooks"
UID = "parley-runbooks"
LINES_PER_ROW = 1.3
"""Lines of Markdown that fit into a row of Grafana's grid, about."""


def names() -> list[str]:
    """Return the alerts that have a runbook, in the order of their panels."""
    return sorted(file.stem for file in DIRECTORY.glob("*.md") if file.stem != "README")


def addresses() -> dict[str, str]:
    """Return alert to the address of its runbook within Grafana."""
    return {name: f"/d/{UID}?viewPanel={number}" for number, name in enumerate(names(), 1)}


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's JSON model: one text panel for each runbook."""
    panels: list[dict[str, Any]] = []
    top = 0
    for number, name in enumerate(names(), 1):
        text = (DIRECTORY / f"{name}.md").read_text()
        height = max(8, round(len(text.splitlines()) / LINES_PER_ROW))
        panels.append(
            {
                "id": number,
                "type": "text",
                "title": name,
                "description": "What the alert means and what to do, from observability/runbooks.",
                "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": height},
                "fieldConfig": {"defaults": {}, "overrides": []},
                "options": {"mode": "markdown", "content": text},
            }
        )
        top += height
    # No variables here: Grafana would put their values into commands that hold a $.
    return {
        **grafana.frame(UID, "Parley: runbooks", "What each alert means, and what to do."),
        "templating": {"list": []},
        "annotations": {"list": []},
        "panels": panels,
    }
