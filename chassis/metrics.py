"""The metrics every service has, and the page that Prometheus reads.

A metric's description says what a rise means. No label carries an id. Under gunicorn each process keeps its numbers in
files of `PROMETHEUS_MULTIPROC_DIR`, and any of them answers for all.
"""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from chassis.settings import METRICS_DIRECTORY, environment

FAST_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Histogram bounds in seconds for work that should take milliseconds."""

nats_connected = Gauge(
    "parley_nats_connected",
    "1 while this process has its NATS connection; a fall means sends are refused and nothing is delivered.",
    multiprocess_mode="livemin",
)
nats_reconnects = Counter(
    "parley_nats_reconnects",
    "NATS connections made again after a loss; a rise means NATS restarts or the network to it breaks.",
)
nats_errors = Counter(
    "parley_nats_errors",
    "Errors that nats-server or its client reported, by kind; a rise means denied subjects or slow consumers.",
    ["kind"],
)
http_requests = Counter(
    "parley_http_requests",
    "HTTP requests answered, by route template, method and status; a rise of 5xx means failing requests.",
    ["route", "method", "status"],
)
http_duration = Histogram(
    "parley_http_request_duration_seconds",
    "Time to answer an HTTP request, by route template; a rise means a slow database or a busy process.",
    ["route"],
    buckets=FAST_BUCKETS,
)


def forget_process(pid: int) -> None:
    """Drop the live gauges of a worker process that ended."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def render() -> tuple[bytes, str]:
    """Return the metrics page and its content type."""
    registry: CollectorRegistry = REGISTRY
    if environment().get(METRICS_DIRECTORY):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
