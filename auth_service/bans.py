"""Bans: an operator shuts an account out, or lets it in again.

A ban ends every session of the account, and counts up its `bans`. Access tokens say how often their account had been
banned when they were signed; so one announcement is enough to have gateways refuse all that are older, and a token of
after the ban was lifted is none of them, whatever the clocks say.
"""

from sqlalchemy import update

from auth_service import models, outbox
from auth_service.sessions import end_all
from chassis.database import Database

BANNED = "banned"


class Bans:
    """Who is shut out. Every method raises `DatabaseUnavailable`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ban(self, user: str, now: float) -> int | None:
        """Shut the account `user` out; return how many sessions that ended, or None when it was shut out before."""
        table = models.accounts
        shut = update(table).where(table.c.id == user, table.c.banned_at.is_(None))
        async with self._database.begin() as connection:
            # The account first: whoever opens a session has to hold it, and finds it changed afterwards.
            changed = shut.values(banned_at=now, bans=table.c.bans + 1).returning(table.c.bans)
            bans = (await connection.execute(changed)).scalar_one_or_none()
            if bans is None:
                return None
            await outbox.announce_ban(connection, user, bans, BANNED, now)
            return await end_all(connection, user, now)

    async def lift(self, user: str) -> bool:
        """Let the account sign in again; False when it was not shut out. Its sessions of before stay ended."""
        table = models.accounts
        banned = update(table).where(table.c.id == user, table.c.banned_at.is_not(None))
        async with self._database.begin() as connection:
            return (await connection.execute(banned.values(banned_at=None))).rowcount > 0
