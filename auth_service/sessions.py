"""Sessions in the database, with what hangs on them: refresh tokens and tickets.

A session is the family of its refresh tokens. Each is used once; its successor is *derived* from it with a secret that
all replicas share, so that requests racing with the same token all get the same successor.
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, delete, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import metrics, models, outbox
from auth_service.accounts import Account, AccountChanged, unchanged
from auth_service.settings import Settings
from chassis.database import Database
from protocol.names import new_id

_DERIVATION = "refresh"
_CHAIN_STEPS = 32


class UnknownToken(Exception):
    """No live session has that refresh token."""


class TokenReused(Exception):
    """A refresh token came back after the grace; its session has been revoked."""


class Banned(Exception):
    """The refresh token belongs to an account that is banned."""


@dataclass(frozen=True, slots=True)
class Session:
    """A live session with its account's id and name; `expires_at` is its end, however often it is refreshed."""

    id: str
    user: str
    name: str
    guest: bool
    expires_at: float
    bans: int = 0
    """How often the account was banned before the session began."""


class Sessions:
    """The store of sessions. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._secret = b""

    async def prepare(self) -> None:
        """Read the secret that successors are derived with, making it when there is none. Replicas may race."""
        query = select(models.secrets.c.value).where(models.secrets.c.name == _DERIVATION)
        try:
            async with self._database.begin() as connection:
                if (await connection.execute(query)).scalar_one_or_none() is None:
                    row = {"name": _DERIVATION, "value": secrets.token_hex(32)}
                    await connection.execute(insert(models.secrets).values(row))
        except IntegrityError:  # another replica made it first
            pass
        async with self._database.begin() as connection:
            self._secret = bytes.fromhex((await connection.execute(query)).scalar_one())

    async def open(self, account: Account, now: float) -> tuple[str, str]:
        """Start a session; return its id and its first refresh token.

        Raises `AccountChanged` when the account was banned or got another password since it was read. The row of the
        account is held until the session is there (FOR SHARE; in SQLite the write lock does it), so whoever changes the
        account comes before, and is noticed here, or after, and ends this session with the others.
        """
        session, token = new_id(), secrets.token_urlsafe(32)
        values = (session, account.id, now, now + self._settings.auth_session_seconds)
        standing = select(*map(literal, values)).where(unchanged(account)).with_for_update(read=True)
        opened = insert(models.sessions).from_select(["id", "account_id", "created_at", "expires_at"], standing)
        async with self._database.begin() as connection:
            if (await connection.execute(opened)).rowcount == 0:
                raise AccountChanged
            await connection.execute(insert(models.refresh_tokens).values(hash=hashed(token), session_id=session))
        return session, token

    async def replace_password(self, account: Account, password_hash: str, reason: str, now: float) -> int:
        """Give the account another password and revoke every session of it, at once; return how many those were.

        Raises `AccountChanged` when it was banned or got another password since it was read.
        """
        table = models.sessions
        changed = update(models.accounts).where(unchanged(account)).values(password_hash=password_hash)
        async with self._database.begin() as connection:
            if (await connection.execute(changed)).rowcount == 0:
                raise AccountChanged
            mine = select(table.c.id).where(table.c.account_id == account.id, _is_live(now))
            found = (await connection.execute(mine)).scalars().all()
            return sum([await _revoke(connection, session, account.id, reason, now) for session in found])

    async def live(self, session: str, now: float) -> Session | None:
        """Return the session unless it has ended."""
        query = _sessions().where(models.sessions.c.id == session, _is_live(now))
        async with self._database.begin() as connection:
            row = (await connection.execute(query)).one_or_none()
        return _session(row) if row is not None else None

    async def rotate(self, token: str, now: float) -> tuple[Session, str]:
        """Use a refresh token up; return its session and the token to use next.

        Raises `UnknownToken`, `Banned`, or `TokenReused` after revoking the session.
        """
        async with self._database.begin() as connection:
            row = await self._by_token(connection, token)
            if row is None:
                raise UnknownToken
            if row.banned_at is not None:
                raise Banned
            used_at = row.used_at
            if used_at is None and _live(row, now):
                successor = await self._use(connection, token, row.id, now)
                if successor is not None:
                    return _session(row), successor
                used_at = now  # another request used it between our reading and our writing
            if used_at is None:
                raise UnknownToken
            reused = now - used_at > self._settings.auth_refresh_grace_seconds
            if reused:
                await _revoke(connection, row.id, row.account_id, "refresh_reused", now)
            elif not _live(row, now):
                raise UnknownToken
            else:
                successor = await self._newest(connection, token)
        if reused:
            raise TokenReused
        if successor is None:
            raise UnknownToken
        metrics.refresh_races.inc()
        return _session(row), successor

    async def revoke(self, session: str, reason: str, now: float) -> bool:
        """End a session and put its revocation into the outbox; False when it had ended or never was."""
        query = select(models.sessions.c.account_id).where(models.sessions.c.id == session)
        async with self._database.begin() as connection:
            user = (await connection.execute(query)).scalar_one_or_none()
            return user is not None and await _revoke(connection, session, user, reason, now)

    async def revoke_by_token(self, token: str, reason: str, now: float) -> bool:
        """End the session of a refresh token, used or not; False when there is none to end."""
        async with self._database.begin() as connection:
            row = await self._by_token(connection, token)
            return row is not None and await _revoke(connection, row.id, row.account_id, reason, now)

    async def add_ticket(self, ticket: str, session: str, access_expires_at: int, kid: str, now: float) -> None:
        """Keep the hash of a new ticket, and which key signed the access token it was made with."""
        row = {
            "hash": hashed(ticket),
            "session_id": session,
            "expires_at": now + self._settings.auth_ticket_seconds,
            "access_expires_at": access_expires_at,
            "kid": kid,
        }
        async with self._database.begin() as connection:
            await connection.execute(insert(models.tickets).values(row))

    async def take_ticket(self, ticket: str, now: float) -> tuple[Session, int, str] | None:
        """Use a ticket up, for one caller only; None: refused.

        Returns its session, and of its access token the end and the id of the key that signed it.
        """
        table = models.tickets
        # Deleting is what makes it one use: of two deletions of one row, one returns it.
        take = delete(table).where(table.c.hash == hashed(ticket), table.c.expires_at > now)
        async with self._database.begin() as connection:
            what = (table.c.session_id, table.c.access_expires_at, table.c.kid)
            taken = (await connection.execute(take.returning(*what))).first()
            if taken is None or taken.access_expires_at <= now:
                return None
            query = _sessions().where(models.sessions.c.id == taken.session_id, _is_live(now))
            row = (await connection.execute(query)).one_or_none()
        return (_session(row), taken.access_expires_at, taken.kid) if row is not None else None

    async def clean(self, now: float) -> dict[str, int]:
        """Remove a batch of what has expired of each kind; return table to number of rows."""
        settings = self._settings
        ended = now - settings.auth_revocation_seconds  # no access token of it is valid any more
        kinds = (
            (models.tickets, models.tickets.c.hash, models.tickets.c.expires_at < now),
            (
                models.refresh_tokens,
                models.refresh_tokens.c.hash,
                models.refresh_tokens.c.used_at < now - settings.auth_refresh_memory_seconds,
            ),
            (
                models.sessions,
                models.sessions.c.id,
                or_(models.sessions.c.expires_at < ended, models.sessions.c.revoked_at < ended),
            ),
            (models.revocations, models.revocations.c.session_id, models.revocations.c.at < ended),
            (models.announcements, models.announcements.c.id, models.announcements.c.at < ended),
        )
        removed = {}
        for table, key, expired in kinds:
            batch = select(key).where(expired).limit(settings.auth_clean_batch)
            async with self._database.begin() as connection:
                result = await connection.execute(delete(table).where(key.in_(batch)))
            removed[table.name.removeprefix("auth_")] = result.rowcount
        return removed

    async def _by_token(self, connection: AsyncConnection, token: str) -> Row[Any] | None:
        table = models.refresh_tokens
        query = _sessions().add_columns(table.c.used_at).join(table, table.c.session_id == models.sessions.c.id)
        return (await connection.execute(query.where(table.c.hash == hashed(token)))).one_or_none()

    async def _use(self, connection: AsyncConnection, token: str, session: str, now: float) -> str | None:
        """Mark `token` used and store its successor, unless another request did: then None."""
        table = models.refresh_tokens
        unused = and_(table.c.hash == hashed(token), table.c.used_at.is_(None))
        if (await connection.execute(update(table).where(unused).values(used_at=now))).rowcount == 0:
            return None
        successor = self._successor(token)
        await connection.execute(insert(table).values(hash=hashed(successor), session_id=session))
        return successor

    async def _newest(self, connection: AsyncConnection, token: str) -> str | None:
        """Follow the chain to the token that is not used yet: a racer that is late must not get a used one."""
        table = models.refresh_tokens
        for _ in range(_CHAIN_STEPS):
            token = self._successor(token)
            row = (await connection.execute(select(table.c.used_at).where(table.c.hash == hashed(token)))).one_or_none()
            if row is None:
                return None
            if row.used_at is None:
                return token
        return None

    def _successor(self, token: str) -> str:
        mac = hmac.digest(self._secret, token.encode("utf-8", "surrogatepass"), "sha256")
        return base64.urlsafe_b64encode(mac).rstrip(b"=").decode()


def hashed(secret: str) -> str:
    """Return what is kept of a secret that a client holds. 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


async def _revoke(connection: AsyncConnection, session: str, user: str, reason: str, now: float) -> bool:
    table = models.sessions
    open_one = and_(table.c.id == session, table.c.revoked_at.is_(None))
    if (await connection.execute(update(table).where(open_one).values(revoked_at=now))).rowcount == 0:
        return False
    await outbox.announce_session(connection, session, user, reason, now)
    return True


async def end_all(connection: AsyncConnection, user: str, now: float) -> int:
    """End every session of an account without an announcement for each; return how many those were."""
    live = update(models.sessions).where(models.sessions.c.account_id == user, _is_live(now))
    return (await connection.execute(live.values(revoked_at=now))).rowcount


def _sessions() -> Select[Any]:
    accounts, table = models.accounts, models.sessions
    columns = (
        table.c.id,
        table.c.account_id,
        table.c.expires_at,
        table.c.revoked_at,
        accounts.c.name,
        accounts.c.guest,
        accounts.c.bans,
        accounts.c.banned_at,
    )
    return select(*columns).join_from(table, accounts, accounts.c.id == table.c.account_id)


def _is_live(now: float) -> Any:
    return and_(models.sessions.c.revoked_at.is_(None), models.sessions.c.expires_at > now)


def _live(row: Row[Any], now: float) -> bool:
    return row.revoked_at is None and row.expires_at > now


def _session(row: Row[Any]) -> Session:
    return Session(row.id, row.account_id, row.name, row.guest, row.expires_at, row.bans)
