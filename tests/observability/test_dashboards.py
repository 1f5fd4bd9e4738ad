"""The dashboards: made from their source, as Grafana wants them, and saying what they show."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.metrics import MetricWrapperBase

import auth_service.metrics
import canary.metrics
import chassis.metrics
import chat_service.metrics
import gateway.metrics
from observability.dashboards import runbooks
from observability.dashboards.__main__ import stale
from observability.nats_exporter import NAMES as OF_NATS
from tests.observability.asked import DASHBOARDS, OBSERVABILITY, RULES, of_dashboards, panels

Json = dict[str, Any]

UIDS = {
    "parley-overview", "parley-connections", "parley-delivery", "parley-rooms", "parley-recovery", "parley-auth",
    "parley-nats", "parley-processes", "parley-runbooks",
}  # fmt: skip
"""What addresses of dashboards are made of: people keep them."""

SILENT = {"Watchdog"}
"""Alerts without a panel: this one fires always, so that its absence is seen."""

MOST_BYTES = 250_000
"""Of one ConfigMap as kubectl notes it in an annotation, as JSON within JSON; annotations may have 262,144."""

UNITS = {"short", "none", "s", "bytes", "Bps", "percentunit", "percent", "ops", "cps", "reqps"}
OF_PROMETHEUS = re.compile(r"up|ALERTS|prometheus_\w+")
OF_THE_PLUGIN = re.compile(r".*\.annotations\.list\[\d\]\.(expr|step|titleFormat|textFormat|useValueForTime)")
"""What Grafana's Prometheus plugin reads of an annotation; the SDK knows only what all plugins have in common."""
_LABELS = re.compile(r"\b(by|on|without|ignoring) \([^)]*\)|\"[^\"]*\"|\{[^}]*\}|\[[^\]]*\]")
_NAME = re.compile(r"[a-zA-Z_:][\w:]*")
_PROMQL = {"sum", "max", "min", "avg", "count", "rate", "increase", "histogram_quantile", "sort_desc", "vector", "time",
           "avg_over_time", "and", "or", "on"}  # fmt: skip


def dashboards() -> list[Json]:
    """Return every dashboard that is committed."""
    return [json.loads(file.read_text()) for file in sorted(DASHBOARDS.glob("*.json"))]


def shown() -> list[tuple[str, Json]]:
    """Return (dashboard, panel) of every panel that asks something."""
    return [(source, panel) for source, panel in panels() if panel["type"] != "text"]


def alerts() -> set[str]:
    """Return the name of every alert."""
    groups = [group for file in RULES.glob("*.yml") for group in yaml.safe_load(file.read_text())["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def known_metrics() -> set[str]:
    """Return every name a query may ask for: declared by a service, by the exporter of NATS, or recorded."""
    found = set(OF_NATS)
    for module in (auth_service.metrics, canary.metrics, chassis.metrics, chat_service.metrics, gateway.metrics):
        for metric in vars(module).values():
            if isinstance(metric, MetricWrapperBase):
                found |= {metric._name + end for end in ("", "_total", "_bucket", "_count", "_sum")}
    for file in RULES.glob("*.yml"):
        groups = yaml.safe_load(file.read_text())["groups"]
        found |= {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}
    return found


def test_the_json_is_what_the_source_makes() -> None:
    """Nobody changed a dashboard by hand, and nobody forgot `make dashboards`."""
    assert stale() == []


def test_addresses_stay() -> None:
    """Each dashboard has its stable uid, and its file is called so."""
    assert {one["uid"] for one in dashboards()} == UIDS == {file.stem for file in DASHBOARDS.glob("*.json")}


@pytest.mark.parametrize("uid", sorted(UIDS))
def test_grafana_s_own_types_understand_all_of_it(uid: str) -> None:
    """Grafana's SDK reads the dashboard, and writes every key and value of it again."""
    register_default_plugins()
    ours = json.loads((DASHBOARDS / f"{uid}.json").read_text())
    theirs = json.loads(json.dumps(Dashboard.from_json(ours), cls=JSONEncoder))
    assert [place for place in lost(ours, theirs, uid) if not OF_THE_PLUGIN.match(place)] == []


def lost(ours: Any, theirs: Any, where: str) -> list[str]:
    """Return the places of what `ours` has and `theirs` has not, or otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            place
            for key, value in ours.items()
            for place in (lost(value, theirs[key], f"{where}.{key}") if key in theirs else [f"{where}.{key}"])
        ]
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        pairs = enumerate(zip(ours, theirs, strict=True))
        return [place for at, (mine, other) in pairs for place in lost(mine, other, f"{where}[{at}]")]
    return [] if ours == theirs else [f"{where}: {ours!r} became {theirs!r}"]


def test_a_key_that_grafana_does_not_know_is_found() -> None:
    """The comparison sees what the SDK drops, and what it changes."""
    assert lost({"a": 1, "b": [{"c": 2}]}, {"a": 1, "b": [{}]}, "x") == ["x.b[0].c"]
    assert lost({"a": [1]}, {"a": [2]}, "x") == ["x.a[0]: 1 became 2"]


@pytest.mark.parametrize("uid", sorted(UIDS - {"parley-runbooks"}))
def test_every_dashboard_opens_alike(uid: str) -> None:
    """The past hour, refreshed every 30 s, a choice of data source and instances, annotations, a way to the others."""
    one = json.loads((DASHBOARDS / f"{uid}.json").read_text())
    assert (one["time"], one["refresh"]) == ({"from": "now-1h", "to": "now"}, "30s")
    assert [each["name"] for each in one["templating"]["list"]] == ["datasource", "instance"]
    assert [each["name"] for each in one["annotations"]["list"]] == [
        "Gateway process started",
        "Gateway draining",
        "Close burst",
    ]
    assert one["links"][0]["tags"] == ["parley"]


@pytest.mark.parametrize(
    ("source", "panel"), shown(), ids=lambda value: value if isinstance(value, str) else value["title"]
)
def test_a_panel_says_what_it_shows(source: str, panel: Json) -> None:
    """Title, a sentence, a unit, thresholds, and a legend for each series where there can be several."""
    assert 3 <= len(panel["title"]) <= 50
    assert len(panel["description"].split()) >= 5
    assert panel["description"].endswith(".")
    defaults = panel["fieldConfig"]["defaults"]
    assert defaults["unit"] in UNITS
    values = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert values[0] is None
    assert values[1:] == sorted(values[1:])
    legends = [target["legendFormat"] for target in panel["targets"]]
    assert len(legends) == len(set(legends))
    if panel["type"] == "timeseries":
        for target in panel["targets"]:
            by = re.match(r"(?:sum|max|min|count) by \(([\w, ]+)\)", target["expr"])
            for label in by[1].split(", ") if by else ():
                assert f"{{{{{label}}}}}" in target["legendFormat"], target
            assert target["legendFormat"] != "__auto"


@pytest.mark.parametrize("uid", sorted(UIDS))
def test_panels_lie_side_by_side(uid: str) -> None:
    """Each has a number of its own and its place within 24 columns; none covers another."""
    places = json.loads((DASHBOARDS / f"{uid}.json").read_text())["panels"]
    assert len({one["id"] for one in places}) == len(places)
    taken: set[tuple[int, int]] = set()
    for one in places:
        at = one["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, one["title"]
        taken |= cells


def test_queries_ask_for_metrics_that_exist() -> None:
    """Every name in a query is declared somewhere, so that a renamed metric is noticed before it is missed."""
    known = known_metrics()
    words = {word for one in of_dashboards() for word in _NAME.findall(_LABELS.sub(" ", one.expr))} - _PROMQL
    assert len(words) > 100
    assert sorted(word for word in words if word not in known and not OF_PROMETHEUS.fullmatch(word)) == []


def test_every_alert_is_one_click_from_its_figure() -> None:
    """Each alert is linked from a panel, and the link leads to the text of its runbook."""
    texts = json.loads((DASHBOARDS / "parley-runbooks.json").read_text())["panels"]
    by_id = {panel["id"]: panel for panel in texts}
    linked = set()
    for _, panel in shown():
        for link in panel["links"]:
            name = link["title"].removeprefix("Runbook: ")
            linked.add(name)
            uid, _, number = link["url"].removeprefix("/d/").partition("?viewPanel=")
            assert uid == runbooks.UID
            text = by_id[int(number)]
            assert text["title"] == name
            assert text["options"]["content"] == (OBSERVABILITY / "runbooks" / f"{name}.md").read_text()
    assert linked - alerts() == set()
    assert alerts() - linked == SILENT


def test_kubernetes_gets_every_dashboard() -> None:
    """kustomization.yaml has each file in a ConfigMap of its own, small enough for kubectl's annotation."""
    listed = yaml.safe_load((OBSERVABILITY / "grafana" / "kustomization.yaml").read_text())["configMapGenerator"]
    files = [file for one in listed for file in one["files"]]
    assert {Path(file).name for file in files if file.startswith("dashboards/")} == {f"{uid}.json" for uid in UIDS}
    for file in files:
        noted = json.dumps({"data": {Path(file).name: (OBSERVABILITY / "grafana" / file).read_text()}})
        assert len(json.dumps(noted)) < MOST_BYTES, file


def test_provisioning_fits_the_dashboards() -> None:
    """Grafana gets one default Prometheus, and looks for dashboards in one directory."""
    provisioning = OBSERVABILITY / "grafana" / "provisioning"
    sources = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert [(one["uid"], one["type"]) for one in sources if one.get("isDefault")] == [("prometheus", "prometheus")]
    provider = yaml.safe_load((provisioning / "dashboards" / "parley.yml").read_text())["providers"][0]
    assert provider["options"]["path"] == "/etc/grafana/parley-dashboards"
    assert not provider["allowUiUpdates"]
