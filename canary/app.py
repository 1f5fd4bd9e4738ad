"""The composition root: every part of the canary is built here, and closed in reverse order."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from canary.account import Account, trusted
from canary.connection import Connection
from canary.ledger import Ledger
from canary.receiver import Receiver
from canary.run import Run
from canary.settings import Settings
from chassis import app as frame
from chassis import logs
from chassis.health import Health
from chassis.lifecycle import Background
from protocol.names import new_id

log = logs.get(__name__)


def build(settings: Settings) -> tuple[Run, list[Receiver]]:
    """Put the parts of a new run together; nothing is connected yet."""
    tls = trusted()
    account = Account(settings, tls)
    run = new_id()
    names = [f"canary-receiver-{number}" for number in range(1, settings.canary_receivers + 1)]
    ledger = Ledger(names, settings.canary_lost_after_seconds)
    receivers = [
        Receiver(
            Connection(name, settings, account, tls, protobuf=settings.canary_protobuf and name == names[-1]),
            settings,
            ledger,
            run,
        )
        for name in names
    ]
    sender = Connection("canary-sender", settings, account, tls)
    return Run(settings, run, account, sender, receivers, ledger), receivers


def create(settings: Settings) -> FastAPI:
    """Return the canary's application: health and metrics in front, the run behind."""
    health = Health()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            run, receivers = build(settings)
            _require(health, settings, run)
            stack.push_async_callback(run.close)
            background = await stack.enter_async_context(Background())
            log.info("a run begins", run=run.id, url=settings.canary_url, receivers=len(receivers))
            for connection in run.connections:
                background.loop(connection.name, connection.keep)
            for place, receiver in enumerate(receivers, 1):
                background.loop(f"{receiver.name} reloads", receiver.reload)
                background.loop(f"{receiver.name} proves", receiver.prove)
                first = settings.canary_reconnect_seconds * place / len(receivers)  # one after the other
                background.loop(f"{receiver.name} goes", partial(receiver.come_and_go, first))
            background.loop("judge", run.judge)
            background.loop("chat", run.chat)
            yield
            health.draining = True

    return frame.create("canary", settings, health, lifespan, openapi_url=None)


def _require(health: Health, settings: Settings, run: Run) -> None:
    """Be ready while everything is connected and something was received lately."""

    async def connected() -> str | None:
        out = run.not_connected()
        return f"not connected: {', '.join(out)}" if out else None

    async def hearing() -> str | None:
        silent = time.monotonic() - run.heard_at
        return f"nothing received for {settings.silence_seconds:g} s" if silent > settings.silence_seconds else None

    health.require("connections", connected)
    health.require("messages", hearing)
