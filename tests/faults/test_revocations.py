"""Who may no longer take part is out within a second, on every gateway; without the bus, when the token ends."""

import asyncio
import time
from asyncio import to_thread
from dataclasses import dataclass, replace
from typing import Self

import pytest
from centrifuge import UnauthorizedError

from tests.bench.clients import Account, Frames, bearer, eventually, guest, http, registered, sign_in
from tests.bench.metrics import total
from tests.bench.nats import NatsServer
from tests.bench.people import Person
from tests.faults.rows import Row
from tests.faults.stage import Stage

OUT = 1.0
"""Seconds from the answer of the auth service, or the end of an operator's command, to the last close."""
REVOKED = 4501
EXPIRED = 3005
BANNED = 4503
WITHDRAWN = 4001
TOKEN_ENDED = 109
REMOVED = 423
UNAVAILABLE = 503
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


async def ban(stage: Stage, account: Account) -> None:
    """Ban the account, as an operator does."""
    told = await to_thread(stage.service("auth").run, "ban", "--id", account.id)
    assert "is banned" in told, told


async def withdraw_keys(stage: Stage, _: Account) -> None:
    """Declare every signing key compromised, as an operator does."""
    told = await to_thread(stage.service("auth").run, "rotate-keys", "--compromised")
    assert "withdrawn" in told, told


END = {"logout": log_out, "reuse": reuse, "password": change_password, "ban": ban, "key": withdraw_keys}
CODE = {"ban": BANNED, "key": WITHDRAWN}
REFRESHED = {"logout": 401, "ban": 403, "key": 200}
"""How the auth service answers who wants a new token after that."""


@dataclass(frozen=True)
class Observed:
    """How often the gateways have measured how long a revocation took: in all, and of at most `OUT`; and the sum."""

    count: float
    in_time: float
    seconds: float

    @classmethod
    async def at(cls, stage: Stage) -> Self:
        """Read it."""
        pages = [(await http("GET", f"{gateway.url}/metrics")).text for gateway in stage.fleet.gateways]
        name = "parley_revocation_to_close_seconds"
        samples: tuple[tuple[str, dict[str, str]], ...] = (
            (f"{name}_count", {}),
            (f"{name}_bucket", {"le": str(OUT)}),
            (f"{name}_sum", {}),
        )
        return cls(*(sum(total(page, sample, **labels) for page in pages) for sample, labels in samples))


async def judge(row: Row, stage: Stage, before: Observed, ended: int) -> None:
    """Hold what the gateways have measured since `before` against the bar; at least `ended` times."""
    after = await Observed.at(stage)
    count = after.count - before.count
    assert count >= ended, f"measured {count:g} times"
    row.figure(f"mean of {count:g} that gateways measured (s)", (after.seconds - before.seconds) / count)
    row.bar(f"of these later than {OUT:g} s", count - (after.in_time - before.in_time), 0)


async def ending(one: Frames) -> tuple[int, float]:
    """Return the code with which a connection is closed, and when."""
    code, _ = await one.end(60)
    return code, time.monotonic()


async def stays_out(stage: Stage, account: Account, how: str) -> None:
    """Fail when a token of before lets anybody in; after keys were withdrawn a new one must, by itself."""
    async with await Frames.open(stage.fleet.doors[0]) as again:  # type: ignore[arg-type]
        if how != "key":
            await again.send(again.numbered(connect={"token": account.access}))
            assert (await again.end())[0] in (CODE.get(how, REVOKED), 3500)
            return
        assert await again.refusal(connect={"token": account.access}) == TOKEN_ENDED
    fresh = await sign_in(stage.fleet.doors[0], "refresh", refresh_token=account.refresh)  # type: ignore[arg-type]

    for door in stage.fleet.doors:

        async def in_again(door: object = door) -> bool:
            async with await Frames.open(door) as one:  # type: ignore[arg-type]
                reply = await one.ask(connect={"token": fresh.access})
                # Until the gateway has the new key, which it looks for at once and then every half second.
                assert "connect" in reply or reply["error"]["code"] == UNAVAILABLE, reply
                return "connect" in reply

        await eventually(in_again, "in with a new token", 5)


@pytest.mark.parametrize("how", END)
async def test_session_over(row: Row, stage: Stage, how: str) -> None:
    """A session ends: its connections at both gateways are closed with the code that says so, and come in no more.

    The commands that ban and withdraw keys may return after the last close: then 0 s is what shows from outside, and
    the gateways' own measure says how long it took from the change in the database on.
    """
    await stage.renewed("auth", AUTH_REFRESH_GRACE_SECONDS="0")
    took: list[float] = []
    before = await Observed.at(stage)
    count = 10 if row.short else 300
    for number in range(count):
        sign_in = registered if how == "password" else guest
        account = await sign_in(stage.fleet.doors[0], f"g{number}")  # type: ignore[arg-type]
        sockets = await connected(stage, account)
        endings = [asyncio.create_task(ending(one)) for one in sockets]
        await END[how](stage, account)
        began = time.monotonic()
        ends = await asyncio.gather(*endings)
        took.append(max(0.0, max(when for _, when in ends) - began))
        assert {code for code, _ in ends} == {CODE.get(how, REVOKED)}, ends
        await stays_out(stage, account, how)
    row.figure("sessions ended", count)
    row.bar("slowest close (s)", max(took), OUT)
    await judge(row, stage, before, count)
    await stage.renewed("auth", AUTH_REFRESH_GRACE_SECONDS="")


class Renewing(Person):
    """Somebody whose app fetches a new token each time the SDK asks for one."""

    async def token(self) -> str:
        """Refresh."""
        body = {"refresh_token": self.account.refresh}
        answer = await http("POST", f"{self.ring.auth_url}/refresh", json=body)
        if answer.status_code == 403:
            raise UnauthorizedError(answer.json()["code"])
        found = answer.json()
        self.account = replace(self.account, access=found["access_token"], refresh=found["refresh_token"])
        return self.account.access


async def test_session_over_with_the_sdk(row: Row, stage: Stage) -> None:
    """Keys are withdrawn: 20 clients with the official SDK and an app that refreshes are all back by themselves, with
    what was said meanwhile. One of them is banned: it stays away."""
    people = []
    for number in range(20):
        door = stage.fleet.doors[number % 2]
        people.append(await Renewing(door, await guest(door, f"p{number}")).connect())  # type: ignore[arg-type]
    room = await people[0].make_room()
    for one in people:
        await one.follow(room)
    before = [len(one.connected) for one in people]
    began = time.monotonic()
    await withdraw_keys(stage, people[0].account)

    def all_back() -> bool:
        return all(len(one.connected) > was for one, was in zip(people, before, strict=True))

    await eventually(all_back, "all are back", 60)
    row.figure("all back after the command began (s)", time.monotonic() - began)
    assert all((WITHDRAWN, "signing key withdrawn") in one.connecting for one in people)
    assert not any(one.disconnected for one in people)
    await people[0].say("still here", room)
    for one in people:
        await eventually(lambda one=one: "still here" in one.seats[room].texts, "everybody hears it")
    await ban(stage, people[1].account)
    await eventually(lambda: people[1].disconnected, "the SDK gives up")
    assert people[1].disconnected == [(BANNED, "account banned")]
    for one in people:
        await one.leave()


@pytest.mark.parametrize("how", ["left", "removed"])
async def test_membership_over(row: Row, stage: Stage, how: str) -> None:
    """Somebody leaves a room, or is removed by its creator: the user's connections at both gateways are unsubscribed,
    and hear nothing more of it."""
    took: list[float] = []
    before = await Observed.at(stage)
    host = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
    (hosting, other) = await connected(stage, host)
    count = 10 if row.short else 300
    account = await guest(stage.fleet.doors[0], "Goer")  # type: ignore[arg-type]
    sockets = await connected(stage, account)
    for _ in range(count):
        room = await hosting.make_room()
        for one in sockets:
            await one.follow(room)
        if how == "left":
            offset = (await sockets[0].call("room.leave", room=room))["offset"]
        else:
            offset = (await hosting.call("room.remove", room=room, user=account.id))["offset"]
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
            if how == "removed":
                assert await one.refusal(rpc={"method": "room.join", "data": {"room": room}}) == REMOVED
                assert await one.refusal(subscribe={"channel": f"room:{room}"}) == 103
    await judge(row, stage, before, count)
    row.figure("memberships ended", count)
    row.bar("slowest end (s)", max(took), OUT)
    for one in (hosting, other, *sockets):
        await one.close()


@pytest.mark.parametrize("how", REFRESHED)
async def test_session_over_without_a_bus(row: Row, stage: Stage, how: str) -> None:
    """NATS is away when somebody logs out or is banned, or keys are withdrawn: the connection is closed when its token
    ends. A session that is over cannot be renewed; one whose key alone was withdrawn gets a token of the new key."""
    assert isinstance(stage.nats, NatsServer)
    await stage.renewed("auth", AUTH_ACCESS_SECONDS=str(TOKEN))
    for name in ("gateway-1", "gateway-2"):
        await stage.renewed(name, REFRESH_GRACE_SECONDS=str(GRACE))
    account = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
    began = time.monotonic()
    sockets = await connected(stage, account)
    await to_thread(stage.nats.kill)
    try:
        await END[how](stage, account)
        refreshed = await http("POST", f"{stage.fleet.auth_url}/refresh", json={"refresh_token": account.refresh})
        assert refreshed.status_code == REFRESHED[how]
        ends = await asyncio.gather(*(one.end(TOKEN + 30) for one in sockets))
        row.bar("closed after the token was made (s)", time.monotonic() - began, TOKEN + GRACE + 2.0)
        assert {code for code, _ in ends} == {EXPIRED}, ends
    finally:
        await to_thread(stage.nats.start)
    await stage.renewed("auth", AUTH_ACCESS_SECONDS=stage.settings["AUTH_ACCESS_SECONDS"])
    for name in ("gateway-1", "gateway-2"):
        await stage.renewed(name, REFRESH_GRACE_SECONDS="")
    await eventually(lambda: to_thread(lambda: not stage.service("gateway-1").missing()), "ready again", 30, 0.1)
