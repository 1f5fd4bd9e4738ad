"""Logs hold no secret and nothing that people write, however it came."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import websockets

from tests.bench.clients import GENERAL, Account, Frames, bearer, http, registered, ticket
from tests.bench.health import logs
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]
pytestmark = pytest.mark.usefixtures("unharmed")


@pytest.fixture(scope="module")
def ring(calm_ring: Ring) -> Ring:
    """The system these tests share with others."""
    return calm_ring


async def test_no_secret_and_no_text_is_in_any_log(ring: Ring, frames: Open) -> None:
    """Tokens, tickets, passwords and what people write never appear in a log, however they were used."""
    account = await registered(ring)
    made = [await ticket(ring, account) for _ in range(3)]
    secrets = [account.access, account.access.split(".")[2], account.refresh, *made, "correct horse battery"]
    secrets.append("words nobody may log")
    first = await frames(ring)
    await first.enter(account.access)
    await first.call("room.join", room=GENERAL)
    await first.say(GENERAL, secrets[-1])
    await first.ask(rpc={"method": secrets[-1]})
    await first.ask(refresh={"token": account.access})
    await (await frames(ring, f"?ticket={made[0]}")).enter()
    await (await frames(ring, subprotocols=[f"ticket.{made[1]}"])).enter()
    await (await frames(ring, additional_headers=bearer(account))).enter()
    for query in (f"?ticket={made[0]}", f"?ticket={made[2]}x", f"?ticket={account.access}"):
        with pytest.raises(websockets.InvalidStatus):
            await frames(ring, query)
    with pytest.raises(websockets.InvalidStatus):
        await frames(ring, additional_headers={"Authorization": f"Bearer {account.access}x"})
    for url in (f"{ring.auth_url}/me?token={account.access}", f"{ring.gateway_url}/nothing/{account.access}"):
        await http("GET", url, headers=bearer(account))
    answer = await refreshed(ring, account)
    secrets += [answer["access_token"], answer["refresh_token"]]
    broken = await frames(ring)
    await broken.send('{"id":1,"connect":{"token":"' + account.access + '"}')
    await broken.end()
    for name, text in logs(ring).items():
        for secret in secrets:
            assert secret not in text, f"a secret is in {name}"
            assert secret.replace(" ", "%20") not in text


async def refreshed(ring: Ring, account: Account) -> dict[str, Any]:
    """Use the refresh token; return the answer."""
    answer = await http("POST", f"{ring.auth_url}/refresh", json={"refresh_token": account.refresh})
    found: dict[str, Any] = json.loads(answer.text)
    return found
