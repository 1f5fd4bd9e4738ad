"""Traces off cost nothing; traces on keep their bounds, and spans find their parents."""

import asyncio
import logging
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from chassis import metrics, traces
from chassis.settings import Settings
from tests.bench.collector import Collector


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector of one test."""
    with Collector() as collector:
        yield collector


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Give back what tracing takes of the library's loggers."""
    library = logging.getLogger("opentelemetry")
    yield
    library.handlers, library.propagate = [], True


def settings(collector: Collector, share: float = 1.0) -> Settings:
    """Return settings that trace to `collector`."""
    return Settings(otel_exporter_otlp_endpoint=collector.url, otel_traces_sampler_arg=share)


def counted(result: str) -> float:
    """Return how many spans ended so."""
    return float(metrics.trace_spans.labels(result)._value.get())


def test_off_imports_nothing() -> None:
    """No service loads SDK or exporter before traces are on. (FastAPI loads the API, by itself.)"""
    found = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, gateway.app, chat_service.app, auth_service.app\n"
            "sys.exit(any(name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter')) for name in sys.modules))",
        ],
        check=False,
        timeout=60,
    )
    assert found.returncode == 0


async def test_off_does_nothing() -> None:
    """Every call gives back the one span that does nothing, and headers as they were."""
    headers = {"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}
    async with traces.exporting("test", "1", Settings()):
        assert traces.span("a", "server") is traces.OFF
        assert traces.heard("a", headers, 0, {}) is traces.OFF
        assert traces.continued(headers) is traces.OFF
        assert traces.apart() is traces.OFF
        assert traces.carried(headers) is headers
        assert traces.carried() is None
        with traces.span("a") as span:
            span.note("b", 1)
            span.rename("c")
            span.fail("d")


async def test_spans_find_their_parents(collector: Collector) -> None:
    """Within `with`, in a task begun there, over headers; not in what was begun apart."""
    async with traces.exporting("test", "1.2", settings(collector)):
        with traces.span("asks", "client"):
            headers = traces.carried({"Other": "kept"})
            with traces.apart():
                traces.span("apart").end()
        assert headers is not None
        assert headers["Other"] == "kept"

        async def work() -> None:
            with traces.span("answers", "server"):
                pass

        with traces.continued(headers):
            task = asyncio.create_task(work())
        await task
        traces.heard("hears", headers, time.time_ns() - 10**9, {"count": 3}).end()
        traces.span("alone").end()

    spans = {span.name: span for span in collector.spans}
    assert spans.keys() == {"asks", "apart", "answers", "hears", "alone"}
    assert spans["asks"].service == "parley-test"
    assert spans["answers"].parent == spans["hears"].parent == spans["asks"].id
    assert spans["answers"].trace == spans["hears"].trace == spans["asks"].trace
    assert spans["apart"].parent == spans["alone"].parent == b""
    assert len({span.trace for span in spans.values()}) == 3
    assert 1 <= spans["hears"].seconds < 5
    assert spans["hears"].about == {"count": 3}


async def test_a_failed_span_does_not_quote(collector: Collector) -> None:
    """An error marks the span by its kind; its message may hold what somebody wrote."""
    async with traces.exporting("test", "1", settings(collector)):
        with pytest.raises(ValueError, match="secret"), traces.span("fails"):
            raise ValueError("secret words")

    [span] = collector.spans
    assert span.failed
    assert b"ValueError" in collector.raw
    assert b"secret" not in collector.raw


async def test_what_is_not_sampled_is_carried_but_not_kept(collector: Collector) -> None:
    """Those who are asked must know that the trace is not taken; a log that lasts need not."""
    async with traces.exporting("test", "1", settings(collector, share=0)):
        with traces.span("unseen", "client"):
            asked = traces.carried()
            assert traces.carried({"a": "b"}, kept=True) == {"a": "b"}
        assert asked is not None
        assert int(asked["traceparent"].rpartition("-")[2], 16) & 1 == 0
        with traces.continued(asked), traces.span("unseen either", "server"):
            pass
    assert collector.spans == []


async def test_a_parent_decides_for_its_children(collector: Collector) -> None:
    """What another process samples is recorded here too, whatever the share here."""
    headers = {"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}
    async with traces.exporting("test", "1", settings(collector, share=0)):
        with traces.continued(headers), traces.span("seen", "server"):
            pass
    assert [span.trace.hex() for span in collector.spans] == ["ab" * 16]


@pytest.mark.parametrize("header", ["", "00-1-2-01", "00-" + "0" * 32 + "-" + "cd" * 8 + "-01", "ü" * 55])
async def test_headers_that_name_no_span_begin_a_trace(collector: Collector, header: str) -> None:
    """Whatever stands there, work goes on, in a trace of its own."""
    async with traces.exporting("test", "1", settings(collector)):
        with traces.continued({"traceparent": header}), traces.span("begins", "server"):
            pass
    [span] = collector.spans
    assert span.parent == b""


async def test_a_silent_collector_stalls_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue is bounded and its overflow counted; the end waits no longer than it says."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(2 * traces.STOP_SECONDS))
    before = {result: counted(result) for result in ("exported", "failed", "dropped")}
    many = traces.QUEUE + 3 * traces.BATCH
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with traces.exporting("test", "1", Settings(otel_exporter_otlp_endpoint=endpoint)):
            for _ in range(many):
                traces.span("one of many").end()
            assert counted("dropped") - before["dropped"] >= traces.BATCH
            ended = time.monotonic()
        assert time.monotonic() - ended < traces.STOP_SECONDS + 1.5
        async with asyncio.timeout(20):
            while "traces" in {thread.name for thread in threading.enumerate()}:
                await asyncio.sleep(0.05)
    lost = sum(counted(result) - before[result] for result in ("failed", "dropped"))
    assert lost == many
    assert counted("exported") == before["exported"]


async def test_a_collector_that_comes_back_gets_what_comes_then(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Spans that it refused are counted as failed, those after that arrive."""
    collector.status = 400
    failed = counted("failed")
    async with traces.exporting("test", "1", settings(collector)):
        traces.span("refused").end()
        async with asyncio.timeout(20):
            while counted("failed") == failed:
                await asyncio.sleep(0.05)
        collector.status = 200
        traces.span("taken").end()
    assert [span.name for span in collector.spans] == ["taken"]
    assert counted("failed") == failed + 1
