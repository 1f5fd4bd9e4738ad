"""A collector of traces: takes OTLP over HTTP as an operator's does, and keeps the spans. Imports nothing of ours."""

import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench.ports import wait_until


@dataclass
class Seen:
    """One span as it arrived. `process` tells apart the processes of one service."""

    service: str
    process: str
    name: str
    kind: int
    trace: bytes
    id: bytes
    parent: bytes
    seconds: float
    failed: bool
    about: dict[str, Any] = field(default_factory=dict)


class Collector:
    """Listens on a free port; `spans` is what came, `raw` the bytes of it."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.raw = b""
        self.status = 200
        """What requests are answered with; with anything else nothing is kept."""
        collector = self

        class Take(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces", self.path
                if collector.status == 200:
                    collector._take(body)
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def named(self, name: str, service: str = "") -> list[Seen]:
        """Return the spans of that name, of any service or of one."""
        return [span for span in self.spans if span.name == name and service in ("", span.service)]

    def of_trace(self, trace: bytes) -> list[Seen]:
        """Return the spans of one trace."""
        return [span for span in self.spans if span.trace == trace]

    def wait_for(self, name: str, count: int = 1, seconds: float = 30) -> list[Seen]:
        """Return the spans of that name, as soon as there are `count`."""
        wait_until(lambda: len(self.named(name)) >= count, f"{count} spans {name!r}", seconds, 0.1)
        return self.named(name)

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest()
        request.ParseFromString(body)
        self.raw += body
        for of_process in request.resource_spans:
            who = _values(of_process.resource.attributes)
            for scope in of_process.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Seen(
                            who["service.name"],
                            who["service.instance.id"],
                            span.name,
                            span.kind,
                            span.trace_id,
                            span.span_id,
                            span.parent_span_id,
                            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                            span.status.code == 2,
                            _values(span.attributes),
                        )
                    )


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
