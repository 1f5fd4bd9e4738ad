"""What Prometheus and Alertmanager make of the running stack, and what the canary saw."""

import re
from typing import Any

from tests.bench.clients import eventually, http
from tests.compose.stack import Stack
from tests.observability.asked import of_dashboards

TARGETS = {"gateway": 2, "auth": 1, "chat": 1, "canary": 1, "nats": 1, "prometheus": 1}
"""Job to its number of targets."""
SECONDS = 90.0
"""Scrapes and rules have intervals of 15 s and more."""
CANARY_METRICS = "http://127.77.0.23:8003/metrics"


async def asked(url: str) -> Any:
    """Return the data of an answer of Prometheus's HTTP API."""
    answer = await http("GET", url)
    assert answer.status_code == 200, f"{url}: {answer.text[:300]}"
    return answer.json()["data"]


async def prometheus(stack: Stack) -> str:
    """Return when every target is up and every rule was evaluated without an error."""
    base = f"{stack.prometheus_url}/api/v1"

    async def up() -> bool:
        targets = (await asked(f"{base}/targets?state=active"))["activeTargets"]
        well = [one["labels"]["job"] for one in targets if one["health"] == "up"]
        return len(targets) == len(well) and {job: well.count(job) for job in set(well)} == TARGETS

    async def evaluated() -> bool:
        rules = [rule for group in (await asked(f"{base}/rules"))["groups"] for rule in group["rules"]]
        assert rules, "no rules are loaded"
        wrong = [f"{rule['name']}: {rule.get('lastError', '')}" for rule in rules if rule["health"] == "err"]
        assert not wrong, f"rules fail: {wrong}"
        return all(rule["health"] == "ok" for rule in rules)

    try:
        await eventually(up, "every target is up", SECONDS, 1)
    except AssertionError as error:
        targets = (await asked(f"{base}/targets?state=active"))["activeTargets"]
        seen = [f"{one['labels']['job']} {one['scrapeUrl']} {one['health']} {one['lastError']}" for one in targets]
        raise AssertionError(f"{error}; wanted {TARGETS}, there are: {'; '.join(seen)}") from None
    await eventually(evaluated, "every rule was evaluated", SECONDS, 1)
    rules = [rule for group in (await asked(f"{base}/rules"))["groups"] for rule in group["rules"]]
    managers = (await asked(f"{base}/alertmanagers"))["activeAlertmanagers"]
    assert managers, "Prometheus knows no Alertmanager"
    ready = await http("GET", f"{stack.alertmanager_url}/-/ready")
    assert ready.status_code == 200, ready.text
    return f"{sum(TARGETS.values())} targets up, {len(rules)} rules without an error, Alertmanager ready"


async def panels(stack: Stack) -> str:
    """Ask every query of every panel: none may fail. `make observability-check` holds each to having data."""
    wrong, with_data = [], 0
    asked_for = list(of_dashboards())
    for one in asked_for:
        # There the intervals are a second; here they are those that ship, of which a rate needs a few.
        query = one.expr.replace("[15s]", "[1m]")
        answer = await http("POST", f"{stack.prometheus_url}/api/v1/query", data={"query": query})
        if answer.status_code != 200:
            wrong.append(f"{one.source}, {one.title}: {answer.text[:200]}")
        elif answer.json()["data"]["result"]:
            with_data += 1
    assert not wrong, f"{len(wrong)} of {len(asked_for)} queries fail: {wrong[:5]}"
    return f"{len(asked_for)} queries of dashboards answered, {with_data} with data after these few minutes"


async def alerts(stack: Stack) -> str:
    """Return the alerts that fire now, for the reader to judge: a restart on purpose may be one of them."""
    found = (await asked(f"{stack.prometheus_url}/api/v1/alerts"))["alerts"]
    firing = sorted({one["labels"]["alertname"] for one in found if one["state"] == "firing"})
    return f"firing: {', '.join(firing) or 'nothing'}"


async def canary(stack: Stack) -> str:
    """Return what the canary has seen so far; it must have talked, and must have missed nothing."""

    async def counted() -> dict[str, float]:
        text = (await http("GET", CANARY_METRICS)).text
        found: dict[str, float] = {}
        for name, value in re.findall(r"^parley_canary_(\w+?)_total(?:\{[^}]*\})? (\S+)$", text, re.MULTILINE):
            found[name] = found.get(name, 0) + float(value)
        return found

    async def talks() -> bool:
        return (await counted()).get("received", 0) > 0

    await eventually(talks, "the canary has received a message of its own", SECONDS, 1)
    now = await counted()
    broken = {name: now[name] for name in ("lost", "duplicated", "reordered")}
    assert not any(broken.values()), f"the canary missed something: {now}"
    return f"{now['sent']:.0f} sent, {now['received']:.0f} received; 0 lost, 0 doubled, 0 out of order"
