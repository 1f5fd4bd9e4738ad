"""Write the tables of settings, metrics, alerts and codes into the docs, from what defines them.

    python -m docs.tables           rewrite the tables in docs/*.md
    python -m docs.tables --check   say which are out of date, and exit 1 when any is

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from prometheus_client import metrics as families

from chassis.settings import Settings
from protocol import codes

DOCS = Path(__file__).parent
RULES = DOCS.parent / "observability" / "prometheus" / "rules"
_TABLE = re.compile(r"(<!-- table: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SETTINGS = {
    "gateway": ("gateway.settings", "GatewaySettings"),
    "auth": ("auth_service.settings", "Settings"),
    "chat": ("chat_service.settings", "Settings"),
    "canary": ("canary.settings", "Settings"),
    "launcher": ("launcher.settings", "LauncherSettings"),
    "nats-exporter": ("observability.settings", "ExporterSettings"),
}
_METRICS = {
    "every-service": "chassis",
    "gateway": "gateway",
    "auth": "auth_service",
    "chat": "chat_service",
    "canary": "canary",
}


def _rows(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


def _settings(kind: type[Settings], inherited: bool) -> str:
    common = Settings.model_fields
    rows = []
    for name, field in kind.model_fields.items():
        if inherited or name not in common:
            default = field.get_default(call_default_factory=True)
            default = ",".join(default) if isinstance(default, list) else default
            shown = "" if default in ("", [], None) or "Secret" in type(default).__name__ else f"`{default}`"
            rows.append((f"`{name.upper()}`", shown, field.description))
    return _rows(("setting", "default", "meaning"), rows)


def _settings_of(service: str) -> str:
    module, name = _SETTINGS[service]
    return _settings(getattr(importlib.import_module(module), name), inherited=False)


def _metrics_of(package: str) -> str:
    module = importlib.import_module(f"{package}.metrics")
    # A module may also name a metric with its labels filled in: that is no other one.
    own = [one for one in vars(module).values() if isinstance(one, families.MetricWrapperBase) and not one._labelvalues]
    rows = []
    for one in own:
        name = one._name + ("_total" if isinstance(one, families.Counter) else "")
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        rows.append((f"`{name}`", one._type, labels, one._documentation))
    return _rows(("metric", "type", "labels", "meaning"), rows)


def _alerts() -> str:
    rows = []
    for name in ("alerts", "slo"):
        for group in yaml.safe_load((RULES / f"{name}.yml").read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    alert, severity = rule["alert"], rule["labels"]["severity"]
                    meaning = re.sub(r"\{\{ \$labels\.(\w+) \}\}", r"*\1*", rule["annotations"]["summary"])
                    rows.append((f"[`{alert}`](../{rule['annotations']['runbook_url']})", severity, meaning))
    return _rows(("alert and runbook", "severity", "meaning"), rows)


def _errors() -> str:
    rows = ((e.code, e.message, "yes" if e.temporary else "", e.when) for e in codes.ERRORS.values())
    return _rows(("code", "message", "temporary", "when"), sorted(rows))


def _disconnects() -> str:
    rows = ((d.code, d.reason, "yes" if d.reconnect else "no", d.when) for d in codes.DISCONNECTS.values())
    return _rows(("code", "reason", "SDKs reconnect", "when"), sorted(rows))


def _unsubscribes() -> str:
    rows = ((u.code, u.reason, "yes" if u.code >= 2500 else "no", u.when) for u in codes.UNSUBSCRIBES.values())
    return _rows(("code", "reason", "SDKs subscribe again", "when"), sorted(rows))


TABLES: dict[str, Callable[[], str]] = {
    "settings-every-service": lambda: _settings(Settings, inherited=True),
    **{f"settings-{name}": (lambda name=name: _settings_of(name)) for name in _SETTINGS},
    **{f"metrics-{name}": (lambda package=package: _metrics_of(package)) for name, package in _METRICS.items()},
    "alerts": _alerts,
    "errors": _errors,
    "disconnects": _disconnects,
    "unsubscribes": _unsubscribes,
}


def rewritten(text: str) -> str:
    """Return `text` with every table in it made anew."""
    return _TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main() -> int:
    """Rewrite or check every page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs.tables", description="Tables of the docs, from the code.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a table is out of date")
    check = parser.parse_args().check
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text()
        made = rewritten(text)
        if made != text:
            stale.append(page.name)
            if not check:
                page.write_text(made)
    if stale:
        print(("out of date (run make docs): " if check else "rewrote: ") + ", ".join(stale))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
