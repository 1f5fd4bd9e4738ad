"""Rules and alerts: judged by promtool and amtool, tried with its unit tests, and tied to the code's metrics."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.bench.metrics import samples
from tests.bench.ports import free_port, wait_until
from tests.observability.rules import (
    ALERTMANAGER,
    PROMETHEUS,
    ROOT,
    RULE_FILES,
    TEST_FILES,
    alerts,
    known_names,
    loaded,
    names_in,
    program,
    recorded,
    run,
)

JOBS = ["gateway", "chat", "auth", "canary", "nats", "prometheus"]
PACKAGES = {"gateway": "gateway", "chat": "chat_service", "auth": "auth_service", "canary": "canary"}
SLOW = pytest.mark.timeout(600)
"""promtool evaluates every rule at every step: a file takes up to half a minute of a processor."""
RUNNING = {
    "parley_nats_connected": "1x70",
    "parley_canary_connected": "1x70",
    "parley_canary_received_total": "0+60x70",
    "parley_processes": "1x70",
    "parley_memory_limit_bytes": "1000000000x70",
    "parley_process_max_fds": "1024x70",
}
"""What is not 0 on a system that nobody uses: metric to its values."""


def test_promtool_accepts_rules_and_configuration() -> None:
    """Rules, configuration and unit tests are of a form that Prometheus takes."""
    run("promtool", "check", "rules", *map(str, RULE_FILES))
    run("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"))


@pytest.fixture(scope="module")
def tried() -> Iterator[dict[Path, "Future[str]"]]:
    """Run promtool on each file of unit tests, as many at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {file: pool.submit(run, "promtool", "test", "rules", str(file), seconds=550) for file in TEST_FILES}


@SLOW
@pytest.mark.parametrize("file", TEST_FILES, ids=[file.stem for file in TEST_FILES])
def test_alerts_fire_when_they_should(tried: dict[Path, "Future[str]"], file: Path) -> None:
    """Each alert fires in its case, and neither when all is well nor when there is too little to judge by."""
    tried[file].result()


def first_page(package: str) -> str:
    """Return the metrics page of a service that has done nothing yet: from a process that only imports its metrics."""
    code = (
        "import importlib, sys; importlib.import_module(sys.argv[1] + '.metrics'); "
        "from chassis import metrics; print(metrics.render()[0].decode())"
    )
    command = [sys.executable, "-c", code, package]
    page = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in page.splitlines() if line.startswith("parley_") and "_created" not in line)


@SLOW
def test_an_idle_system_raises_nothing(tmp_path: Path) -> None:
    """Everything runs, every metric of the code stands at its first value, nobody is there: only the watchdog fires."""
    series = {f'up{{job="{job}",instance="{job}:1"}}': "1x70" for job in JOBS}
    for job, package in PACKAGES.items():
        for name, labels, value in samples(first_page(package)):
            target = {"job": job, "instance": f"{job}:1", **labels}
            text = ",".join(f'{key}="{one}"' for key, one in target.items())
            series[f"{name}{{{text}}}"] = RUNNING.get(name, f"{value:g}x70")
    assert len(series) > 400
    nothing = [
        {"expr": 'ALERTS{alertname!="Watchdog"}', "eval_time": f"{at}m", "exp_samples": []} for at in (5, 34, 69)
    ]
    judge(tmp_path, series, nothing)


@SLOW
def test_an_empty_system_raises_nothing_at_once(tmp_path: Path) -> None:
    """Right after the start, with no target yet, nobody is called; minutes later the missing services are told of."""
    firing = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
    absent = 'count(ALERTS{alertstate="firing",alertname="ParleyServiceAbsent"})'
    judge(
        tmp_path,
        {},
        [
            {"expr": firing, "eval_time": "1m", "exp_samples": []},
            {"expr": absent, "eval_time": "4m", "exp_samples": [{"labels": "{}", "value": 3}]},
        ],
    )


def judge(directory: Path, series: dict[str, str], expected: list[dict[str, Any]]) -> None:
    """Have promtool evaluate all rules over `series`, a minute a step, and compare what comes of it."""
    file = directory / "judged.yml"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": expected,
    }
    content = {"rule_files": list(map(str, RULE_FILES)), "evaluation_interval": "1m", "tests": [test]}
    file.write_text(yaml.safe_dump(content))
    run("promtool", "test", "rules", str(file), seconds=500)


def test_every_alert_is_tried_both_ways() -> None:
    """For each alert there is a case in which it fires, and one in which it must not."""
    fires, silent = {"Watchdog"}, {"Watchdog"}
    for file in TEST_FILES:
        for case in loaded(file)["tests"]:
            for one in case["alert_rule_test"]:
                (fires if one["exp_alerts"] else silent).add(one["alertname"])
    assert sorted(set(alerts()) - fires) == []
    assert sorted(set(alerts()) - silent) == []
    assert sorted((fires | silent) - set(alerts())) == []


def test_every_alert_says_who_acts_and_what_to_read() -> None:
    """Each has a severity, a sentence, its values, and a page that exists. Only the watchdog is nobody's."""
    wrong = []
    for name, alert in alerts().items():
        severities = {"none"} if name == "Watchdog" else {"page", "ticket"}
        if alert.labels.get("severity") not in severities:
            wrong.append(f"{name}: severity")
        if set(alert.annotations) != {"summary", "description", "runbook_url"}:
            wrong.append(f"{name}: annotations")
        elif alert.annotations["runbook_url"] != f"observability/runbooks/{name}.md":
            wrong.append(f"{name}: runbook_url")
        elif not (ROOT / alert.annotations["runbook_url"]).is_file():
            wrong.append(f"{name}: no runbook")
    assert wrong == []


def test_the_canary_stands_first() -> None:
    """The first alert of the page is the one that says that the promise is broken."""
    assert next(iter(_groups("alerts.yml")))["rules"][0]["alert"] == "ParleyCanaryLosesMessages"


def _groups(name: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = loaded(PROMETHEUS / "rules" / name)["groups"]
    return groups


def test_no_group_has_the_name_of_another() -> None:
    """The operator's Prometheus takes all files as one, and each name once."""
    names = [group["name"] for file in RULE_FILES for group in _groups(file.name)]
    assert sorted(names) == sorted(set(names))


def test_recorded_figures_say_what_and_how() -> None:
    """Names are parley:<what>:<function and window>."""
    assert [name for name in recorded() if not re.fullmatch(r"parley:[a-z0-9_]+:[a-z0-9_]+", name)] == []


def test_rules_ask_for_nothing_that_is_not_there() -> None:
    """Each metric in a rule is one of the code's, of NATS's fixed list, of Prometheus's own, or recorded."""
    rules = {**recorded(), **alerts()}
    assert {name: names_in(rule.expr) for name, rule in rules.items() if not names_in(rule.expr)}.keys() == {"Watchdog"}
    unknown = {name: names_in(rule.expr) - known_names() for name, rule in rules.items()}
    assert {name: sorted(names) for name, names in unknown.items() if names} == {}


def test_unit_tests_feed_nothing_that_is_not_there() -> None:
    """A case with a misspelt metric would show nothing."""
    given = {
        name
        for file in TEST_FILES
        for case in loaded(file)["tests"]
        for series in case["input_series"]
        for name in names_in(series["series"])
    }
    assert sorted(given - known_names()) == []


def test_rules_need_no_label_of_one_platform() -> None:
    """Targets are told apart by job and instance alone, under compose as under Kubernetes."""
    labels = re.compile(r"\b(pod|namespace|container|node|service|endpoint|cluster_name)\b\s*(=|!|,|\))")
    wrong = [name for name, rule in {**recorded(), **alerts()}.items() if labels.search(rule.expr)]
    assert wrong == []


def test_every_job_has_targets_in_compose() -> None:
    """The configuration scrapes the jobs that rules know, and the file of targets has some for each."""
    configured = [job["job_name"] for job in loaded(PROMETHEUS / "prometheus.yml")["scrape_configs"]]
    listed = [group["labels"]["target_of"] for group in loaded(PROMETHEUS / "targets" / "compose.yml")]
    assert sorted(configured) == sorted(listed) == sorted(JOBS)


def test_alerts_reach_whom_they_are_for() -> None:
    """amtool takes the configuration; pages, tickets and the watchdog go each to their own receiver."""
    run("amtool", "check-config", str(ALERTMANAGER))
    for labels, receiver in (
        (["alertname=ParleyCanarySilent", "severity=page"], "page"),
        (["alertname=ParleyArchiveLags", "severity=ticket"], "ticket"),
        (["alertname=Watchdog", "severity=none"], "watchdog"),
    ):
        told = run("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", *labels)
        assert told.strip() == receiver


def test_inhibitions_name_alerts_that_exist() -> None:
    """Each alert or pattern in a rule of inhibition fits one alert at least; a renamed one would inhibit nothing."""
    patterns = [
        alternative
        for rule in loaded(ALERTMANAGER)["inhibit_rules"]
        for matcher in rule["source_matchers"] + rule["target_matchers"]
        if matcher.startswith("alertname")
        for alternative in _alternatives(matcher.partition('"')[2].rstrip('"'))
    ]
    assert patterns
    assert [one for one in patterns if not any(re.fullmatch(one, name) for name in alerts())] == []


def _alternatives(pattern: str) -> list[str]:
    """Split a pattern at its outer bars."""
    return re.split(r"\|(?![^(]*\))", pattern)


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """Run an Alertmanager with the configuration that ships; gives its address."""
    address = f"127.0.0.1:{free_port()}"
    command = [
        program("prometheus-alertmanager"),
        f"--config.file={ALERTMANAGER}",
        f"--storage.path={tmp_path}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _ready(f"http://{address}/-/ready"), "Alertmanager is ready", seconds=60)
        yield f"http://{address}/api/v2/alerts"
    finally:
        process.terminate()
        process.wait(20)


def _ready(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def test_consequences_are_not_told_while_their_cause_is(alertmanager: str) -> None:
    """Without a quorum: the quorum and the canary are told, not what follows from it, nor tickets."""
    now = datetime.now(UTC)
    given = {
        name: {
            "labels": {"alertname": name, "severity": alerts()[name].labels["severity"], **labels},
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(minutes=10)).isoformat(),
        }
        for name, labels in {
            "ParleyNatsNoQuorum": {},
            "ParleyCanarySilent": {},
            "ParleyNatsDisconnected": {"job": "chat", "instance": "chat:8002"},
            "ParleyChatRefuses": {},
            "ParleySendSloBurnsFast": {},
            "ParleyArchiveLags": {},
            "ParleyNatsNodeLost": {},
            "ParleyServiceAbsent": {"job": "auth"},
            "ParleyTargetDown": {"job": "auth", "instance": "auth:9001"},
            "ParleyHandshakesRefused": {"reason": "foreign_origin"},
        }.items()
    }
    assert httpx.post(alertmanager, json=list(given.values())).status_code == 200

    def told() -> set[str]:
        active = httpx.get(alertmanager, params={"inhibited": "false"}).json()
        return {one["labels"]["alertname"] for one in active if one["status"]["state"] == "active"}

    expected = {"ParleyNatsNoQuorum", "ParleyCanarySilent", "ParleyNatsNodeLost", "ParleyServiceAbsent"}
    wait_until(lambda: told() == expected, f"told are {sorted(expected)}")
