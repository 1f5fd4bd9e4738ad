"""Running a service's processes: the only home of uvicorn and gunicorn (besides the gateway's protocol class)."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar

import uvicorn
from fastapi import FastAPI
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from chassis import logs, metrics
from chassis.patience import PatientHttp
from chassis.settings import Settings

log = logs.get(__name__)

KEEP_ALIVE_SECONDS = 5
STARTUP_FAILED = 3
"""Exit code of a service that could not start serving; uvicorn's own."""
LAST_SECONDS = 5
"""How long what is still open may take to end after the leave-taking, or without one."""
AT_ONCE_SECONDS = 1
"""The same when asked to end at once: gunicorn kills two seconds after that."""
SHARED_MEMORY = "/dev/shm"
"""Where workers prove that they live; on a disk a slow write would look like a death. Linux has it."""


class LeavingServer(uvicorn.Server):
    """A server that lets its application take leave at SIGTERM, while everything still works, before it shuts down.

    The application may have a coroutine function `state.leave` for that (ADR 0011). Until it returns the server
    listens, answers, and tells gunicorn that it lives. A further SIGTERM changes nothing: gunicorn repeats it while it
    reloads.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve; from here on a SIGTERM has somebody to tell."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal, at any point of the program: leave at SIGTERM, end at once at SIGINT."""
        if not self.started or self._loop is None:
            super().handle_exit(sig, frame)
            return
        self._captured_signals.append(sig)
        self._loop.call_soon_threadsafe(self._leave if sig == signal.SIGTERM else self.end_at_once)

    def end_at_once(self) -> None:
        """Cut the leave-taking short: close everything that is open together, and end."""
        self.config.timeout_graceful_shutdown = AT_ONCE_SECONDS
        if self._leaving is not None:
            self._leaving.cancel()
        self.should_exit = True

    def _leave(self) -> None:
        if self._leaving is None and not self.should_exit:
            self._leaving = asyncio.create_task(self._take_leave())

    async def _take_leave(self) -> None:
        leave: Callable[[], Awaitable[None]] | None = getattr(self._app.state, "leave", None)
        try:
            if leave is not None:
                await leave()
        except Exception:  # whatever went wrong in it, the process was told to end
            log.exception("leaving failed")
        finally:
            self.should_exit = True


class GatewayWorker(UvicornWorker):  # type: ignore[misc]  # ships no types
    """A gunicorn worker that speaks HTTP and WebSocket through the gateway's own protocol classes."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": "gateway.streaming:Http",  # httptools, with streams below ASGI
        "ws": "gateway.socket:Socket",
        "ws_max_size": 65536,
        "ws_ping_interval": None,  # the client protocol has its own pings
        "ws_per_message_deflate": False,
        "server_header": False,
        "access_log": False,
        "timeout_graceful_shutdown": LAST_SECONDS,
    }

    async def _serve(self) -> None:
        self.config.app = self.wsgi
        self.server = LeavingServer(self.config, self.wsgi)
        self._install_sigquit_handler()
        await self.server.serve(sockets=self.sockets)
        if not self.server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End at once: gunicorn's SIGQUIT, sent when it was itself told to hurry (uvicorn's worker ignores it)."""
        self.server.end_at_once()


class _Gunicorn(BaseApplication):
    def __init__(self, factory: str, options: dict[str, object]) -> None:
        self.factory = factory
        self.options = options
        super().__init__()

    def load_config(self) -> None:
        for key, value in self.options.items():
            self.cfg.set(key, value)

    def load(self) -> FastAPI:
        module, _, name = self.factory.partition(":")
        app: FastAPI = getattr(__import__(module, fromlist=[name]), name)()
        return app


def _child_exit(_arbiter: Arbiter, worker: Worker) -> None:
    metrics.forget_process(int(worker.pid))


def serve_forked(
    factory: str, settings: Settings, port: int, workers: int, grace_seconds: int, internal_port: int = 0
) -> None:
    """Serve the application that `factory` ("module:function") makes, in `workers` processes; return after SIGTERM.

    It listens on `internal_port` too, unless that is 0. `grace_seconds` is how long a worker may take to end before
    gunicorn kills it.
    """
    # This process declares the metrics by importing them, but does no work: its zeros must not count.
    metrics.forget_process(os.getpid())
    _Gunicorn(
        factory,
        {
            "bind": [f"{_bracketed(settings.bind_host)}:{each}" for each in _ports(port, internal_port)],
            "workers": workers,
            "worker_class": "chassis.server.GatewayWorker",
            "worker_tmp_dir": SHARED_MEMORY if Path(SHARED_MEMORY).is_dir() else None,
            "graceful_timeout": grace_seconds,
            "keepalive": KEEP_ALIVE_SECONDS,
            "child_exit": _child_exit,
            "loglevel": "warning",
            "forwarded_allow_ips": settings.forwarded_allow_ips,
            "control_socket_disable": True,
        },
    ).run()


def serve(app: FastAPI, settings: Settings, port: int, internal_port: int = 0) -> None:
    """Serve `app` in this process, on `internal_port` too unless that is 0; return after SIGTERM or SIGINT."""
    configs = [
        uvicorn.Config(
            app,
            host=settings.bind_host,
            port=each,
            loop="uvloop",
            http=PatientHttp,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            forwarded_allow_ips=settings.forwarded_allow_ips,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=10,
        )
        for each in _ports(port, internal_port)
    ]
    server = uvicorn.Server(configs[0])
    try:
        server.run(sockets=[config.bind_socket() for config in configs])
    except KeyboardInterrupt:
        pass  # uvicorn has shut down in good order, and passes on the signal that it was sent
    if not server.started:
        sys.exit(STARTUP_FAILED)


def _ports(port: int, internal_port: int) -> list[int]:
    return [port, internal_port] if internal_port else [port]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
