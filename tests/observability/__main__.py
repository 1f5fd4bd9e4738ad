"""`python -m tests.observability`: start everything and a Prometheus, and ask every query of every panel and rule."""

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.observability import asked
from tests.observability.asked import Asked
from tests.observability.prometheus import BadQuery, Prometheus
from tests.observability.stage import Stage
from tests.observability.traffic import busy_day

ALLOWED: dict[str, str] = {}
"""Expressions that may have no data here, each with the reason. Empty: counters show 0 from the start."""

BROKEN = (
    Asked("self-test", "a metric that nobody has", "sum(rate(parley_no_such_thing_total[15s]))"),
    Asked("self-test", "a label that the metric does not have", 'parley_connections{colour="blue"}'),
    Asked("self-test", "no PromQL", "sum by (instance (parley_connections)"),
)
"""Must be found wrong in every run: a check that finds nothing wrong in these finds nothing."""

PROBLEMS_SHOWN = 400


def main() -> int:
    """Return 0 when every query has data and every broken one is found, else 1."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # end as at Ctrl-C: with everything stopped
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"observability-check: {time.monotonic() - started:4.0f} s  {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="parley-observability-") as directory:
        place = Path(directory)
        say("NATS, auth, chat, two gateways, the canary and the NATS exporter start")
        try:
            with Stage(place) as stage, Prometheus(place / "prometheus", stage.targets) as prometheus:
                asyncio.run(busy_day(stage, say))
                say("every query is asked")
                problems = _judged(prometheus, options.seconds)
        except BaseException:  # whatever went wrong, the logs outlive their directory
            _keep_logs(place, options.logs)
            raise
        if problems:
            _keep_logs(place, options.logs)
    return _tell(problems, time.monotonic() - started)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.observability",
        description="Start the services, the canary, the NATS exporter and Prometheus with the shipped rules, drive "
        "traffic with faults, and require data from every query of every panel, annotation, variable and rule.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long queries may take to have data")
    parser.add_argument("--logs", type=Path, help="directory to copy the logs to when something is wrong")
    return parser.parse_args()


def _judged(prometheus: Prometheus, seconds: float) -> dict[Asked, str]:
    """Return what is wrong with which query; those without data are asked again for `seconds`."""
    waiting = [*asked.of_dashboards(), *asked.of_rules()]
    end = time.monotonic() + seconds
    while True:
        problems = {one: wrong for one in waiting if (wrong := _wrong(prometheus, one))}
        if not problems or time.monotonic() > end:
            break
        waiting = list(problems)
        time.sleep(2)
    for one in BROKEN:
        if not _wrong(prometheus, one):
            problems[one] = "was not found wrong, but it is"
    for source, metric, label in asked.variables():
        if not prometheus.label_values(label, metric):
            problems[Asked(source, f"variable {label}", metric)] = "offers nothing"
    for source, found in (("targets", prometheus.down()), ("rules", prometheus.failed_rules())):
        problems |= {Asked(source, text, ""): "failed" for text in found}
    return problems


def _wrong(prometheus: Prometheus, one: Asked) -> str:
    try:
        return "" if one.expr in ALLOWED or prometheus.has_data(one.expr) else "no data"
    except BadQuery as error:
        return str(error)


def _tell(problems: dict[Asked, str], seconds: float) -> int:
    everything = [*asked.of_dashboards(), *asked.of_rules()]
    _table(everything, problems)
    for one, wrong in list(problems.items())[:PROBLEMS_SHOWN]:
        print(f"  {one.source}: {one.title}: {wrong}\n      {one.expr}")
    for expr, reason in ALLOWED.items():
        print(f"  allowed to have no data: {expr}: {reason}")
    print(
        f"observability-check: {'FAILED' if problems else 'ok'}: {len(everything)} queries, {len(problems)} problems, "
        f"{len(ALLOWED)} allowed to be empty, {len(BROKEN)} broken ones found, {seconds:.0f} s"
    )
    return 1 if problems else 0


def _table(everything: Sequence[Asked], problems: dict[Asked, str]) -> None:
    """Print how many queries of each file have data."""
    number, wrong = Counter(one.source for one in everything), Counter(one.source for one in problems)
    print(f"  {'dashboard or rule file':24}{'queries':>9}{'with data':>11}")
    for source in sorted(number.keys() | wrong.keys()):
        print(f"  {source:24}{number[source]:>9}{number[source] - wrong[source]:>11}")


def _keep_logs(place: Path, logs: Path | None) -> None:
    if logs is not None:
        logs.mkdir(parents=True, exist_ok=True)
        for file in place.rglob("*.log"):
            (logs / file.name).write_bytes(file.read_bytes())
        print(f"observability-check: logs are in {logs}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
