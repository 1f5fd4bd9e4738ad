"""Revocations: what gateways hear when a session ends."""

import asyncio
import shutil
from typing import Any

import msgspec
import pytest

from chassis.bus import Bus, Message, Unavailable
from chassis.streams import Stream
from protocol import subjects
from tests.bench.nats import NatsServer
from tests.service.auth.conftest import Services
from tests.service.auth.running import PASSWORD, Clock, Running, eventually, good, refused

# nats-py 2.16 asks for the time in a way that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:nats")


async def stored(gateway: Bus) -> list[dict[str, Any]]:
    """Every revocation in the stream, as a gateway that starts now reads it; empty while there is none."""
    try:
        stream = Stream(gateway, subjects.REVOCATIONS_STREAM)
        return [msgspec.json.decode(record.body) async for record in stream.read_all(subjects.REVOCATIONS)]
    except Unavailable:
        return []


async def until_stored(gateway: Bus, *sessions: str) -> None:
    """Return when the stream holds exactly the revocations of these sessions, in any order."""

    async def there() -> bool:
        return sorted(body["sid"] for body in await stored(gateway)) == sorted(sessions)

    await eventually(there, "the revocations are in the stream")


async def session_of(auth: Running, access_token: str) -> str:
    """The id of an access token's session."""
    session: str = good(await auth.me(access_token))["session"]["id"]
    return session


async def test_logout_is_announced(
    services: Services, database_url: str, nats: NatsServer, gateway: Bus, clock: Clock
) -> None:
    """A logout reaches a gateway that listens, and one that starts later, with session, user, time and reason."""
    auth = await services(nats, auth_database_url=database_url)
    heard: list[Message] = []
    await gateway.subscribe(subjects.REVOCATIONS, heard.append)
    await gateway.flush()
    tokens = await auth.guest()
    session = await session_of(auth, tokens["access_token"])
    await auth.post("/auth/logout", token=tokens["access_token"])

    async def arrived() -> bool:
        return bool(heard)

    await eventually(arrived, "the gateway hears of it", 5)
    body = msgspec.json.decode(heard[0].body)
    assert heard[0].subject == f"auth.revoked.{session}"
    assert set(body) == {"sid", "user", "at", "at_ms", "reason"}
    assert (body["sid"], body["user"], body["reason"]) == (session, tokens["user"]["id"], "logout")
    assert abs(body["at"] - clock()) < 10
    assert await stored(gateway) == [body]


async def test_reuse_is_announced(services: Services, nats: NatsServer, gateway: Bus, clock: Clock) -> None:
    """A session that ends because its refresh token was reused is announced too."""
    auth = await services(nats)
    tokens = await auth.guest()
    session = await session_of(auth, tokens["access_token"])
    await auth.refresh(tokens["refresh_token"])
    clock.ahead += 11
    refused(await auth.refresh(tokens["refresh_token"]), 401, "refresh_reused")
    await until_stored(gateway, session)
    assert (await stored(gateway))[0]["reason"] == "refresh_reused"


async def test_logout_while_nats_is_away(services: Services, database_url: str, nats: NatsServer, gateway: Bus) -> None:
    """A logout counts at once while NATS is away, and is announced when it is back."""
    auth = await services(nats, auth_database_url=database_url)
    tokens = await auth.guest()
    session = await session_of(auth, tokens["access_token"])
    nats.kill()

    async def noticed() -> bool:
        return "nats" in await auth.missing()

    await eventually(noticed, "the loss of NATS is noticed")
    assert (await auth.post("/auth/logout", token=tokens["access_token"])).status_code == 204
    refused(await auth.me(tokens["access_token"]), 401, "invalid_token")

    async def pending() -> bool:
        return "parley_auth_revocations_pending 1.0" in (await auth.client.get("/metrics")).text

    await eventually(pending, "the metric shows what waits")
    nats.start()
    await until_stored(gateway, session)


async def test_logout_before_nats_was_ever_there(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """What a service without NATS revoked is announced by one that starts later on the same database."""
    alone = await services()
    tokens = await alone.guest()
    session = await session_of(alone, tokens["access_token"])
    await alone.post("/auth/logout", token=tokens["access_token"])
    await services(nats)
    await until_stored(gateway, session)


async def test_stream_that_lost_everything(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """When NATS comes back without its store, the recent revocations are put into the new stream."""
    auth = await services(nats)
    tokens = await auth.guest()
    session = await session_of(auth, tokens["access_token"])
    await auth.post("/auth/logout", token=tokens["access_token"])
    await until_stored(gateway, session)
    nats.kill()
    shutil.rmtree(nats.directory / "store")
    nats.start()
    await until_stored(gateway, session)


async def test_two_replicas_announce_once(
    services: Services, database_url: str, nats: NatsServer, gateway: Bus
) -> None:
    """Two replicas that find the same revocations unpublished leave each in the stream once."""
    alone = await services(auth_database_url=database_url)
    ended = []
    for _ in range(30):
        tokens = await alone.guest()
        ended.append(await session_of(alone, tokens["access_token"]))
        await alone.post("/auth/logout", token=tokens["access_token"])
    for _ in range(2):
        await services(nats, auth_database_url=database_url, auth_revocation_batch=7)
    await until_stored(gateway, *ended)

    async def nothing_pending() -> bool:
        waiting, count = await alone.parts.login._revocations._outbox.waiting()
        return not waiting and count == 0

    await eventually(nothing_pending, "the outbox is empty")
    await until_stored(gateway, *ended)


async def test_stream_as_promised(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """The stream keeps revocations on disk, for as long as an access token lives and five minutes more."""
    await services(nats)
    answers: list[dict[str, Any]] = []

    async def made() -> bool:
        reply = await gateway.request("$JS.API.STREAM.INFO.REVOCATIONS", b"")
        answers.append(msgspec.json.decode(reply.body))
        return "config" in answers[-1]

    await eventually(made, "the stream is made at the start")
    config = answers[-1]["config"]
    assert config["subjects"] == ["auth.revoked.*"]
    assert (config["storage"], config["num_replicas"], config["allow_direct"]) == ("file", 1, True)
    assert config["max_age"] == 900 * 10**9


async def test_parallel_logouts(services: Services, database_url: str, nats: NatsServer, gateway: Bus) -> None:
    """Twenty logouts of one session end it once and announce it once."""
    auth = await services(nats, auth_database_url=database_url)
    tokens = await auth.guest()
    session = await session_of(auth, tokens["access_token"])
    body = {"refresh_token": tokens["refresh_token"]}
    answers = await asyncio.gather(*(auth.post("/auth/logout", body) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [204] * 20
    await until_stored(gateway, session)


async def test_a_changed_password_ends_every_session(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """All sessions of before are announced, their tokens are refused; the new one and the new password are good."""
    auth = await services(nats)
    first = await auth.register()
    second = good(await auth.login())
    ended = [await session_of(auth, one["access_token"]) for one in (first, second)]
    asked = {"username": "ann", "password": PASSWORD, "new_password": "another horse battery"}
    changed = good(await auth.post("/auth/password", asked))
    await until_stored(gateway, *ended)
    assert {body["reason"] for body in await stored(gateway)} == {"password_changed"}
    for one in (first, second):
        refused(await auth.me(one["access_token"]), 401, "invalid_token")
        refused(await auth.refresh(one["refresh_token"]), 401, "invalid_token")
    good(await auth.me(changed["access_token"]))
    refused(await auth.login(), 401, "invalid_credentials")
    good(await auth.login(password="another horse battery"))


async def test_a_password_is_changed_by_who_knows_it(services: Services) -> None:
    """A wrong password, a guest, and a new password that may not be chosen change nothing and end nothing."""
    auth = await services()
    tokens = await auth.register()
    for asked, status, code in (
        (
            {"username": "ann", "password": "a wrong password", "new_password": "another horse"},
            401,
            "invalid_credentials",
        ),
        ({"username": "nobody", "password": PASSWORD, "new_password": "another horse"}, 401, "invalid_credentials"),
        ({"username": "ann", "password": PASSWORD, "new_password": "short"}, 422, "invalid_request"),
    ):
        refused(await auth.post("/auth/password", asked), status, code)
    good(await auth.me(tokens["access_token"]))
    good(await auth.login())
