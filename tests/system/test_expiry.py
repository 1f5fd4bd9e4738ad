"""Tokens of living connections: they end, are replaced in time, and belong to one user."""

import time
from collections.abc import Awaitable, Callable

import pytest

from tests.bench.clients import Frames, eventually, guest
from tests.bench.issuer import Issuer
from tests.bench.people import Person
from tests.bench.ring import Ring

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


async def test_a_connection_ends_with_its_token_unless_refreshed(
    strict_ring: Ring, issuer: Issuer, frames: Open
) -> None:
    """Past the token's life and a grace the connection is closed with 3005; one with a newer token goes on."""
    left, kept = await frames(strict_ring), await frames(strict_ring)
    started = time.monotonic()
    assert (await left.enter(issuer.token("left", 3)))["ttl"] <= 3
    await kept.enter(issuer.token("kept", 3))
    result = (await kept.ask(refresh={"token": issuer.token("kept", 60)}))["refresh"]
    assert 50 < result["ttl"] <= 60
    assert result["expires"] is True
    assert result["client"]
    assert await left.end() == (3005, "connection expired")
    # Times in tokens and ttl are whole seconds, cut off twice: up to 2 s before the 3 + 1 s are over.
    assert 1.9 < time.monotonic() - started < 7
    assert await kept.call("echo", x=1) == {"x": 1}


async def test_the_sdk_refreshes_by_itself(strict_ring: Ring, issuer: Issuer, frames: Open, enter: Enter) -> None:
    """An SDK client outlives its first token without a disconnect, while one that does not refresh is closed."""
    ann = await enter(strict_ring)
    short = Person(strict_ring, ann.account)
    asked: list[str] = []

    async def token() -> str:
        asked.append(issuer.token(ann.account.id, 3))
        return asked[-1]

    short.client._get_token = token
    await short.connect()
    watch = await frames(strict_ring)
    await watch.enter(issuer.token("watch", 3))
    assert (await watch.end())[0] == 3005
    await eventually(lambda: len(asked) >= 2, "a refresh")
    assert await short.call("echo", x=1) == {"x": 1}
    assert len(short.connected) == 1
    await short.leave()


async def test_a_refresh_as_somebody_else_closes(ring: Ring, entered: Open) -> None:
    """A connection belongs to one user: another's token closes it with 3500."""
    one = await entered(ring)
    await one.send(one.numbered(refresh={"token": (await guest(ring, "Eve")).access}))
    assert await one.end() == (3500, "invalid token")


async def test_a_refresh_with_nonsense_closes(ring: Ring, entered: Open) -> None:
    """A token that is none closes with 3500."""
    one = await entered(ring)
    await one.send(one.numbered(refresh={"token": "nonsense"}))
    assert (await one.end())[0] == 3500


async def test_a_refresh_with_an_expired_token_is_109(strict_ring: Ring, issuer: Issuer, frames: Open) -> None:
    """An expired token is refused with 109 and does not prolong the connection, which goes on until its own end."""
    one = await frames(strict_ring)
    await one.enter(issuer.token("ann", 60))
    assert await one.refusal(refresh={"token": issuer.token("ann", -30)}) == 109
    assert await one.call("echo", x=1) == {"x": 1}


async def test_connect_with_an_expired_token_is_109(strict_ring: Ring, issuer: Issuer, frames: Open) -> None:
    """An expired connect token is error 109, so that the SDK fetches another; that connection is of no more use."""
    one = await frames(strict_ring)
    assert await one.refusal(connect={"token": issuer.token("ann", -30)}) == 109
    await one.send(one.numbered(connect={"token": issuer.token("ann", 60)}))
    assert (await one.end())[0] == 3502
