"""A real Prometheus with the configuration and the rules that ship, in a hurry: every interval is a second."""

import json
import math
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.bench.ports import free_port, wait_until

SHIPPED = Path(__file__).resolve().parents[2] / "observability" / "prometheus"
EVERY = "1s"


class BadQuery(Exception):
    """Prometheus cannot carry out the query; the text is its own."""


def program() -> str:
    """Return the path of Prometheus."""
    found = shutil.which("prometheus")
    assert found, "prometheus is missing: install Debian's package of that name (RUNLEVEL=1 keeps it from starting)"
    return found


def hurried(text: str) -> str:
    """Return the shipped configuration with a second for each interval, and without Alertmanager."""
    config = yaml.safe_load(text)
    config["global"] |= {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY}
    del config["alerting"]
    return yaml.safe_dump(config, sort_keys=False)


def target_file(targets: dict[str, list[str]]) -> str:
    """Return what stands in the directory of targets, as the shipped files there do."""
    return yaml.safe_dump([{"targets": each, "labels": {"target_of": job}} for job, each in targets.items()])


def hurried_rules(text: str) -> str:
    """Return a rule file whose groups are evaluated every second."""
    rules = yaml.safe_load(text)
    for group in rules["groups"]:
        group["interval"] = EVERY
    return yaml.safe_dump(rules, sort_keys=False)


class Prometheus:
    """One Prometheus that scrapes `targets` (job to addresses) and evaluates the shipped rules."""

    def __init__(self, directory: Path, targets: dict[str, list[str]]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "prometheus.log"
        self.started = time.time()
        self._directory = directory
        self._targets = targets | {"prometheus": [f"127.0.0.1:{self.port}"]}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        config = self._directory / "prometheus.yml"
        for name in ("rules", "targets"):  # where the configuration looks for them, beside itself
            (self._directory / name).mkdir(parents=True)
        for file in sorted((SHIPPED / "rules").glob("*.yml")):
            (self._directory / "rules" / file.name).write_text(hurried_rules(file.read_text()))
        (self._directory / "targets" / "check.yml").write_text(target_file(self._targets))
        config.write_text(hurried((SHIPPED / "prometheus.yml").read_text()))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program(),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={self._directory / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            wait_until(lambda: self._ready() or self._ended(), "Prometheus is ready", 30, 0.1)
            assert not self._ended(), f"Prometheus ended:\n{self.log.read_text()}"
        except BaseException:  # whatever went wrong, nothing is left behind
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def has_data(self, expr: str) -> bool:
        """Tell whether `expr` gave a number at any second since the start; raise `BadQuery` when it cannot be asked."""
        now = time.time()
        answer = self.ask(
            "query_range", query=expr, start=self.started, end=now, step=max(1, (now - self.started) // 600)
        )
        return any(math.isfinite(float(value)) for series in answer["result"] for _, value in series["values"])

    def label_values(self, label: str, metric: str) -> list[str]:
        """Return what Grafana's `label_values(metric, label)` offers."""
        query = urllib.parse.urlencode({"match[]": metric})
        return list(self._get(f"label/{label}/values?{query}"))

    def down(self) -> list[str]:
        """Return the targets that cannot be scraped, each with the reason."""
        active = self._get("targets?state=active")["activeTargets"]
        return [f"{one['scrapeUrl']}: {one['lastError'] or one['health']}" for one in active if one["health"] != "up"]

    def failed_rules(self) -> list[str]:
        """Return the rules whose evaluation fails, each with the reason."""
        groups = self._get("rules")["groups"]
        return [
            f"{rule['name']}: {rule['lastError']}"
            for group in groups
            for rule in group["rules"]
            if rule.get("lastError")
        ]

    def ask(self, what: str, **parameters: object) -> Any:
        """Return the data of Prometheus' answer; raise `BadQuery`."""
        return self._get(f"{what}?{urllib.parse.urlencode(parameters)}")

    def _get(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            with error:
                raise BadQuery(json.load(error).get("error", str(error.code))) from None

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None
