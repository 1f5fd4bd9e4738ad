"""Running a service's processes: the only home of uvicorn and gunicorn (besides the gateway's protocol class)."""

import os
from pathlib import Path
from typing import Any, ClassVar

import uvicorn
from fastapi import FastAPI
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker
from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]

from chassis import metrics
from chassis.settings import Settings

KEEP_ALIVE_SECONDS = 5
SHARED_MEMORY = "/dev/shm"
"""Where workers prove that they live; on a disk a slow write would look like a death. Linux has it."""


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
    }


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


def serve_forked(factory: str, settings: Settings, port: int, workers: int, grace_seconds: int) -> None:
    """Serve the application that `factory` ("module:function") makes, in `workers` processes; return at SIGTERM.

    `grace_seconds` is how long a worker may take to end before gunicorn kills it.
    """
    # This process declares the metrics by importing them, but does no work: its zeros must not count.
    metrics.forget_process(os.getpid())
    _Gunicorn(
        factory,
        {
            "bind": f"{settings.bind_host}:{port}",
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


def serve(app: FastAPI, settings: Settings, port: int) -> None:
    """Serve `app` in this process; return at SIGTERM or SIGINT."""
    uvicorn.run(
        app,
        host=settings.bind_host,
        port=port,
        loop="uvloop",
        http="httptools",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=10,
    )
