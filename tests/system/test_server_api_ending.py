"""Ending by the server API: connections and subscriptions of a user end on every gateway process, dead ones or not."""

import time
from typing import Any

import centrifuge
import httpx
import pytest

from tests.bench import processes
from tests.bench.clients import SECONDS, Frames, eventually, http
from tests.bench.people import person
from tests.bench.ring import Ring
from tests.bench.server_api import ask, code, fresh, post
from tests.bench.users import Crowd, Somebody, token


@pytest.fixture(scope="module")
def ring(api_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return api_ring


async def gone(crowd: Crowd, those: list[Somebody], ending: tuple[int, str], since: float) -> None:
    """Hold that `those` were disconnected for good within a second, and that everybody else is still connected."""
    for one in those:
        await eventually(lambda one=one: one.ended_at, "the connection is ended", 5)
        assert one.ended == [ending]
        assert one.client.state is centrifuge.ClientState.DISCONNECTED
    assert max(one.ended_at for one in those) - since < 1
    for one in crowd.all:
        if one not in those:
            await one.client.ready(1)
            assert one.ended == []


async def test_a_user_is_disconnected_everywhere(ring: Ring, crowd: Crowd) -> None:
    """Every connection of the user ends for good, on both processes, within a second; other users stay."""
    anns, bobs = await crowd.on_both("ann"), await crowd.on_both("bob", least=1)
    started = time.monotonic()
    assert await ask(ring, "disconnect", user="ann") == {}
    await gone(crowd, anns, (3503, "force disconnect"), started)

    async def left() -> bool:
        return sum(node["num_clients"] for node in await crowd.nodes()) == len(bobs)

    await eventually(left, "only bob is counted")


async def test_a_code_and_a_reason_of_ones_own(ring: Ring, crowd: Crowd) -> None:
    """The close frame carries them; from 4500 on SDKs stay away, and metrics do not name them."""
    anns = await crowd.on_both("ann", least=1)
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", disconnect={"code": 4790, "reason": "zu spät"})
    await gone(crowd, anns, (4790, "zu spät"), started)
    page = (await http("GET", f"{ring.gateway_url}/metrics")).text
    assert 'parley_disconnects_total{cause="custom",code="custom"}' in page
    assert "4790" not in page


async def test_one_client_or_all_others(ring: Ring, crowd: Crowd) -> None:
    """A client id picks one connection of the user, the whitelist spares some; ids of others pick nobody."""
    anns, bob = await crowd.on_both("ann"), await crowd.come("bob")
    await ask(ring, "disconnect", user="ann", client=bob.ids[0])
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", client=anns[0].ids[0])
    await gone(crowd, anns[:1], (3503, "force disconnect"), started)
    crowd.all.remove(anns[0])
    spared = anns[1]
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann", whitelist=[spared.ids[0]])
    await gone(crowd, anns[2:], (3503, "force disconnect"), started)


async def test_a_session_is_disconnected(ring: Ring, crowd: Crowd) -> None:
    """The session that the connect reply named picks that connection, whichever process holds it."""
    async with await Frames.open(ring) as one, await Frames.open(ring) as other:
        session = (await one.enter(token("ann")))["session"]
        await other.enter(token("ann"))
        await ask(ring, "disconnect", user="bob", session=session)
        await ask(ring, "disconnect", user="ann", session=session)
        assert await one.end(1) == (3503, "force disconnect")
        assert (await other.ask(rpc={"method": "echo", "data": 1}))["rpc"] == {"data": 1}


async def test_an_account_is_disconnected_and_comes_back(ring: Ring) -> None:
    """A code that lets SDKs reconnect closes a chat user's connection, who is connected again by herself."""
    ann = await person(ring)
    try:
        await ask(ring, "disconnect", user=ann.account.id, disconnect={"code": 3011, "reason": "force reconnect"})
        await eventually(lambda: len(ann.connected) == 2, "a second connection")
        assert (3011, "force reconnect") in ann.connecting
        assert ann.disconnected == []
    finally:
        await ann.leave()


async def test_a_user_is_unsubscribed_everywhere(ring: Ring, crowd: Crowd) -> None:
    """Every subscription of the user to that channel ends with 2000; connections, other channels and users stay."""
    channel, other = fresh(), fresh()
    anns, bob = await crowd.on_both("ann"), await crowd.come("bob")
    seats = [await ann.follow(channel) for ann in anns]
    kept = [await ann.follow(other) for ann in anns] + [await bob.follow(channel)]
    started = time.monotonic()
    assert await ask(ring, "unsubscribe", user="ann", channel=channel) == {}
    for seat in seats:
        await eventually(lambda seat=seat: seat.unsubscribed, "the subscription is ended", 5)
        assert seat.unsubscribed == [2000]
        assert seat.subscription is not None
        assert seat.subscription.state is centrifuge.SubscriptionState.UNSUBSCRIBED
    assert time.monotonic() - started < 1
    for name in (channel, other):
        await ask(ring, "publish", channel=name, data="after")
    for seat in kept:
        await eventually(lambda seat=seat: seat.publications, "publications go on")
        assert seat.unsubscribed == []
    assert all(seat.publications == [] for seat in seats)
    assert all(one.ended == [] for one in crowd.all)
    await anns[0].client.ready(1)
    assert seats[0].subscription is not None
    await seats[0].subscription.subscribe()  # nothing keeps a user away who may subscribe
    await seats[0].subscription.ready(SECONDS)


async def test_whom_nobody_knows(ring: Ring) -> None:
    """Users without a connection are ended with success; nobody in particular, and codes of others, are refused."""
    assert await ask(ring, "disconnect", user=fresh("user")) == {}
    assert await ask(ring, "unsubscribe", user=fresh("user"), channel="news") == {}
    assert await code(ring, "disconnect") == 107
    assert await code(ring, "disconnect", user="ann", disconnect={"code": 1000}) == 107
    assert await code(ring, "unsubscribe", user="ann") == 107
    assert await code(ring, "unsubscribe", user="ann", channel="nowhere:x") == 102


# When a process dies.


async def test_a_killed_process_is_not_waited_for_long(ring: Ring, crowd: Crowd) -> None:
    """While one process is dead, info and disconnect answer within their deadline; then both are there again."""
    anns = await crowd.on_both("ann", least=1)
    before = {node["uid"] for node in await crowd.nodes()}
    processes.kill(ring.worker_pids()[0])

    async def living() -> list[dict[str, Any]] | None:
        try:
            answer = (await post(ring, "info")).json()
        except httpx.HTTPError:  # the request was on the process that died
            return None
        return answer["result"]["nodes"] if "result" in answer else None  # one that starts has no NATS yet

    started = time.monotonic()
    nodes = await eventually(living, "an answer")
    assert time.monotonic() - started < 5
    assert len({node["uid"] for node in nodes} & before) == 1

    async def whole() -> bool:
        found = {node["uid"] for node in await living() or []}
        return len(found) == 2 and len(found & before) == 1

    await eventually(whole, "two processes again", 30)
    ring.wait_until_ready()
    for ann in anns:
        await ann.client.ready(SECONDS)
        ann.ended.clear()
    started = time.monotonic()
    await ask(ring, "disconnect", user="ann")
    await gone(crowd, anns, (3503, "force disconnect"), started)
