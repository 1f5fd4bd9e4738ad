"""Who may no longer take part is out within a second, on every gateway; without the bus, when the token ends."""

import asyncio
import time
from asyncio import to_thread

import pytest

from tests.bench.clients import Account, Frames, bearer, eventually, guest, http, registered
from tests.bench.metrics import total
from tests.bench.nats import NatsServer
from tests.faults.rows import Row
from tests.faults.stage import Stage

OUT = 1.0
"""Seconds from the answer of the auth service to the close of every connection."""
REVOKED = 4501
EXPIRED = 3005
TOKEN, GRACE = 10, 1
"""Life of a token, and how long a refresh may come late, in the row without a bus (seconds)."""

pytestmark = [pytest.mark.timeout(900), pytest.mark.short]


async def connected(stage: Stage, account: Account) -> list[Frames]:
    """Return a connection of this session at each gateway."""
    made = [await Frames.open(door) for door in stage.fleet.doors]  # type: ignore[arg-type]
    for one in made:
        await one.enter(account.access)
    return made


async def log_out(stage: Stage, account: Account) -> None:
    """End the session, as its user does."""
    answer = await http("POST", f"{stage.fleet.auth_url}/logout", headers=bearer(account))
    assert answer.status_code == 204, answer.text


async def reuse(stage: Stage, account: Account) -> None:
    """Use a refresh token twice, the second time too late for an honest race: somebody has stolen it."""
    for status in (200, 401):
        body = {"refresh_token": account.refresh}
        answer = await http("POST", f"{stage.fleet.auth_url}/refresh", json=body)
        assert answer.status_code == status, answer.text


async def change_password(stage: Stage, account: Account) -> None:
    """Change the password from elsewhere, which ends every session of before."""
    body = {"username": account.name, "password": "correct horse battery", "new_password": "another horse battery"}
    answer = await http("POST", f"{stage.fleet.auth_url}/password", json=body)
    assert answer.status_code == 200, answer.text


END = {"logout": log_out, "reuse": reuse, "password": change_password}


async def observed(stage: Stage) -> float:
    """Return how many times the gateways have measured how long a revocation took."""
    pages = [(await http("GET", f"{gateway.url}/metrics")).text for gateway in stage.fleet.gateways]
    return sum(total(page, "parley_revocation_to_close_seconds_count") for page in pages)


@pytest.mark.parametrize("how", END)
async def test_session_over(row: Row, stage: Stage, how: str) -> None:
    """A session ends: its connections at both gateways are closed with the code that says so, and come in no more."""
    await stage.renewed("auth", AUTH_REFRESH_GRACE_SECONDS="0")
    took: list[float] = []
    before = await observed(stage)
    count = 10 if row.short else 300
    for number in range(count):
        sign_in = registered if how == "password" else guest
        account = await sign_in(stage.fleet.doors[0], f"g{number}")  # type: ignore[arg-type]
        sockets = await connected(stage, account)
        await END[how](stage, account)
        began = time.monotonic()
        ends = await asyncio.gather(*(one.end(30) for one in sockets))
        took.append(time.monotonic() - began)
        assert {code for code, _ in ends} == {REVOKED}, ends
    again = await Frames.open(stage.fleet.doors[0])  # type: ignore[arg-type]
    await again.send(again.numbered(connect={"token": account.access}))
    assert (await again.end())[0] in (REVOKED, 3500)
    row.figure("sessions ended", count)
    row.bar("slowest close (s)", max(took), OUT)
    assert await observed(stage) >= before + count
    await stage.renewed("auth", AUTH_REFRESH_GRACE_SECONDS="")


async def test_membership_over(row: Row, stage: Stage) -> None:
    """Somebody leaves a room: the user's connections at both gateways are unsubscribed, and hear nothing more of it."""
    took: list[float] = []
    host = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
    (hosting, other) = await connected(stage, host)
    count = 10 if row.short else 300
    account = await guest(stage.fleet.doors[0], "Goer")  # type: ignore[arg-type]
    sockets = await connected(stage, account)
    for _ in range(count):
        room = await hosting.make_room()
        for one in sockets:
            await one.follow(room)
        offset = (await sockets[0].call("room.leave", room=room))["offset"]
        began = time.monotonic()
        for one in sockets:

            def out(one: Frames = one, room: str = room) -> bool:
                mine = [push for push in one.pushes if push.get("channel") == f"room:{room}"]
                return any("unsubscribe" in push for push in mine)

            await one.until(out, "unsubscribed", 30)
        took.append(time.monotonic() - began)
        await hosting.say(room, "between us")
        for one in sockets:
            assert all(event["offset"] <= offset for event in one.events(room)), "told what is not for them"
    row.figure("memberships ended", count)
    row.bar("slowest end (s)", max(took), OUT)
    for one in (hosting, other, *sockets):
        await one.close()


async def test_session_over_without_a_bus(row: Row, stage: Stage) -> None:
    """NATS is away when somebody logs out: the connection is closed when its token ends, and a token that is renewed
    elsewhere does not help, for the session is over."""
    assert isinstance(stage.nats, NatsServer)
    await stage.renewed("auth", AUTH_ACCESS_SECONDS=str(TOKEN))
    for name in ("gateway-1", "gateway-2"):
        await stage.renewed(name, REFRESH_GRACE_SECONDS=str(GRACE))
    account = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
    began = time.monotonic()
    sockets = await connected(stage, account)
    await to_thread(stage.nats.kill)
    try:
        await log_out(stage, account)
        refreshed = await http("POST", f"{stage.fleet.auth_url}/refresh", json={"refresh_token": account.refresh})
        assert refreshed.status_code == 401
        ends = await asyncio.gather(*(one.end(TOKEN + 30) for one in sockets))
        row.bar("closed after the token was made (s)", time.monotonic() - began, TOKEN + GRACE + 2.0)
        assert {code for code, _ in ends} == {EXPIRED}, ends
    finally:
        await to_thread(stage.nats.start)
    await stage.renewed("auth", AUTH_ACCESS_SECONDS=stage.settings["AUTH_ACCESS_SECONDS"])
    for name in ("gateway-1", "gateway-2"):
        await stage.renewed(name, REFRESH_GRACE_SECONDS="")
    await eventually(lambda: to_thread(lambda: not stage.service("gateway-1").missing()), "ready again", 30, 0.1)
