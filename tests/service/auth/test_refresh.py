"""Sessions: refreshing, races, reuse, logging out."""

import asyncio

from sqlalchemy import func, select

from auth_service import models
from auth_service.settings import DAY
from tests.service.auth.conftest import Services
from tests.service.auth.running import Clock, Running, good, refused


async def family(auth: Running, session: str) -> tuple[int, int]:
    """How many refresh tokens a session has, and how many of them are unused."""
    table = models.refresh_tokens
    query = select(func.count(), func.count().filter(table.c.used_at.is_(None))).where(table.c.session_id == session)
    async with auth.parts.login._sessions._database.begin() as connection:
        total, unused = (await connection.execute(query)).one()
    return total, unused


async def session_of(auth: Running, access_token: str) -> str:
    """The id of an access token's session."""
    session: str = good(await auth.me(access_token))["session"]["id"]
    return session


async def test_refresh_goes_on(stored: Running) -> None:
    """Each refresh answers with the next refresh token and an access token of the same session."""
    tokens = await stored.guest()
    session = await session_of(stored, tokens["access_token"])
    seen = {tokens["refresh_token"]}
    for _ in range(4):
        tokens = good(await stored.refresh(tokens["refresh_token"]))
        assert await session_of(stored, tokens["access_token"]) == session
        seen.add(tokens["refresh_token"])
    assert len(seen) == 5
    assert await family(stored, session) == (5, 1)


async def test_twenty_refreshes_race(services: Services, database_url: str) -> None:
    """Of 20 parallel refreshes of one token, on two replicas, all get the same usable successor, and nobody is out."""
    replicas = [await services(auth_database_url=database_url) for _ in range(2)]
    tokens = await replicas[0].guest()
    session = await session_of(replicas[0], tokens["access_token"])
    answers = await asyncio.gather(*(replicas[i % 2].refresh(tokens["refresh_token"]) for i in range(20)))
    successors = {good(answer)["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert await family(replicas[0], session) == (2, 1)
    for answer in answers:
        assert (await replicas[1].me(answer.json()["access_token"])).status_code == 200
    assert (await replicas[1].refresh(successors.pop())).status_code == 200


async def test_late_racer_gets_the_newest_token(stored: Running, clock: Clock) -> None:
    """A racer whose token's successor was itself used meanwhile gets the one after, not a token already used."""
    first = (await stored.guest())["refresh_token"]
    second = good(await stored.refresh(first))["refresh_token"]
    third = good(await stored.refresh(second))["refresh_token"]
    assert good(await stored.refresh(first))["refresh_token"] == third
    clock.ahead += 60
    assert (await stored.refresh(third)).status_code == 200


async def test_reuse_after_the_grace_ends_the_session(stored: Running, clock: Clock) -> None:
    """A used token that comes back late ends the session: its access tokens and its newest refresh token too."""
    tokens = await stored.guest()
    newest = good(await stored.refresh(tokens["refresh_token"]))
    clock.ahead += 11
    refused(await stored.refresh(tokens["refresh_token"]), 401, "refresh_reused")
    refused(await stored.refresh(newest["refresh_token"]), 401, "invalid_token")
    refused(await stored.me(newest["access_token"]), 401, "invalid_token")
    refused(await stored.refresh(tokens["refresh_token"]), 401, "refresh_reused")


async def test_reuse_ends_one_session_only(auth: Running, clock: Clock) -> None:
    """Another session of the same account goes on."""
    first = await auth.register("ann")
    second = good(await auth.login("ann"))
    await auth.refresh(first["refresh_token"])
    clock.ahead += 11
    refused(await auth.refresh(first["refresh_token"]), 401, "refresh_reused")
    assert (await auth.refresh(second["refresh_token"])).status_code == 200


async def test_session_has_an_end(auth: Running, clock: Clock) -> None:
    """However often it is refreshed, a session ends, and its last access token does not outlive it."""
    tokens = await auth.guest()
    clock.ahead += 30 * DAY - 100
    tokens = good(await auth.refresh(tokens["refresh_token"]))
    assert 90 <= tokens["expires_in"] <= 100
    clock.ahead += 101
    refused(await auth.refresh(tokens["refresh_token"]), 401, "invalid_token")
    refused(await auth.me(tokens["access_token"]), 401, "invalid_token")


async def test_logout_by_refresh_token(stored: Running) -> None:
    """Logging out with the refresh token ends the session; saying it again is no mistake."""
    tokens = await stored.guest()
    for _ in range(2):
        answer = await stored.post("/auth/logout", {"refresh_token": tokens["refresh_token"]})
        assert (answer.status_code, answer.content) == (204, b"")
    refused(await stored.me(tokens["access_token"]), 401, "invalid_token")
    refused(await stored.refresh(tokens["refresh_token"]), 401, "invalid_token")
    assert (await stored.post("/auth/logout", {"refresh_token": "never issued"})).status_code == 204


async def test_logout_by_access_token(stored: Running) -> None:
    """Logging out with the access token ends the session, with or without an empty body."""
    for body in (None, {}):
        tokens = await stored.guest()
        assert (await stored.post("/auth/logout", body, tokens["access_token"])).status_code == 204
        refused(await stored.refresh(tokens["refresh_token"]), 401, "invalid_token")
        refused(await stored.post("/auth/logout", body, tokens["access_token"]), 401, "invalid_token")


async def test_logout_of_nothing(auth: Running) -> None:
    """A logout that names no session is refused."""
    refused(await auth.post("/auth/logout"), 401, "invalid_token")
    refused(await auth.post("/auth/logout", {}), 401, "invalid_token")


async def test_unknown_refresh_token(auth: Running) -> None:
    """A refresh token that was never issued is refused as any bad token is."""
    refused(await auth.refresh("x" * 43), 401, "invalid_token")


async def test_database_keeps_no_secret(stored: Running) -> None:
    """Refresh tokens, tickets and passwords are not in the database in a form that a client could use."""
    tokens = await stored.register("ann", "a very private phrase")
    ticket = good(await stored.post("/auth/tickets", token=tokens["access_token"]))["ticket"]
    kept = []
    async with stored.parts.login._sessions._database.begin() as connection:
        for table in models.metadata.sorted_tables:
            kept += [str(value) for row in await connection.execute(select(table)) for value in row]
    everything = "\n".join(kept)
    for secret in (tokens["refresh_token"], tokens["access_token"], ticket, "a very private phrase"):
        assert secret not in everything
