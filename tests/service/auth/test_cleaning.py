"""What has expired is removed from the database, and nothing else."""

from sqlalchemy import func, select

from auth_service import models
from auth_service.cleaning import Cleaning
from auth_service.settings import DAY
from tests.service.auth.conftest import Services
from tests.service.auth.running import Clock, Running, good

KEPT = ("auth_keys", "auth_secrets")


def cleaning(auth: Running) -> Cleaning:
    """The cleaning of a running service, to be stepped by hand."""
    login = auth.parts.login
    return Cleaning(auth.settings, login._accounts, login._sessions, auth.clock)


async def rows(auth: Running) -> dict[str, int]:
    """The number of rows of each table that may be cleaned, where there are any."""
    found = {}
    async with auth.parts.login._sessions._database.begin() as connection:
        for table in models.metadata.sorted_tables:
            count = (await connection.execute(select(func.count()).select_from(table))).scalar_one()
            if count and table.name not in KEPT:
                found[table.name] = count
    return found


async def test_expired_rows_go(stored: Running, clock: Clock) -> None:
    """Tickets, failures, sessions with their tokens, and guests go when they have expired; accounts stay."""
    account = await stored.register("ann")
    guest = await stored.guest()
    await stored.login("ann", "not the password")
    await stored.post("/auth/tickets", token=account["access_token"])
    await stored.refresh(guest["refresh_token"])
    await cleaning(stored).step()
    assert await rows(stored) == {
        "auth_accounts": 2,
        "auth_failures": 1,
        "auth_sessions": 2,
        "auth_refresh_tokens": 3,
        "auth_tickets": 1,
    }
    clock.ahead += 31
    await cleaning(stored).step()
    assert "auth_tickets" not in await rows(stored)
    clock.ahead += DAY
    await cleaning(stored).step()
    assert "auth_failures" not in await rows(stored)
    clock.ahead += 30 * DAY
    await cleaning(stored).step()
    assert await rows(stored) == {"auth_accounts": 1}
    good(await stored.login("ann"))


async def test_revoked_session_goes_when_it_cannot_matter(stored: Running, clock: Clock) -> None:
    """A revoked session and its revocation stay while an access token of it could still be good."""
    tokens = await stored.register("ann")
    await stored.post("/auth/logout", token=tokens["access_token"])
    clock.ahead += 890
    await cleaning(stored).step()
    assert {"auth_sessions", "auth_revocations"} <= set(await rows(stored))
    clock.ahead += 20
    await cleaning(stored).step()
    assert await rows(stored) == {"auth_accounts": 1}


async def test_batches(services: Services, clock: Clock) -> None:
    """A step removes a bounded number and says whether there may be more."""
    auth = await services(auth_clean_batch=4)
    for _ in range(6):
        await auth.guest()
    clock.ahead += 31 * DAY
    assert await cleaning(auth).step() is True
    assert (await rows(auth))["auth_sessions"] == 2
    while await cleaning(auth).step():
        pass
    assert await rows(auth) == {}
