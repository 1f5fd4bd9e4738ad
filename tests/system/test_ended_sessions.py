"""What the other devices of a user hear when one of the user's sessions ends."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from tests.bench import processes
from tests.bench.clients import Account, Frames, bearer, http, registered, sign_in
from tests.bench.ring import Ring

Open = Callable[..., Awaitable[Frames]]


@pytest.fixture
def stopped_chat(ring: Ring) -> Iterator[int]:
    """A chat service that hangs; the test ends it, or it goes on."""
    pid = ring.pid_of("chat")
    processes.kill(pid, signal.SIGSTOP)
    yield pid
    if ring.pid_of("chat") == pid:
        processes.kill(pid, signal.SIGCONT)
    ring.wait_until_ready()


def notices(device: Frames, user: str) -> list[dict[str, Any]]:
    """Return what the user's own channel told `device` of ended sessions."""
    told = [push["pub"] for push in device.pushes if push.get("channel") == f"user:{user}" and "pub" in push]
    return [one["data"] for one in told if one["data"]["type"] == "revoked"]


async def log_out(ring: Ring, account: Account) -> str:
    """End the session of `account`; return the session's id."""
    me = (await http("GET", f"{ring.auth_url}/me", headers=bearer(account))).json()
    assert (await http("POST", f"{ring.auth_url}/logout", headers=bearer(account))).status_code == 204
    session: str = me["session"]["id"]
    return session


async def test_the_other_devices_of_a_user_hear_of_a_logout(ring: Ring, frames: Open) -> None:
    """Each other device hears of it once, with session and reason; strangers hear nothing."""
    here = await registered(ring)
    there = await sign_in(ring, "login", username=here.name, password="correct horse battery")
    phone, laptop, stranger = [await frames(ring) for _ in range(3)]
    for device, account in ((phone, there), (laptop, there), (stranger, await registered(ring))):
        await device.enter(account.access)
    session = await log_out(ring, here)
    for device in (phone, laptop):
        await device.until(lambda device=device: notices(device, here.id), "the notice")
        (told,) = notices(device, here.id)
        assert told == {"v": 1, "type": "revoked", "time": told["time"], "session": session, "reason": "logout"}
    # A later notice of the same channel shows that there is no second one on the way.
    room = await phone.make_room()
    for device in (phone, laptop):
        await device.until(lambda device=device: room in str(device.pushes), "the notice of the new room")
        assert len(notices(device, here.id)) == 1
    assert not stranger.pushes


async def test_a_logout_while_the_chat_service_is_dead_is_told_afterwards(
    ring: Ring, frames: Open, stopped_chat: int
) -> None:
    """What was announced while nobody could tell it is read back from the stream, and told once."""
    here = await registered(ring)
    there = await sign_in(ring, "login", username=here.name, password="correct horse battery")
    async with asyncio.timeout(10):
        phone = await frames(ring)
        await phone.enter(there.access)
    closed = await frames(ring)
    await closed.enter(here.access)
    session = await log_out(ring, here)
    assert (await closed.end())[0] == 4501, "sockets are closed without the chat service"
    processes.kill(stopped_chat)
    await phone.until(lambda: notices(phone, here.id), "the notice", 30)
    assert [one["session"] for one in notices(phone, here.id)] == [session]


async def test_who_connects_while_the_session_ends_does_not_stay(ring: Ring, frames: Open) -> None:
    """Of connects under way at the logout none is left open: refused, or let in and closed, but not overlooked."""
    for _ in range(5):
        account = await registered(ring)
        sockets = [await frames(ring) for _ in range(40)]
        commands = [one.numbered(connect={"token": account.access}) for one in sockets]
        sends = [one.send(command) for one, command in zip(sockets, commands, strict=True)]
        await asyncio.gather(*sends[:20], log_out_now(ring, account), *sends[20:])
        endings = await asyncio.gather(*(one.end() for one in sockets))
        assert set(endings) == {(4501, "session revoked")}


async def log_out_now(ring: Ring, account: Account) -> None:
    """End the session, asking nothing before."""
    assert (await http("POST", f"{ring.auth_url}/logout", headers=bearer(account))).status_code == 204
