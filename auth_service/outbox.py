"""The outbox: what is to be announced, written in the transaction that makes it true, kept until NATS has it.

Two tables: one row for each session that ended, and one for each ban and each withdrawn key, which end many at once and
so go first.
"""

from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service import models
from auth_service.settings import Settings
from chassis.database import Database
from protocol.revocations import Revocation

_USER, _KEY = "user", "key"


@dataclass(frozen=True, slots=True)
class Announcement:
    """One row of the outbox; its `id` is the message id, by which NATS keeps one of several."""

    id: str
    about: Revocation


class Outbox:
    """What NATS has not acknowledged. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def waiting(self) -> tuple[list[Announcement], int]:
        """Return a batch of what is to be announced next, and how many there are in all."""
        wide, narrow = models.announcements, models.revocations
        most = self._settings.auth_revocation_batch
        count = 0
        async with self._database.begin() as connection:
            found = []
            for table in (wide, narrow):
                unpublished = table.c.published.is_(False)
                batch = select(table).where(unpublished).order_by(table.c.at).limit(most)
                found.append((await connection.execute(batch)).all())
                count += (
                    await connection.execute(select(func.count()).select_from(table).where(unpublished))
                ).scalar_one()
        first = [Announcement(row.id, _wide(row.kind, row.about, row.bans, row.at, row.reason)) for row in found[0]]
        then = [
            Announcement(row.session_id, _at(row.at, row.reason, sid=row.session_id, user=row.account_id))
            for row in found[1]
        ]
        return (first + then)[:most], count

    async def mark_published(self, done: list[Announcement]) -> None:
        """Note that NATS has them."""
        ids = [one.id for one in done]
        async with self._database.begin() as connection:
            for table, key in _KEYS:
                await connection.execute(update(table).where(key.in_(ids)).values(published=True))

    async def publish_again(self, since: float) -> None:
        """Have everything announced again that ended after `since`: the stream that had it is gone."""
        async with self._database.begin() as connection:
            for table, _ in _KEYS:
                await connection.execute(update(table).where(table.c.at > since).values(published=False))


async def announce_ban(connection: AsyncConnection, user: str, bans: int, reason: str, now: float) -> None:
    """Have it announced, once the transaction is committed, that `user` was banned for the `bans`th time."""
    await _announce(connection, f"{_USER}-{user}.{bans}", _USER, user, bans, reason, now)


async def announce_key(connection: AsyncConnection, key: str, reason: str, now: float) -> None:
    """Have it announced that the signing key `key` counts no more."""
    await _announce(connection, f"{_KEY}-{key}", _KEY, key, 0, reason, now)


async def announce_session(connection: AsyncConnection, session: str, user: str, reason: str, now: float) -> None:
    """Have it announced that `session` of `user` has ended."""
    row = {"session_id": session, "account_id": user, "at": now, "reason": reason, "published": False}
    await connection.execute(insert(models.revocations).values(row))


async def _announce(
    connection: AsyncConnection, id: str, kind: str, about: str, bans: int, reason: str, now: float
) -> None:
    row = {"id": id, "kind": kind, "about": about, "bans": bans, "at": now, "reason": reason, "published": False}
    await connection.execute(insert(models.announcements).values(row))


_KEYS = (
    (models.announcements, models.announcements.c.id),
    (models.revocations, models.revocations.c.session_id),
)


def _wide(kind: str, about: str, bans: int, at: float, reason: str) -> Revocation:
    return _at(at, reason, key=about) if kind == _KEY else _at(at, reason, user=about, bans=bans)


def _at(at: float, reason: str, *, sid: str = "", user: str = "", bans: int = 0, key: str = "") -> Revocation:
    return Revocation(at=int(at), at_ms=int(at * 1000), reason=reason, sid=sid, user=user, bans=bans, key=key)
