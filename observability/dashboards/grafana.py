"""Our dashboards as Grafana wants them: its JSON model, with what we always set the same."""

from collections.abc import Iterator
from string import ascii_uppercase
from typing import Any

from observability.dashboards.model import COLUMNS, HEIGHT, Dashboard, Kind, Panel, Query, Row

Json = dict[str, Any]

SCHEMA = 39
"""The model's version of Grafana 11; later ones read it."""
SOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
TAG = "parley"
CALM, AMBER, RED = "green", "orange", "red"


def dashboard(source: Dashboard, runbooks: dict[str, str]) -> Json:
    """Return the dashboard in Grafana's JSON model; `runbooks` are addresses by the name of their alert."""
    return {
        **frame(source.uid, source.title, source.question),
        "refresh": "30s",
        "templating": {"list": list(_variables(source.instances))},
        "annotations": {"list": list(_annotations())},
        "panels": list(_panels(source.rows, runbooks)),
    }


def frame(uid: str, title: str, question: str) -> Json:
    """Return what each of our dashboards has, filled with panels or not."""
    return {
        "uid": uid,
        "title": title,
        "description": question,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "links": [_other_dashboards()],
    }


def _other_dashboards() -> Json:
    return {
        "type": "dashboards", "title": "Parley", "tags": [TAG], "icon": "external link", "tooltip": "", "url": "",
        "asDropdown": True, "includeVars": False, "keepTime": True, "targetBlank": False,
    }  # fmt: skip


def _variables(instances: str) -> Iterator[Json]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    yield {
        "name": "instance",
        "label": "Instance",
        "type": "query",
        "datasource": SOURCE,
        "query": f"label_values({instances}, instance)",
        "refresh": 2,  # also when the time range changes: pods come and go
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _annotations() -> Iterator[Json]:
    yield _annotation(
        "Gateway process started",
        "blue",
        'parley_process_start_time_seconds{job="gateway"} * 1000',
        "{{instance}}",
        useValueForTime=True,
    )
    yield _annotation("Gateway draining", "purple", "max by (instance) (parley_draining) > 0", "{{instance}}")
    yield _annotation(
        "Close burst",
        "red",
        # More than a tenth of all connections within a minute, and more than a handful.
        "sum by (code, cause) (increase(parley_disconnects_total[1m])) > 10"
        " and on () sum(increase(parley_disconnects_total[1m])) > 0.1 * sum(parley_connections)",
        "{{code}} {{cause}}",
    )


def _annotation(name: str, colour: str, expr: str, text: str, **more: Any) -> Json:
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "titleFormat": name,
        "textFormat": text,
        "step": "30s",
        **more,
    }


def _panels(rows: tuple[Row, ...], runbooks: dict[str, str]) -> Iterator[Json]:
    """Yield rows and panels, each with a number of its own and its place: left to right, then the next line."""
    number, top = 1, 0
    for row in rows:
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [],
               "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1}}  # fmt: skip
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": HEIGHT[panel.kind]}
            yield {"id": number, "gridPos": place, **_panel(panel, runbooks)}
            number, left, height = number + 1, left + panel.width, max(height, HEIGHT[panel.kind])
        top += height


def _panel(panel: Panel, runbooks: dict[str, str]) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": SOURCE,
        "targets": [
            _target(panel.kind, query, letter) for query, letter in zip(panel.queries, ascii_uppercase, strict=False)
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "links": [_runbook(alert, runbooks[alert]) for alert in panel.alerts],
        **({"transformations": _ROWS} if panel.kind == "table" else {}),
    }


def _runbook(alert: str, address: str) -> Json:
    return {
        "type": "link", "title": f"Runbook: {alert}", "url": address, "icon": "", "tooltip": "", "tags": [],
        "asDropdown": False, "includeVars": False, "keepTime": False, "targetBlank": True,
    }  # fmt: skip


def _target(kind: Kind, query: Query, letter: str) -> Json:
    now = kind in ("stat", "table")
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "format": {"heatmap": "heatmap", "table": "table"}.get(kind, "time_series"),
        "instant": now,
        "range": not now,
    }


def _field(panel: Panel) -> Json:
    lowest = {"color": RED if panel.low_is_bad else CALM, "value": None}
    above = [(panel.red, CALM if panel.low_is_bad else RED)]
    if panel.amber is not None:
        above = [(panel.amber, AMBER), *above] if not panel.low_is_bad else [(panel.red, AMBER), (panel.amber, CALM)]
    steps = [{"color": colour, "value": value} for value, colour in above if value is not None]
    field: Json = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": [lowest, *steps]}}
    if panel.decimals is not None:
        field["decimals"] = panel.decimals
    if panel.most is not None:
        field["max"] = panel.most
    if panel.kind == "stat":
        return field | {"color": {"mode": "thresholds"}, "noValue": "no data"}
    if panel.kind == "timeseries":
        return field | {"color": {"mode": "palette-classic"}, "min": 0, "custom": _lines(panel, bool(steps))}
    return field


def _lines(panel: Panel, marked: bool) -> Json:
    return {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 5,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if marked else "off"},
    }


_OPTIONS: dict[Kind, Json] = {
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    },
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "heatmap": {
        "calculate": False,
        "cellGap": 1,
        "color": {"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5, "reverse": False,
                  "steps": 64},
        "filterValues": {"le": 1e-9},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "legend": {"show": True},
        "tooltip": {"show": True, "yHistogram": True},
        "yAxis": {"unit": "s", "reverse": False, "axisPlacement": "left"},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
    },
    "table": {
        "showHeader": True,
        "cellHeight": "sm",
        "sortBy": [{"displayName": "Value", "desc": True}],
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
    },
}  # fmt: skip
_ROWS = [{"id": "organize", "options": {"excludeByName": {"Time": True}, "indexByName": {}, "renameByName": {}}}]
