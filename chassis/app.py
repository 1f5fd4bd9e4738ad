"""The HTTP frame of a service: health, metrics, request ids, CORS, and errors as problem+json (RFC 9457)."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis import failpoints, logs, metrics, process, traces
from chassis.health import Health
from chassis.settings import Settings
from protocol.names import new_id

log = logs.get(__name__)

VERSION = "0.1.0"
PROBLEM_TYPE = "application/problem+json"
_UNTRACED = ("/health", "/metrics", "/connection", "/emulation")
"""Paths of probes, and of what lasts as long as its client: commands are traced one by one."""
_INTERNAL = ("/health/", "/metrics")
"""Paths that answer on the internal port, when there is one."""
_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False, "auto_configure": False}
"""FastAPI's own, which an environment variable could switch on: it tells what was sent and believes foreign traces."""
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


class Problem(Exception):
    """A request answered no. `code` is stable; `retry_after` in seconds."""

    def __init__(self, status: int, code: str, detail: str, retry_after: int | None = None) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


def problem_response(status: int, code: str, detail: str, retry_after: int | None = None) -> JSONResponse:
    """Return the problem+json answer for (`status`, `code`, `detail`)."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = {"type": "about:blank", "title": code.replace("_", " "), "status": status, "detail": detail, "code": code}
    return JSONResponse(body, status, headers, media_type=PROBLEM_TYPE)


class RequestLog:
    """ASGI middleware: binds a request id, counts and logs each HTTP request by its route template."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; WebSockets are counted by the gateway itself."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        status = 500
        work = traces.OFF if scope["path"].startswith(_UNTRACED) else traces.span(scope["method"], "server")
        started = time.perf_counter()

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id), work:
            try:
                await self.app(scope, receive, watch)
            finally:
                seconds = time.perf_counter() - started
                route = getattr(scope.get("route"), "path", "unmatched")
                metrics.http_requests.labels(route, scope["method"], str(status)).inc()
                metrics.http_duration.labels(route).observe(seconds)
                write = log.debug if route.startswith(("/health", "/metrics", "/emulation")) else log.info
                write("request", route=route, method=scope["method"], status=status, seconds=round(seconds, 4))
                if work is not traces.OFF:
                    _describe(work, scope["method"], route, status, request_id)


def _describe(work: traces.Span, method: str, route: str, status: int, request_id: str) -> None:
    work.rename(f"{method} {route}")
    work.note("http.request.method", method)
    work.note("http.route", route)
    work.note("http.response.status_code", status)
    work.note("parley.request", request_id)
    if status >= 500:
        work.fail(str(status))


class InternalPort:
    """ASGI middleware: health and metrics answer on one port, everything else on any other; the rest is 404."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self.app = app
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge by the port that the request came in on, which no client can choose by a header."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        came_in_on = (scope.get("server") or (None, None))[1]
        asks_within = scope["type"] == "http" and scope["path"].startswith(_INTERNAL)
        if asks_within is (came_in_on == self._port):
            await self.app(scope, receive, send)
        else:
            await problem_response(404, "not_found", "nothing answers here")(scope, receive, send)


def create(
    name: str, settings: Settings, health: Health, lifespan: Lifespan, *, internal_port: int = 0, **options: Any
) -> FastAPI:
    """Return a FastAPI application that stands like every service of ours.

    Health and metrics answer on `internal_port` alone, unless it is 0; `options` go to FastAPI.
    """
    metrics.build_info.labels(VERSION).set(1)
    failpoints.arm(settings.failpoint)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        async with process.watched(), traces.exporting(name, VERSION, settings), lifespan(app):
            yield

    app = FastAPI(title=f"Parley {name}", version=VERSION, lifespan=life, telemetry=_TELEMETRY, **options)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["Retry-After", "X-Request-Id"],
        max_age=600,
    )
    if internal_port:
        app.add_middleware(InternalPort, port=internal_port)
    app.add_middleware(RequestLog)  # the outermost, so that it sees every answer

    @app.get("/health/live", include_in_schema=False)
    async def live() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health/ready", include_in_schema=False)
    async def ready() -> Response:
        missing = await health.missing()
        body = {"status": "not ready" if missing else "ready", "missing": missing}
        return JSONResponse(body, 503 if missing else 200)

    @app.get("/health/started", include_in_schema=False)
    async def started() -> Response:
        missing = await health.started()
        body = {"status": "starting" if missing else "started", "missing": missing}
        return JSONResponse(body, 503 if missing else 200)

    @app.get("/metrics", include_in_schema=False)
    def metrics_page() -> Response:
        body, content_type = metrics.render()
        return Response(body, media_type=content_type)

    @app.exception_handler(Problem)
    async def on_problem(_: Request, error: Problem) -> Response:
        return problem_response(error.status, error.code, error.detail, error.retry_after)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        # The field's path and the rule, never the value: it may be a password.
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "body"
        return problem_response(422, "invalid_request", f"{where}: {first['msg']}")

    @app.exception_handler(HTTPException)
    async def on_http(_: Request, error: HTTPException) -> Response:
        codes = {401: "invalid_token", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
        return problem_response(error.status_code, codes.get(error.status_code, "refused"), str(error.detail))

    @app.exception_handler(Exception)
    async def on_error(_: Request, error: Exception) -> Response:
        log.error("request failed", exc_info=error)
        return problem_response(500, "internal", "the request failed; the service's log has the reason")

    return app


__all__ = ["PROBLEM_TYPE", "VERSION", "AsyncIterator", "Problem", "create", "problem_response"]
