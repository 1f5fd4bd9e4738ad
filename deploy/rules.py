"""`python -m deploy.rules`: write the PrometheusRule of k8s/components/monitoring from observability/prometheus/rules.

A PrometheusRule holds the rules themselves, and kustomize cannot put a file into a field. So the object is made here,
and a test holds it to the files that compose uses.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
SOURCES = "observability/prometheus/rules"
TARGET = "k8s/components/monitoring/rules.yaml"
HEAD = f"# Written by `make manifests` from {SOURCES}; change it there.\n"


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: long texts as blocks."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text.strip() else None)


_Dumper.add_representer(str, _text)


def rendered(root: Path = ROOT) -> str:
    """Return the PrometheusRule with every group of the rule files below `root`, in the order of their names."""
    groups: list[Any] = []
    for file in sorted((root / SOURCES).glob("*.yml")):
        groups += yaml.safe_load(file.read_text())["groups"]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "parley"},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(rule, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def write(root: Path = ROOT) -> None:
    """Write it to its place, when something changed."""
    target = root / TARGET
    text = rendered(root)
    if not target.exists() or target.read_text() != text:
        target.write_text(text)


if __name__ == "__main__":
    write()
    sys.exit(0)
