"""The metrics every service has, and the page that Prometheus reads.

A metric's description says what a rise means. No label carries an id. Under gunicorn each process keeps its numbers in
files of `PROMETHEUS_MULTIPROC_DIR`, and any of them answers for all. What happens with each message is gathered in a
`Tally` or a `Spread` first: a write into those files costs ten times as much as an addition.
"""

from bisect import bisect_left

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
build_info = Gauge(
    "parley_build_info",
    "Always 1; the label is the version that runs. Two versions at once mean a deploy under way, or one that stopped.",
    ["version"],
    multiprocess_mode="livemax",
)
processes = Gauge(
    "parley_processes",
    "Processes that serve behind this address; a fall means workers end faster than they are started again.",
    multiprocess_mode="livesum",
)
process_started = Gauge(
    "parley_process_start_time_seconds",
    "When the youngest process began to serve, in seconds since the epoch; a rise means one was started (again).",
    multiprocess_mode="livemax",
)
process_cpu = Counter(
    "parley_process_cpu_seconds",
    "Processor time of all processes; one event loop can use one second per second, and near it everything waits.",
)
process_memory = Gauge(
    "parley_process_resident_memory_bytes",
    "Memory that the processes hold, summed; a rise without more connections means a leak.",
    multiprocess_mode="livesum",
)
memory_limit = Gauge(
    "parley_memory_limit_bytes",
    "Memory that the container may use, or that the machine has; who holds more is killed.",
    multiprocess_mode="livemin",
)
process_open_fds = Gauge(
    "parley_process_open_fds",
    "File descriptors open in the process that has most; at parley_process_max_fds no connection is accepted.",
    multiprocess_mode="livemax",
)
process_max_fds = Gauge(
    "parley_process_max_fds",
    "File descriptors that a process may have open; each connection takes one.",
    multiprocess_mode="livemin",
)
loop_lag = Histogram(
    "parley_event_loop_lag_seconds",
    "How late the event loop ran what was due, tried four times per second; a rise means a process has too much work.",
    buckets=FAST_BUCKETS,
)
gc_pause = Histogram(
    "parley_gc_pause_seconds",
    "Pauses of the garbage collector, each holds up everything; a rise means more objects live, so more memory.",
    buckets=FAST_BUCKETS,
)

trace_spans = Counter(
    "parley_trace_spans",
    "Spans of traces by what became of them (exported, failed, dropped); a rise of failed means that the collector is "
    "away or refuses, of dropped that it is slower than spans are made.",
    ["result"],
)


def start_at_zero(metric: Counter | Gauge, *values: str | tuple[str, ...]) -> None:
    """Show `metric` with 0 for these values of its labels from the start: what was never seen has no rate.

    Several labels take tuples. Only for values known beforehand; others appear when they are first counted.
    """
    for value in values:
        metric.labels(*(value if isinstance(value, tuple) else (value,)))


start_at_zero(trace_spans, "exported", "failed", "dropped")
start_at_zero(nats_errors, "Error", "SlowConsumerError", "StaleConnectionError", "UnexpectedEOF")


class Tally:
    """What is to be added to a counter: gathered in this process, poured into the counter by `pour`."""

    __slots__ = ("_counter", "waiting")

    def __init__(self, counter: Counter) -> None:
        """`counter` has no labels, or is one child of those that have."""
        self._counter = counter
        self.waiting: float = 0
        _gathering.append(self)

    def add(self, amount: float = 1) -> None:
        """Count `amount` (not below 0)."""
        self.waiting += amount

    def pour(self) -> None:
        """Count in the counter what was gathered."""
        if self.waiting:
            amount, self.waiting = self.waiting, 0
            self._counter.inc(amount)


class Tallies:
    """The tallies of a counter with labels, one for each of their values that is met."""

    __slots__ = ("_counter", "_found")

    def __init__(self, counter: Counter) -> None:
        """`counter` has labels; their values must be few."""
        self._counter = counter
        self._found: dict[tuple[str, ...], Tally] = {}

    def of(self, *values: str) -> Tally:
        """Return the tally for these values of the labels."""
        found = self._found.get(values)
        if found is None:
            found = self._found[values] = Tally(self._counter.labels(*values))
        return found


class Spread:
    """What is to be observed by a histogram: gathered in this process, poured into the histogram by `pour`."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        """`histogram` has no labels, or is one child of those that have."""
        self._histogram = histogram
        self._bounds: list[float] = list(histogram._upper_bounds)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0
        _gathering.append(self)

    def observe(self, value: float) -> None:
        """Take one value, in the histogram's unit."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def pour(self) -> None:
        """Hand over what was gathered: prometheus_client takes counts of buckets only by its own inner counters."""
        if not any(self._counts):
            return
        counts, self._counts = self._counts, [0] * len(self._bounds)
        total, self._sum = self._sum, 0.0
        for bucket, count in zip(self._histogram._buckets, counts, strict=True):
            if count:
                bucket.inc(count)
        self._histogram._sum.inc(total)


class Spreads:
    """The spreads of a histogram with one label, one for each of its values that is met."""

    __slots__ = ("_found", "_histogram")

    def __init__(self, histogram: Histogram) -> None:
        """The values of the label must be few."""
        self._histogram = histogram
        self._found: dict[str, Spread] = {}

    def of(self, value: str) -> Spread:
        """Return the spread for that value of the label."""
        found = self._found.get(value)
        if found is None:
            found = self._found[value] = Spread(self._histogram.labels(value))
        return found


_gathering: list[Tally | Spread] = []


def pour() -> None:
    """Hand what was gathered to Prometheus' metrics; `process.py` does so several times per second."""
    for one in _gathering:
        one.pour()


def forget_process(pid: int) -> None:
    """Drop the live gauges of a worker process that ended."""
    mark_process_dead(pid)  # type: ignore[no-untyped-call]


def render() -> tuple[bytes, str]:
    """Return the metrics page and its content type."""
    pour()
    registry: CollectorRegistry = REGISTRY
    if environment().get(METRICS_DIRECTORY):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
