"""The composition root: builds the parts, starts them in order, closes them in reverse."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware import Middleware

from auth_service import endpoints
from auth_service.accounts import Accounts
from auth_service.cleaning import Cleaning
from auth_service.keyring import Keyring
from auth_service.limits import AddressLimits, BodyLimit
from auth_service.login import Login
from auth_service.models import VERSION_TABLE
from auth_service.outbox import Outbox
from auth_service.passwords import Passwords
from auth_service.revocations import Revocations, Withdrawals
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from auth_service.tickets import Tickets
from chassis import app as chassis_app
from chassis.bus import Bus, Serve
from chassis.database import Database, database_url
from chassis.health import Health
from chassis.lifecycle import Background
from protocol import subjects

MIGRATIONS = Path(__file__).parent / "migrations"


def open_database(settings: Settings) -> Database:
    """Return the auth service's database, not yet connected to."""
    return Database(database_url(settings.auth_database, settings.data_dir, "auth"))


class Service:
    """The parts of one process, put together."""

    def __init__(self, settings: Settings, health: Health, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.database = open_database(settings)
        self.bus = Bus(settings, "auth")
        self.background = Background()
        self.keyring = Keyring(self.database, settings, clock)
        self.accounts = Accounts(self.database, settings)
        self.sessions = Sessions(self.database, settings)
        self.passwords = Passwords(settings)
        self.revocations = Revocations(settings, self.bus, Outbox(self.database, settings), clock)
        self.withdrawals = Withdrawals(self.bus, self.keyring, self.background)
        self.tickets = Tickets(settings, self.sessions, self.background, clock)
        self.cleaning = Cleaning(settings, self.accounts, self.sessions, clock)
        self.login = Login(
            settings, self.accounts, self.sessions, self.passwords, self.keyring, self.revocations, clock
        )
        health.require("database", self.database.ready)
        health.require("nats", self.bus.ready)
        health.require("keys", self.keyring.ready)

    @property
    def parts(self) -> endpoints.Parts:
        """What the endpoints work with."""
        return endpoints.Parts(self.settings, self.keyring, self.login, self.tickets, AddressLimits(self.settings))

    async def start(self, stack: AsyncExitStack) -> None:
        """Start everything; what NATS or the database is needed for waits in the background until it is there."""
        stack.push_async_callback(self.database.close)
        stack.callback(self.passwords.close)
        stack.push_async_callback(self.bus.close)
        await stack.enter_async_context(self.background)
        self.background.loop("database", self._with_database)
        self.background.loop("nats", self._with_nats)

    async def _with_database(self) -> None:
        await self.database.prepare(MIGRATIONS, VERSION_TABLE, migrate=self.settings.migrate_on_start)
        await self.sessions.prepare()
        await self.keyring.load()
        self.background.loop("keys", self.keyring.keep)
        self.background.loop("cleaning", self.cleaning.run)
        self.background.loop("revocations", self.revocations.run)

    async def _with_nats(self) -> None:
        await self.bus.connect()
        served: dict[str, Serve] = {subjects.REDEEM_TICKET: self.tickets.serve}
        await self.bus.serve("parley-auth", chassis_app.VERSION, subjects.AUTH_QUEUE, served)
        await self.withdrawals.listen()
        self.revocations.reconnected()


def create(settings: Settings, clock: Callable[[], float] = time.time) -> FastAPI:
    """Return the auth service as an application; `clock` gives seconds since the epoch."""
    health = Health()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            service = Service(settings, health, clock)
            app.state.parts = service.parts
            await service.start(stack)
            yield
            health.draining = True

    app = chassis_app.create(
        "auth",
        settings,
        health,
        lifespan,
        internal_port=settings.auth_internal_port,
        docs_url="/auth/docs",
        redoc_url=None,
        openapi_url="/auth/openapi.json",
    )
    # Innermost, so that its answers are logged and carry the CORS headers too.
    limit = Middleware(BodyLimit, most=settings.auth_body_bytes, seconds=settings.auth_body_seconds)
    app.user_middleware.append(limit)
    app.include_router(endpoints.router)
    app.include_router(endpoints.keys_router)
    return app
