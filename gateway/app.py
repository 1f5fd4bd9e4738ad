"""The gateway's composition root: builds its parts, and closes them in reverse."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI

from chassis import app as frame
from chassis import logs, process
from chassis.bus import Bus
from chassis.health import Health
from chassis.lifecycle import Background
from gateway import endpoints, metrics, server_api
from gateway.alarms import Alarms
from gateway.authentication import Authenticator
from gateway.chat import Chat
from gateway.control import Control
from gateway.doorman import Doorman
from gateway.drain import Drain
from gateway.emulation import Emulation
from gateway.hub import Hub
from gateway.keys import Keys
from gateway.namespaces import Namespaces
from gateway.parts import Parts
from gateway.postman import Postman
from gateway.presence import Presence
from gateway.publishing import Publisher
from gateway.quota import Quota
from gateway.rebalance import Rebalance, load
from gateway.relay import Relay
from gateway.revocations import Revocations
from gateway.server_api import ServerAPI
from gateway.settings import GatewaySettings
from gateway.strangers import Strangers
from gateway.turnstile import Turnstile
from protocol.names import new_id

SERVICE = "gateway"
log = logs.get(__name__)


def create_from_environment() -> FastAPI:
    """Return the application of one worker process."""
    settings = GatewaySettings.load_or_exit()
    logs.configure(SERVICE, settings.log_level, settings.log_format)
    return create(settings)


def create(settings: GatewaySettings) -> FastAPI:
    """Return the gateway as a FastAPI application; its parts live as long as its lifespan."""
    health = Health()
    drain = Drain(health, settings)
    turnstile = Turnstile()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.callback(log.info, "stopped")  # the last of all: whoever was killed has not said it
            bus = Bus(settings, SERVICE)
            stack.push_async_callback(bus.close)
            background = await stack.enter_async_context(Background())
            postman = Postman()
            hub = Hub(postman, settings.flush_seconds)
            namespaces = Namespaces.load(settings)
            relay = Relay(bus, hub, background, settings, namespaces)
            node = new_id()
            presence = Presence(node, bus, hub, settings, partial(load, drain))
            rebalance = Rebalance(node, presence, drain, settings)
            keys = Keys(settings)
            revocations = Revocations(bus, settings, hub, keys)
            chat = Chat(bus, settings)
            emulation = Emulation(node, bus, settings.nats_request_seconds)
            app.state.background = background
            app.state.emulation = emulation
            app.state.authenticator = Authenticator(settings, keys, revocations, bus)
            control = Control(node, bus, hub, background, settings)
            quota = Quota(hub, control, background, lambda: len(presence.loads(2 * settings.lease_seconds)), settings)
            parts = app.state.parts = Parts(
                settings,
                node,
                hub,
                relay,
                chat,
                presence,
                keys,
                revocations,
                postman,
                namespaces,
                Publisher(bus, relay),
                quota,
                Alarms(),
                turnstile,
                Strangers(settings.max_unauthenticated_connections),
            )
            app.state.server_api = ServerAPI(parts, control)
            for name, check in (
                ("nats", bus.ready),
                ("room_log", relay.ready),
                ("keys", keys.ready),
                ("revocations", revocations.ready),
                ("control", control.ready),
            ):
                health.require(name, check)

            async def on_the_bus() -> None:
                await bus.connect()
                background.loop("chat", chat.listen)
                background.loop("relay", relay.run)
                background.loop("presence", presence.run)
                background.loop("rebalance", rebalance.run)
                background.loop("emulation", emulation.run)
                background.loop("revocations", revocations.follow)
                background.loop("control", control.listen)
                background.loop("quota", quota.run)

            background.loop("connect", on_the_bus)
            background.loop("keys", keys.keep_fresh)
            stack.push_async_callback(presence.withdraw)
            process.settled()
            metrics.connections_limit.set(settings.max_connections)
            log.info("started", node=node)
            yield

    app = frame.create(
        SERVICE,
        settings,
        health,
        lifespan,
        internal_port=settings.gateway_internal_port,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.state.leave = drain.leave
    app.state.doorman = Doorman(settings, drain)
    app.state.turnstile = turnstile
    server_api.add_to(app)
    endpoints.add_to(app, settings, drain)
    return app
