"""Bans: an operator shuts an account out; and what is under way at that moment, or while a password is changed."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import models
from auth_service.app import open_database
from auth_service.bans import Bans
from auth_service.passwords import Passwords, Verdict
from auth_service.sessions import Sessions
from auth_service.settings import Settings
from chassis.bus import Bus
from chassis.database import Database
from protocol import subjects
from tests.bench.nats import NatsServer
from tests.service.auth.conftest import Services
from tests.service.auth.running import PASSWORD, Clock, Running, eventually, good, refused
from tests.service.auth.test_revocations import stored as announced

# nats-py 2.16 asks for the time in a way that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:nats")

ROOT = Path(__file__).parents[3]
NEW = "another horse battery"


@pytest.fixture
async def database(stored: Running) -> AsyncIterator[Database]:
    """The database of `stored`, as an operator's command opens it."""
    database = open_database(stored.settings)
    yield database
    await database.close()


async def command(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run a command of the auth service; return its exit code, and what it writes."""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "auth_service", *arguments],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "LOG_LEVEL": "error", **settings},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


async def test_a_banned_account_is_out(stored: Running, database: Database, clock: Clock) -> None:
    """It cannot log in, refresh, change its password or use its tokens; who lacks the password is told nothing."""
    bans = Bans(database)
    first = await stored.register()
    second = good(await stored.login())
    other = await stored.register("ben")
    user = first["user"]["id"]
    assert await bans.ban(user, clock()) == 2
    assert await bans.ban(user, clock()) is None
    refused(await stored.login(), 403, "account_banned")
    change = {"username": "ann", "password": PASSWORD, "new_password": NEW}
    refused(await stored.post("/auth/password", change), 403, "account_banned")
    for one in (first, second):
        refused(await stored.refresh(one["refresh_token"]), 403, "account_banned")
        refused(await stored.me(one["access_token"]), 401, "invalid_token")
        refused(await stored.post("/auth/tickets", token=one["access_token"]), 401, "invalid_token")
    refused(await stored.login(password="a wrong password"), 401, "invalid_credentials")
    refused(await stored.post("/auth/register", {"username": "ann", "password": NEW}), 409, "username_taken")
    good(await stored.me(other["access_token"]))


async def test_a_ban_is_lifted(stored: Running, database: Database, clock: Clock) -> None:
    """Then it may log in, with tokens that say how often it was banned; what had ended stays ended."""
    bans = Bans(database)
    first = await stored.register()
    user = first["user"]["id"]
    assert not await bans.lift(user)
    await bans.ban(user, clock())
    assert await bans.lift(user)
    assert not await bans.lift(user)
    refused(await stored.refresh(first["refresh_token"]), 401, "invalid_token")
    again = good(await stored.login())
    assert "bans" not in claims(first["access_token"])
    assert claims(again["access_token"])["bans"] == 1
    refreshed = good(await stored.refresh(again["refresh_token"]))
    assert claims(refreshed["access_token"])["bans"] == 1
    good(await stored.me(refreshed["access_token"]))
    assert await bans.ban(user, clock()) == 1


def claims(token: str) -> dict[str, Any]:
    """What an access token says; its signature is not looked at."""
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


async def test_commands(services: Services, database_url: str, nats: NatsServer, gateway: Bus, clock: Clock) -> None:
    """`ban` tells the gateways itself, in one message however many the sessions; `unban` lets the account in again."""
    auth = await services(nats, auth_database_url=database_url, auth_revocation_poll_seconds=60)
    tokens = await auth.register("Ann")
    for _ in range(3):
        good(await auth.login("Ann"))
    user = tokens["user"]["id"]
    where = {"AUTH_DATABASE_URL": database_url, **nats.environment("auth")}
    code, told, error = await command("ban", "--name", "ANN", **where)
    assert (code, error) == (0, "")
    assert told == f"Ann ({user}) is banned; sessions ended: 4\nthe gateways have been told\n"
    (body,) = await announced(gateway)
    assert (body["user"], body["bans"], body["reason"], body["at"]) == (user, 1, "banned", body["at_ms"] // 1000)
    assert abs(body["at_ms"] / 1000 - clock()) < 30
    assert (await command("ban", "--id", user, **where))[1] == (
        f"Ann ({user}) was banned before; nothing was changed\n"
    )
    refused(await auth.login(), 403, "account_banned")
    assert (await command("unban", "--id", user, **where))[1] == f"Ann ({user}) may sign in again\n"
    assert (await command("unban", "--name", "ann", **where))[1] == f"Ann ({user}) is not banned; nothing was changed\n"
    good(await auth.login())
    await command("ban", "--name", "ann", **where)
    assert [one["bans"] for one in await announced(gateway)] == [1, 2]


async def test_commands_that_cannot(services: Services, nats: NatsServer, gateway: Bus, database_url: str) -> None:
    """Who does not exist, or is not named, is an error in a line; without NATS the running service tells gateways."""
    auth = await services(nats, auth_database_url=database_url, auth_revocation_poll_seconds=0.2)
    await auth.register()
    where = {"AUTH_DATABASE_URL": database_url, **nats.environment("auth")}
    for arguments, reason in (
        (("ban", "--name", "nobody"), "parley: no account has that username (guests have an id only)\n"),
        (("ban", "--name", "not a name"), "parley: no account has that username (guests have an id only)\n"),
        (("unban", "--id", "nobody"), "parley: no account has that id\n"),
    ):
        assert await command(*arguments, **where) == (1, "", reason)
    code, _, error = await command("ban", **where)
    assert (code, "one of the arguments --name --id is required" in error) == (2, True)
    code, told, _ = await command("ban", "--help")
    assert (code, "--name" in told, "--id" in told) == (0, True, True)
    code, told, _ = await command("ban", "--name", "ann", **{**where, "NATS_URL": "nats://127.0.0.1:9"})
    assert code == 0
    assert "NATS cannot be reached: the gateways are told by the running service" in told

    async def by_the_service() -> bool:
        return [one["reason"] for one in await announced(gateway)] == ["banned"]

    await eventually(by_the_service, "the service announces it")


class Held(Passwords):
    """Checks passwords as always, and keeps the answer back until it is let go."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.checked = asyncio.Event()
        self.go = asyncio.Event()

    async def verify(self, stored: str | None, password: str) -> Verdict:
        """As always, and late."""
        verdict = await super().verify(stored, password)
        self.checked.set()
        await self.go.wait()
        return verdict


Meanwhile = Callable[[Running, Database, str], Coroutine[Any, Any, None]]


async def change_password(auth: Running, _: Database, __: str) -> None:
    """Change the password, at another replica."""
    good(await auth.post("/auth/password", {"username": "ann", "password": PASSWORD, "new_password": NEW}))


async def be_banned(_: Running, database: Database, user: str) -> None:
    """Ban the account."""
    assert await Bans(database).ban(user, 0.0) is not None


async def be_rehashed(auth: Running, _: Database, __: str) -> None:
    """Log in at a replica with other hashing parameters, which stores another hash of the same password."""
    good(await auth.login())


@pytest.mark.parametrize(
    ("meanwhile", "status", "code"),
    [(change_password, 401, "invalid_credentials"), (be_banned, 403, "account_banned"), (be_rehashed, 200, "")],
)
async def test_a_login_under_way(
    services: Services, database_url: str, meanwhile: Meanwhile, status: int, code: str
) -> None:
    """A login whose password was found right before it was changed, or before a ban, opens no session."""
    slow = await services(auth_database_url=database_url)
    other = await services(auth_database_url=database_url, auth_argon2_memory_kib=128)
    user = (await slow.register())["user"]["id"]
    held = slow.parts.login._passwords = Held(slow.settings)
    database = open_database(slow.settings)
    under_way = asyncio.create_task(slow.login())
    try:
        await asyncio.wait_for(held.checked.wait(), 15)
        await meanwhile(other, database, user)
        before = await live_sessions(database, user)
        held.go.set()
        answer = await under_way
        assert answer.status_code == status, answer.text
        if code:
            refused(answer, status, code)
        assert await live_sessions(database, user) == before + (status == 200)
    finally:
        under_way.cancel()
        held.close()
        await database.close()


@pytest.mark.parametrize("meanwhile", [change_password, be_banned])
async def test_a_session_being_stored(services: Services, database_url: str, meanwhile: Meanwhile) -> None:
    """A session that is stored but not committed when the password is changed, or at a ban, ends with the others."""
    auth = await services(auth_database_url=database_url)
    user = (await auth.register())["user"]["id"]
    database = Pausing(open_database(auth.settings))
    account = await auth.parts.login._accounts.by_username("ann")
    assert account is not None
    storing = asyncio.create_task(Sessions(database, auth.settings).open(account, auth.clock()))  # type: ignore[arg-type]
    changing: asyncio.Task[Any] | None = None
    try:
        await asyncio.wait_for(database.reached.wait(), 15)
        changing = asyncio.create_task(meanwhile(auth, database.real, user))
        await asyncio.wait({changing}, timeout=0.5)  # it waits for the row, or would have passed by
        database.go.set()
        session, _ = await storing
        await changing
        assert await auth.parts.login._sessions.live(session, auth.clock()) is None
    finally:
        for task in (storing, changing):
            if task is not None:
                task.cancel()
        await database.real.close()


class Pausing:
    """A database whose transactions, done but for their end, wait until they are let go."""

    def __init__(self, real: Database) -> None:
        self.real = real
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """A transaction of the real one, with a pause before its commit."""
        async with self.real.begin() as connection:
            yield connection
            self.reached.set()
            await self.go.wait()


async def live_sessions(database: Database, user: str) -> int:
    """How many sessions of the account have not ended."""
    mine = (models.sessions.c.account_id == user, models.sessions.c.revoked_at.is_(None))
    query = select(func.count()).select_from(models.sessions).where(*mine)
    async with database.begin() as connection:
        return int((await connection.execute(query)).scalar_one())


async def test_logins_in_a_storm(services: Services, database_url: str) -> None:
    """Of twenty logins with the old password around its change, no session is left; only that of the change."""
    no_limits = {"auth_address_password_burst": 0, "auth_attempts_waiting": 40, "auth_failures_free": 100}
    auth, other = [await services(auth_database_url=database_url, **no_limits) for _ in range(2)]
    user = (await auth.register())["user"]["id"]
    change = {"username": "ann", "password": PASSWORD, "new_password": NEW}
    work: list[Coroutine[Any, Any, Any]] = [(auth, other)[number % 2].login() for number in range(20)]
    work.insert(8, other.post("/auth/password", change))
    answers = await asyncio.gather(*work)
    changed = good(answers[8])
    database = open_database(auth.settings)
    try:
        assert await live_sessions(database, user) == 1
    finally:
        await database.close()
    good(await auth.me(changed["access_token"]))
    refused(await auth.login(), 401, "invalid_credentials")


async def test_withdrawn_keys_are_announced(
    services: Services, database_url: str, nats: NatsServer, gateway: Bus
) -> None:
    """`rotate-keys --compromised` names each withdrawn key; a running replica follows at once, not at its next look."""
    auth = await services(nats, auth_database_url=database_url, auth_key_reload_seconds=150)
    old = await auth.guest()
    ticket = good(await auth.post("/auth/tickets", token=old["access_token"]))["ticket"]
    await auth.parts.keyring.rotate()
    withdrawn = {key.kid for key in auth.parts.keyring.ring.keys}
    assert len(withdrawn) == 2
    where = {"AUTH_DATABASE_URL": database_url, **nats.environment("auth")}
    code, told, error = await command("rotate-keys", "--compromised", **where)
    assert (code, error) == (0, "")
    assert told.endswith("all others are withdrawn\nthe gateways have been told\n")

    async def followed() -> bool:
        return not withdrawn & {key.kid for key in auth.parts.keyring.ring.keys}

    await eventually(followed, "the running service signs with the new key", 5)
    bodies = await announced(gateway)
    assert {one["key"] for one in bodies} == withdrawn
    assert {one["reason"] for one in bodies} == {"key_compromised"}
    refused(await auth.me(old["access_token"]), 401, "invalid_token")
    fresh = good(await auth.refresh(old["refresh_token"]))
    good(await auth.me(fresh["access_token"]))
    asked = msgspec.json.encode({"ticket": ticket})
    answer = msgspec.json.decode((await gateway.request(subjects.REDEEM_TICKET, asked)).body)
    assert answer["refusal"]["code"] == 101
