"""Tickets: made over HTTP, redeemed once over NATS by a gateway."""

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest

from auth_service.settings import Settings
from chassis.bus import Bus
from protocol import codes, subjects
from protocol.commands import Answer, RedeemTicket, TicketIdentity
from tests.bench.nats import NatsServer
from tests.service.auth.conftest import Services
from tests.service.auth.running import Clock, Running, eventually, good, refused

# nats-py 2.16 asks for the time in a way that Python 3.12 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:nats")


@pytest.fixture
async def gateway(nats: NatsServer) -> AsyncIterator[Bus]:
    """The connection of a gateway."""
    settings = Settings(nats_url=nats.url, nats_password=nats.passwords["gateway"], nats_request_seconds=5)
    async with Bus(settings, "gateway") as bus:
        yield bus


async def redeem(gateway: Bus, ticket: str) -> Answer:
    """Redeem as a gateway does."""
    answer = await gateway.request(subjects.REDEEM_TICKET, msgspec.json.encode(RedeemTicket(ticket)))
    return msgspec.json.decode(answer.body, type=Answer)


def identity(answer: Answer) -> TicketIdentity:
    """The identity in an answer that must have one."""
    assert answer.refusal is None
    assert answer.result is not None
    return msgspec.json.decode(answer.result, type=TicketIdentity)


async def ticket_of(auth: Running, access_token: str) -> str:
    """A new ticket."""
    body = good(await auth.post("/auth/tickets", token=access_token))
    assert set(body) == {"ticket", "expires_in"}
    assert body["expires_in"] == 30
    ticket: str = body["ticket"]
    return ticket


async def test_ticket_says_who_made_it(
    services: Services, database_url: str, nats: NatsServer, gateway: Bus, clock: Clock
) -> None:
    """A redeemed ticket tells user, name, session, and when the access token ends."""
    auth = await services(nats, auth_database_url=database_url)
    tokens = await auth.register("Ann")
    session = good(await auth.me(tokens["access_token"]))["session"]["id"]
    found = identity(await redeem(gateway, await ticket_of(auth, tokens["access_token"])))
    assert (found.user.id, found.user.name, found.session) == (tokens["user"]["id"], "Ann", session)
    assert 590 <= found.expires_at - clock() <= 600


async def test_twenty_redeemers_race(services: Services, database_url: str, nats: NatsServer, gateway: Bus) -> None:
    """Of 20 who redeem one ticket at once, at two replicas, one gets the identity."""
    auth, _ = [await services(nats, auth_database_url=database_url) for _ in range(2)]
    ticket = await ticket_of(auth, (await auth.guest())["access_token"])
    answers = await asyncio.gather(*(redeem(gateway, ticket) for _ in range(20)))
    refusals = [answer.refusal.code for answer in answers if answer.refusal is not None]
    assert refusals == [codes.UNAUTHORIZED.code] * 19
    (winner,) = [answer for answer in answers if answer.refusal is None]
    identity(winner)


async def test_late_ticket(services: Services, nats: NatsServer, gateway: Bus, clock: Clock) -> None:
    """A ticket is refused after its 30 seconds."""
    auth = await services(nats)
    ticket = await ticket_of(auth, (await auth.guest())["access_token"])
    clock.ahead += 31
    assert (await redeem(gateway, ticket)).refusal is not None


async def test_ticket_of_a_session_that_ended(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """A ticket is refused after its session was logged out."""
    auth = await services(nats)
    tokens = await auth.guest()
    ticket = await ticket_of(auth, tokens["access_token"])
    await auth.post("/auth/logout", token=tokens["access_token"])
    assert (await redeem(gateway, ticket)).refusal is not None


@pytest.mark.parametrize("ticket", ["", "x", "x" * 43, "x" * 100_000, "a.b*c>\u0000", "' OR 1=1 --"])
async def test_no_ticket(auth_on_nats: Running, gateway: Bus, ticket: str) -> None:
    """What is no ticket is refused, whatever it looks like."""
    refusal = (await redeem(gateway, ticket)).refusal
    assert refusal is not None
    assert refusal.code == codes.UNAUTHORIZED.code
    assert not refusal.temporary


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"ticket":5}', b"\xff\xfe", b'{"ticket":"\\ud800"}'])
async def test_no_request(auth_on_nats: Running, gateway: Bus, body: bytes) -> None:
    """What is no redeem request is answered as a bad request, and the next one is served."""
    answer = msgspec.json.decode((await gateway.request(subjects.REDEEM_TICKET, body)).body, type=Answer)
    assert answer.refusal is not None
    assert answer.refusal.code == codes.BAD_REQUEST.code
    ticket = await ticket_of(auth_on_nats, (await auth_on_nats.guest())["access_token"])
    identity(await redeem(gateway, ticket))


async def test_ticket_after_nats_came_back(services: Services, nats: NatsServer, gateway: Bus) -> None:
    """Tickets are redeemed again after NATS was killed and started."""
    auth = await services(nats)
    nats.kill()

    async def both_lost() -> bool:
        return not gateway.connected and "nats" in await auth.missing()

    await eventually(both_lost, "both have noticed")
    nats.start()

    async def both_back() -> bool:
        return gateway.connected and "nats" not in await auth.missing()

    await eventually(both_back, "both have found NATS again")
    identity(await redeem(gateway, await ticket_of(auth, (await auth.guest())["access_token"])))


async def test_ticket_needs_an_access_token(auth: Running) -> None:
    """Without an access token there is no ticket."""
    refused(await auth.post("/auth/tickets"), 401, "invalid_token")


@pytest.fixture
async def auth_on_nats(services: Services, nats: NatsServer) -> Running:
    """One service with NATS."""
    return await services(nats)
