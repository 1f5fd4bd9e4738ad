"""The operator's commands: each does one thing beside the running service and returns what to tell of it.

What ends by them is announced to the gateways by the command itself, for the running service looks into the outbox only
every few seconds. Without NATS it stays in the outbox, and the service announces it as soon as it can.
"""

import asyncio
import time

from auth_service import names
from auth_service.accounts import Account, Accounts
from auth_service.app import MIGRATIONS
from auth_service.bans import Bans
from auth_service.keyring import Keyring
from auth_service.models import VERSION_TABLE
from auth_service.outbox import Outbox
from auth_service.revocations import Revocations
from auth_service.settings import Settings
from chassis.bus import Bus, BusError
from chassis.database import BEHIND, Database, DatabaseUnavailable

ANNOUNCE_SECONDS = 5
"""How long a command tries to reach NATS."""


class Failed(Exception):
    """The command cannot be carried out; the text tells the operator why."""


class Commands:
    """Each raises `Failed`, or `DatabaseUnavailable`."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._accounts = Accounts(database, settings)
        self._bans = Bans(database)
        self._keyring = Keyring(database, settings)

    async def migrate(self) -> str:
        """Bring the tables up to date."""
        return f"auth: {(await self._database.migrate(MIGRATIONS, VERSION_TABLE)).told()}"

    async def rotate(self) -> str:
        """Publish the next signing key."""
        await self._prepare()
        key = await self._keyring.rotate()
        return f"key {key.kid} is published and signs from {key.signs_from:.0f} (seconds since the epoch)"

    async def replace_keys(self) -> str:
        """Have a new key sign now, and withdraw all others: what they signed ends, and so do its connections."""
        await self._prepare()
        key = await self._keyring.replace_all()
        return f"key {key.kid} is published and signs from now; all others are withdrawn\n{await self._announce()}"

    async def ban(self, name: str, user: str) -> str:
        """Shut an account out, named by its username or by its id."""
        await self._prepare()
        account = await self._found(name, user)
        ended = await self._bans.ban(account.id, time.time())
        if ended is None:
            return f"{_told(account)} was banned before; nothing was changed"
        return f"{_told(account)} is banned; sessions ended: {ended}\n{await self._announce()}"

    async def unban(self, name: str, user: str) -> str:
        """Let an account sign in again."""
        await self._prepare()
        account = await self._found(name, user)
        if not await self._bans.lift(account.id):
            return f"{_told(account)} is not banned; nothing was changed"
        return f"{_told(account)} may sign in again"

    async def _prepare(self) -> None:
        if self._settings.migrate_on_start:
            await self._database.migrate(MIGRATIONS, VERSION_TABLE)
        elif (await self._database.schema(MIGRATIONS, VERSION_TABLE)).behind:
            raise Failed(BEHIND)

    async def _found(self, name: str, user: str) -> Account:
        if user:
            account = await self._accounts.by_id(user)
        else:
            try:
                account = await self._accounts.by_username(names.fold_username(name))
            except names.BadName:
                account = None
        if account is None:
            raise Failed("no account has that id" if user else "no account has that username (guests have an id only)")
        return account

    async def _announce(self) -> str:
        """Tell the gateways, and return what came of it."""
        bus = Bus(self._settings, "auth")
        revocations = Revocations(self._settings, bus, Outbox(self._database, self._settings))
        try:
            async with asyncio.timeout(ANNOUNCE_SECONDS):
                await bus.connect()
                await revocations.publish_now()
        except (BusError, TimeoutError):
            return "NATS cannot be reached: the gateways are told by the running service, as soon as it can"
        except DatabaseUnavailable:
            return "the database went away: the gateways are told by the running service, as soon as it can"
        finally:
            await bus.close()
        return "the gateways have been told"


def _told(account: Account) -> str:
    return f"{account.name} ({account.id})"
