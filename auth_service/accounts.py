"""Accounts and guests in the database, and the back-off of accounts whose password is being guessed."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, delete, exists, insert, select, update
from sqlalchemy.exc import IntegrityError

from auth_service import models
from auth_service.settings import Settings
from chassis.database import Database
from protocol.names import new_id


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may have sessions; `password_hash` is None for a guest."""

    id: str
    name: str
    guest: bool
    password_hash: str | None = None
    bans: int = 0
    """How often it was banned so far."""
    banned: bool = False


class UsernameTaken(Exception):
    """Another account has that username."""


class AccountChanged(Exception):
    """The account was banned, or got another password, since it was read: what was decided on it does not count."""


class Accounts:
    """The store of accounts and of their failed logins. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def create(self, username: str, name: str, password_hash: str, now: float) -> Account:
        """Make an account with the folded `username`; raise `UsernameTaken`."""
        account = Account(new_id(), name, False, password_hash)
        try:
            await self._insert(account, username, now)
        except IntegrityError:
            raise UsernameTaken from None
        return account

    async def create_guest(self, name: str, now: float) -> Account:
        """Make an account without username and password, that lives as long as its session."""
        account = Account(new_id(), name, True)
        await self._insert(account, None, now)
        return account

    async def by_username(self, username: str) -> Account | None:
        """Return the account with the folded `username`, or None."""
        return await self._one(models.accounts.c.username == username)

    async def by_id(self, user: str) -> Account | None:
        """Return the account with that id, or None."""
        return await self._one(models.accounts.c.id == user)

    async def set_password_hash(self, account: Account, password_hash: str) -> None:
        """Replace the hash that `account` was read with; a change made meanwhile wins."""
        table = models.accounts
        same = and_(table.c.id == account.id, table.c.password_hash == account.password_hash)
        async with self._database.begin() as connection:
            await connection.execute(update(table).where(same).values(password_hash=password_hash))

    async def blocked_for(self, name: str, now: float) -> float:
        """Return for how many more seconds logins as `name` are refused; 0 or less: they are not."""
        table = models.failures
        query = select(table.c.blocked_until).where(table.c.name_hash == _hash(name))
        async with self._database.begin() as connection:
            until = (await connection.execute(query)).scalar_one_or_none()
        return until - now if until is not None else 0.0

    async def failed(self, name: str, now: float) -> None:
        """Count a failed login as `name`, which blocks it for a while from the last free failure on."""
        try:
            await self._count_failure(name, now)
        except IntegrityError:  # another replica counted the first failure at this moment
            await self._count_failure(name, now)

    async def forget_failures(self, name: str) -> None:
        """Start counting anew after a login that succeeded."""
        async with self._database.begin() as connection:
            await connection.execute(delete(models.failures).where(models.failures.c.name_hash == _hash(name)))

    async def clean(self, now: float) -> dict[str, int]:
        """Remove a batch of old failures and of guests without sessions; return table to number of rows."""
        failures, accounts, sessions = models.failures, models.accounts, models.sessions
        forgotten = failures.c.last_at < now - self._settings.auth_failure_memory_seconds
        old = select(failures.c.name_hash).where(forgotten).limit(self._settings.auth_clean_batch)
        gone = (
            select(accounts.c.id)
            .where(accounts.c.guest, accounts.c.created_at < now - self._settings.auth_guest_memory_seconds)
            .where(~exists().where(sessions.c.account_id == accounts.c.id))
            .limit(self._settings.auth_clean_batch)
        )
        async with self._database.begin() as connection:
            first = await connection.execute(delete(failures).where(failures.c.name_hash.in_(old)))
            second = await connection.execute(delete(accounts).where(accounts.c.id.in_(gone)))
        return {"failures": first.rowcount, "guests": second.rowcount}

    async def _one(self, which: ColumnElement[bool]) -> Account | None:
        async with self._database.begin() as connection:
            row = (await connection.execute(select(models.accounts).where(which))).one_or_none()
        return account_of(row) if row is not None else None

    async def _insert(self, account: Account, username: str | None, now: float) -> None:
        row = {
            "id": account.id,
            "username": username,
            "name": account.name,
            "guest": account.guest,
            "password_hash": account.password_hash,
            "created_at": now,
        }
        async with self._database.begin() as connection:
            await connection.execute(insert(models.accounts).values(row))

    async def _count_failure(self, name: str, now: float) -> None:
        table = models.failures
        mine = table.c.name_hash == _hash(name)
        more = update(table).where(mine).values(count=table.c.count + 1, last_at=now).returning(table.c.count)
        async with self._database.begin() as connection:
            count = (await connection.execute(more)).scalar_one_or_none()
            if count is None:
                row = {"name_hash": _hash(name), "count": 1, "blocked_until": 0.0, "last_at": now}
                await connection.execute(insert(table).values(row))
                count = 1
            wait = backoff(self._settings, count)
            if wait:
                await connection.execute(update(table).where(mine).values(blocked_until=now + wait))


def backoff(settings: Settings, failures: int) -> float:
    """Return for how many seconds the account is blocked after that many failures in a row (pure)."""
    beyond = failures - settings.auth_failures_free
    if beyond < 0:
        return 0.0
    # 2 to the 40th is far beyond any cap, and keeps the power a float for any count.
    delay: float = settings.auth_failure_delay_seconds * 2.0 ** min(beyond, 40)
    return min(delay, settings.auth_failure_delay_max_seconds)


def account_of(row: Row[Any]) -> Account:
    """Return the account in a row of the accounts table."""
    return Account(row.id, row.name, row.guest, row.password_hash, row.bans, row.banned_at is not None)


def unchanged(account: Account) -> ColumnElement[bool]:
    """Return the condition that `account` still has the password it was read with, and is not banned."""
    table, stored = models.accounts.c, account.password_hash
    same = table.password_hash.is_(None) if stored is None else table.password_hash == stored
    return and_(table.id == account.id, same, table.banned_at.is_(None))


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
