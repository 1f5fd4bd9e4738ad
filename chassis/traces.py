"""Traces (OpenTelemetry): the only importer of `opentelemetry`, of which SDK and exporter load only when traces are on.

Module-wide like logs and metrics. Off is one comparison with None. On, spans go into a bounded queue that a thread
empties to the collector; a collector that is away or slow costs spans, which are counted, and nothing else.

A span tells of durations and results. Its attributes may be ids of rooms, connections and requests, names of methods
and routes, counts and codes; never what a person wrote, a name, a user, a token or the name of a general channel.
docs/decisions/0015-trace-context-travels-in-headers.md says how the spans of one message find each other.
"""

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from chassis import logs, metrics
from chassis.settings import Settings
from protocol.names import new_id

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as Recording

log = logs.get(__name__)

PATH = "/v1/traces"
QUEUE = 2048
"""Spans that may wait for the collector; more are dropped."""
BATCH = 256
"""Most spans sent at once: encoding them holds the interpreter for some milliseconds."""
GATHER_SECONDS = 2.0
STOP_SECONDS = 2.0
PARENT = "traceparent"
"""The header that names the parent, as W3C Trace Context defines it."""

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int


class Span:
    """A piece of work in a trace, to be entered with `with`. This one records nothing: traces are off."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""

    def rename(self, name: str) -> None:
        """Call it by what is known only later."""

    def note(self, name: str, value: Value) -> None:
        """Add an attribute."""

    def fail(self, why: str) -> None:
        """Mark it as failed, for a reason in a word."""

    def end(self) -> None:
        """End it where it was not entered."""


OFF = Span()


def on() -> bool:
    """Tell whether this process traces."""
    return _tracing is not None


def span(name: str, kind: Kind = "internal", attributes: Mapping[str, Value] | None = None) -> Span:
    """Begin a span, child of the current one; inside `with` it is the current one of this task."""
    return OFF if _tracing is None else _tracing.span(name, kind, attributes)


def heard(name: str, headers: Mapping[str, str], started: int, attributes: Mapping[str, Value]) -> Span:
    """Begin a span, child of the one that `headers` name; without one in them there is none.

    `started` is when it began, in nanoseconds since the epoch. It never is the current one: `end` it.
    """
    if _tracing is None or PARENT not in headers:
        return OFF
    return _tracing.heard(name, headers, started, attributes)


def continued(headers: Mapping[str, str] | None) -> Span:
    """Make the span that `headers` name the current one within `with`, so that what begins there is its child."""
    return OFF if _tracing is None or not headers or PARENT not in headers else _tracing.continued(headers)


def apart() -> Span:
    """Have no current span within `with`: for starting what goes on longer than the work that starts it."""
    return OFF if _tracing is None else _tracing.apart()


def carried(headers: dict[str, str] | None = None, *, kept: bool = False) -> dict[str, str] | None:
    """Return `headers` with the current span named in them; as they are when there is none.

    In headers that are `kept`, a span that is not sampled would be dead weight, and is left out.
    """
    return headers if _tracing is None else _tracing.carried(headers, kept)


@asynccontextmanager
async def exporting(service: str, version: str, settings: Settings) -> AsyncIterator[None]:
    """Trace this process within, if a collector is set; at the end wait at most `STOP_SECONDS` for what waits.

    To be entered in the process that does the work: no thread survives a fork.
    """
    global _tracing
    if not settings.otel_exporter_otlp_endpoint:
        yield
        return
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/") + PATH
    outlet = _Outlet(endpoint)
    _tracing = _Tracing(service, version, settings.otel_traces_sampler_arg, outlet)
    log.info("traces are on", endpoint=endpoint, share=settings.otel_traces_sampler_arg)
    try:
        yield
    finally:
        _tracing = None
        await asyncio.to_thread(outlet.close, STOP_SECONDS)


class _Tracing:
    """What there is while traces are on."""

    def __init__(self, service: str, version: str, share: float, outlet: "_Outlet") -> None:
        from opentelemetry import context, trace
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        about = {"service.name": f"parley-{service}", "service.version": version, "service.instance.id": new_id()}
        sampler = ParentBased(TraceIdRatioBased(share))
        provider = TracerProvider(sampler=sampler, resource=Resource.create(about), shutdown_on_exit=False)
        provider.add_span_processor(outlet.processor())
        self._tracer = provider.get_tracer("parley", version)
        self._kinds = {kind.name.lower(): kind for kind in trace.SpanKind}
        self._wire = TraceContextTextMapPropagator()
        self._nothing = context.Context()
        self._context = context
        self._trace = trace

    def span(self, name: str, kind: Kind, attributes: Mapping[str, Value] | None) -> Span:
        return self._recorded(self._tracer.start_span(name, kind=self._kinds[kind], attributes=attributes))

    def heard(self, name: str, headers: Mapping[str, str], started: int, attributes: Mapping[str, Value]) -> Span:
        parent = self._wire.extract(headers, self._nothing)
        kind = self._kinds["consumer"]
        return self._recorded(self._tracer.start_span(name, parent, kind, attributes, start_time=started))

    def continued(self, headers: Mapping[str, str]) -> Span:
        return _Current(self, self._wire.extract(headers, self._nothing))

    def apart(self) -> Span:
        return _Current(self, self._nothing)

    def carried(self, headers: dict[str, str] | None, kept: bool) -> dict[str, str] | None:
        current = self._trace.get_current_span().get_span_context()
        if not current.is_valid or (kept and not current.trace_flags.sampled):
            return headers
        headers = dict(headers or {})
        self._wire.inject(headers)
        return headers

    def enter(self, current: "Context") -> Any:
        """Make a context the current one; return what `leave` takes."""
        return self._context.attach(current)

    def leave(self, token: Any) -> None:
        """Undo `enter`."""
        self._context.detach(token)

    def failed(self, why: str) -> Any:
        """Return the status of a span that failed."""
        return self._trace.Status(self._trace.StatusCode.ERROR, why)

    def _recorded(self, span: "Recording") -> Span:
        return _Recorded(self, span, self._trace.set_span_in_context(span, self._nothing))


_tracing: _Tracing | None = None


class _Current(Span):
    """Something that is current for a while and was begun elsewhere."""

    __slots__ = ("_context", "_token", "_tracing")

    def __init__(self, tracing: _Tracing, context: "Context") -> None:
        self._tracing = tracing
        self._context = context

    def __enter__(self) -> Self:
        self._token = self._tracing.enter(self._context)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tracing.leave(self._token)


class _Recorded(_Current):
    """A span that is recorded, or (not sampled) only handed on."""

    __slots__ = ("_span",)

    def __init__(self, tracing: _Tracing, span: "Recording", context: "Context") -> None:
        super().__init__(tracing, context)
        self._span = span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if kind is not None:
            self.fail(kind.__name__)  # not the message: it may quote what somebody sent
        self._span.end()

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def note(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, why: str) -> None:
        self._span.set_status(self._tracing.failed(why))

    def end(self) -> None:
        self._span.end()


class _Outlet:
    """The queue of ended spans, and the thread that empties it to the collector."""

    def __init__(self, endpoint: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self._exporter: SpanExporter = OTLPSpanExporter(endpoint=endpoint)
        self._words = _LastWords()
        self._waiting: deque[ReadableSpan] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._given_up = False
        self._taken = True
        # A thread begins with an empty context; the log lines of this one are to name the service.
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name="traces", daemon=True)
        self._thread.start()

    def processor(self) -> "SpanProcessor":
        """Return what the SDK hands ended spans to."""
        from opentelemetry.sdk.trace import SpanProcessor

        class Into(SpanProcessor):
            """Puts each ended span into the queue."""

            def on_end(_, span: "ReadableSpan") -> None:  # `self` is the outlet
                self._put(span)

        return Into()

    def close(self, seconds: float) -> None:
        """Send what waits, for at most `seconds`; what is left then is dropped. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join(seconds)
        self._given_up = True
        metrics.trace_spans.labels("dropped").inc(len(self._waiting))
        self._exporter.shutdown()

    def _put(self, span: "ReadableSpan") -> None:
        if len(self._waiting) >= QUEUE:
            metrics.trace_spans.labels("dropped").inc()
            return
        self._waiting.append(span)
        if len(self._waiting) == BATCH:
            self._wake.set()

    def _run(self) -> None:
        while not self._given_up and (self._waiting or not self._closing):
            if len(self._waiting) < BATCH and not self._closing:
                self._wake.wait(GATHER_SECONDS)
                self._wake.clear()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if batch:
                self._send(batch)

    def _send(self, batch: "list[ReadableSpan]") -> None:
        # Retries for some seconds by itself; meanwhile the queue fills, and drops.
        taken = self._exporter.export(batch).value == 0
        metrics.trace_spans.labels("exported" if taken else "failed").inc(len(batch))
        if taken is not self._taken:
            self._taken = taken
            if taken:
                log.info("the collector takes traces again")
            else:
                log.warning("the collector takes no traces", reason=self._words.last)


class _LastWords(logging.Handler):
    """Keeps what the exporter complained of last: it does so at each attempt, and we say it once."""

    def __init__(self) -> None:
        super().__init__()
        self.last = ""
        exporter = logging.getLogger("opentelemetry")
        exporter.handlers = [self]
        exporter.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it, shortened."""
        self.last = record.getMessage()[:200]
