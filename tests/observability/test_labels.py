"""The label budget: what a scrape costs is bounded, and no label is without number."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.bench.metrics import samples
from tests.observability import traffic
from tests.observability.stage import Stage

BUDGET = {
    "auth": 450,
    "chat": 400,
    "gateway-1": 550,
    "gateway-2": 550,
    "nats-exporter": 300,
    "canary": 200,
}
"""Most series of one target, about a third above what there are after traffic. Ten gateways make ten times theirs."""

NAMES = {
    # ours
    "cause", "code", "kind", "known_by", "method", "operation", "outcome", "queue", "reason", "result", "route",
    "source", "stage", "status", "table", "transport", "version",
    # histograms, and what prometheus_client tells of Python
    "le", "generation", "implementation", "major", "minor", "patchlevel",
    # the exporter of NATS, as the official one
    "account", "account_id", "cluster", "domain", "is_meta_leader", "is_stream_leader", "meta_leader", "server_id",
    "server_name", "stream_leader", "stream_name",
}  # fmt: skip
"""Every label there may be. A new one needs a line here, and an answer to: how many values can it have?"""

MOST_VALUES = 40
"""Of one label in all of a target's metrics, `le` not counted."""

ID = {
    "a uuid": re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE),
    "hexadecimal": re.compile(r"(?=[^g-z]*\d)[0-9a-f]{16,}", re.IGNORECASE),
    "base32": re.compile(r"(?=.*\d)[a-z2-7]{16,}|[A-Z2-7]{20,}"),
    "a long number": re.compile(r"\d{6,}"),
    "a token": re.compile(r"[\w-]{24,}\.[\w-]{24,}"),
}

PLANTED = {
    "a uuid": "8c6f1f1e-9f0c-4d26-8f43-9a3f6f6e2b11",
    "hexadecimal": "9f86d081884c7d659a2f",
    "base32": "k5hw2mfzvq7s3tjx4b6d",
    "a long number": "1795388811",
    "a token": "eyJhbGciOiJFZERTQSIsInR5.eyJzdWIiOiJib2IiLCJleHAi",
}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Everything that Prometheus watches, after some traffic."""
    with Stage(tmp_path_factory.mktemp("labels")) as running:
        asyncio.run(traffic.short(running))
        yield running


def id_in(value: str) -> str:
    """Return what kind of id `value` looks like; empty when it looks like none."""
    return next((kind for kind, pattern in ID.items() if pattern.search(value)), "")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", BUDGET)
def test_a_scrape_stays_within_its_budget(stage: Stage, service: str) -> None:
    """A service has no more series than planned, and no histogram or label that multiplies them unseen."""
    found = samples(stage.services[service].metrics())
    assert BUDGET[service] / 3 < len(found) <= BUDGET[service]
    values: dict[str, set[str]] = {}
    for _, labels, _ in found:
        for name, value in labels.items():
            values.setdefault(name, set()).add(value)
    assert {name: len(each) for name, each in values.items() if name != "le" and len(each) > MOST_VALUES} == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("service", BUDGET)
def test_no_label_is_an_id(stage: Stage, service: str) -> None:
    """Labels are those we know, and no value names a user, a room, a client or anything else without number."""
    people = re.compile("|".join(traffic.NAMES), re.IGNORECASE)
    wrong = [
        f"{metric}: {name}={value!r}"
        for metric, labels, _ in samples(stage.services[service].metrics())
        for name, value in labels.items()
        if name not in NAMES or (name not in ("le", "server_id") and id_in(value)) or people.search(value)
    ]
    assert wrong == []


@pytest.mark.parametrize("kind", ID)
def test_a_planted_id_is_found(kind: str) -> None:
    """The patterns see what they are for, and leave alone what labels hold."""
    assert id_in(PLANTED[kind]) == kind
    for value in ("503", "connection_closed", "invalid_credentials", "/connection/http_stream", "unavailable,_retry"):
        assert id_in(value) == ""
