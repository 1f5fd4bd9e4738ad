"""The rules as the tests of observability see them, and the programs that judge them."""

import importlib
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import metrics as families

from observability.nats_exporter import NAMES

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "observability" / "prometheus"
ALERTMANAGER = ROOT / "observability" / "alertmanager" / "alertmanager.yml"
RUNBOOKS = ROOT / "observability" / "runbooks"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
PACKAGES = ("chassis", "gateway", "auth_service", "chat_service", "canary")
OF_PROMETHEUS = {
    "prometheus_rule_evaluation_failures_total",
    "prometheus_config_last_reload_successful",
    "prometheus_notifications_dropped_total",
    "prometheus_notifications_alertmanagers_discovered",
}
"""What rules may ask of Prometheus itself."""

_NAME = re.compile(r"(?<![\w:])((?:parley|gnatsd|jetstream|prometheus|process)[_:][\w:]*\w|up(?=[\s{)]|$))")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Rule:
    """One rule of a file."""

    name: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)


def program(name: str) -> str:
    """Return the path of a program of Debian's packages; without it nothing can be said, so that is a failure."""
    found = shutil.which(name)
    assert found, f"{name} is missing: .ci/run names the Debian package it comes with"
    return found


def run(*command: str, seconds: float = 60) -> str:
    """Run a program and return what it printed; fail with all it wrote when it does not succeed."""
    done = subprocess.run([program(command[0]), *command[1:]], capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def loaded(file: Path) -> Any:
    """Return the content of a YAML file."""
    return yaml.safe_load(file.read_text())


def _rules(kind: str) -> dict[str, Rule]:
    found = {}
    for file in RULE_FILES:
        for group in loaded(file)["groups"]:
            for rule in group["rules"]:
                if kind in rule:
                    assert rule[kind] not in found, f"{rule[kind]} is there twice"
                    parts = rule.get("labels", {}), rule.get("annotations", {})
                    found[rule[kind]] = Rule(rule[kind], str(rule["expr"]), *parts)
    return found


@cache
def alerts() -> dict[str, Rule]:
    """Return name to alert, in the order of the files."""
    return _rules("alert")


@cache
def recorded() -> dict[str, Rule]:
    """Return name to recording rule."""
    return _rules("record")


@cache
def known_names() -> frozenset[str]:
    """Return every name that a query may use: of the code's metrics, NATS's, Prometheus's own, and what is recorded."""
    names = {"up", *OF_PROMETHEUS, *NAMES, *recorded()}
    for package in PACKAGES:
        for one in vars(importlib.import_module(f"{package}.metrics")).values():
            if isinstance(one, families.MetricWrapperBase):
                names |= _shown(one)
    return frozenset(names)


def _shown(one: families.MetricWrapperBase) -> set[str]:
    if isinstance(one, families.Counter):
        return {f"{one._name}_total"}
    if isinstance(one, families.Histogram):
        return {f"{one._name}_{part}" for part in ("bucket", "sum", "count")}
    return {one._name}


def names_in(query: str) -> set[str]:
    """Return the metrics that a query asks for."""
    return set(_NAME.findall(_QUOTED.sub('""', query)))
