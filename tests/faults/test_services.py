"""Services end, in good order or not; the auth service is away; keys change; a record is poison."""

import asyncio
import base64
import json
import os
import signal
import time
from asyncio import to_thread

import httpx
import pytest

from tests.bench.clients import Account, Frames, eventually, guest, http, sign_in
from tests.bench.metrics import total
from tests.faults.conftest import Enter
from tests.faults.rows import Row
from tests.faults.stage import Stage

SHUTDOWN = 3001
"""Code with which a gateway that leaves sends its clients elsewhere."""
EXPIRED = 3005
WITHOUT_A_WORD = 1006
OLD = 60
"""Seconds that a token still lives which was made long ago."""
GAP = 5.0

pytestmark = pytest.mark.timeout(3600)


async def restart(stage: Stage, name: str, grace: float | None) -> None:
    """End a gateway with SIGTERM, and after `grace` seconds with SIGKILL; start it again."""
    service = stage.service(name)
    os.kill(service.pid, signal.SIGTERM)
    began = time.monotonic()
    while service.running:
        if grace is not None and time.monotonic() - began > grace:
            await to_thread(service.kill)
            break
        await asyncio.sleep(0.05)
    service.start()
    await to_thread(service.wait_until_ready)


@pytest.mark.short
async def test_rolling_restart(row: Row, stage: Stage, enter: Enter) -> None:
    """Each gateway is restarted in turn while everybody talks: clients are closed one by one with a code that says
    reconnect, and are elsewhere within seconds. Users see nothing, or a spinner for a moment."""
    messages = row.messages()
    crowd = await enter(stage)
    crowd.pause = 0.05
    crowd.send()
    await crowd.hear(50, "before")
    for name in ("gateway-1", "gateway-2"):
        await restart(stage, name, None)
        await crowd.hear(20, f"after {name}")
    crowd.pause = 0.0
    await crowd.until(messages)
    verdict = await crowd.finish()
    row.figure("closes by code", dict(crowd.closes()))
    row.bar("closed without a word", float(crowd.losses[WITHOUT_A_WORD]), 0)
    row.bar("longest way back (s)", max(wait for one in crowd.people for wait in one.waits), GAP)
    row.judge(verdict, messages)


@pytest.mark.short
async def test_killed_while_leaving(row: Row, stage: Stage, enter: Enter) -> None:
    """A gateway that takes its leave is killed two seconds after SIGTERM, before it is done: those who were still there
    are cut off, and recover like all others."""
    messages = row.messages()
    await stage.renewed("gateway-1", GATEWAY_DRAIN_SECONDS="20")
    crowd = await enter(stage)
    crowd.pause = 0.02
    crowd.send()
    await crowd.hear(50, "before")
    await restart(stage, "gateway-1", 2.0)
    await crowd.all_up("everybody is back", 30)
    crowd.pause = 0.0
    await crowd.until(messages)
    row.figure("closes by code", dict(crowd.closes()))
    assert crowd.closes()[WITHOUT_A_WORD], "it was done already"
    row.bar("longest way back (s)", max(wait for one in crowd.people for wait in one.waits), GAP)
    row.judge(await crowd.finish(), messages)
    await stage.renewed("gateway-1", GATEWAY_DRAIN_SECONDS=stage.settings["GATEWAY_DRAIN_SECONDS"])


@pytest.mark.short
async def test_auth_dead(row: Row, stage: Stage, enter: Enter) -> None:
    """The auth service is killed and stays away: whoever is signed in talks on, comes back after a cut, and is not
    disconnected; only signing in does not work. Whose token ends meanwhile is cut off, with the code that says so, when
    the grace is over, and is back with a refresh once the service is."""
    messages, seconds = row.messages(), 8 if row.short else 300
    old = [] if row.short else await with_old_tokens(stage, 20)
    await stage.renewed("auth", AUTH_ACCESS_SECONDS="")  # tokens live as long as they do by default
    crowd = await enter(stage)
    auth = stage.service("auth")
    await to_thread(auth.kill)
    try:
        began = time.monotonic()
        crowd.pause = seconds * len(crowd.senders) / messages  # so that they talk for as long as it is away
        crowd.send(messages)
        await crowd.hear(20, "without the auth service")
        with pytest.raises(httpx.HTTPError):
            await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
        some = crowd.people[::5]
        for one in some:
            one.cut()
        await crowd.all_up("those who were cut off are back", 10)
        if old:
            ends = await asyncio.gather(*(one.end(OLD + 60) for _, one in old))
            row.figure("cut off because their token ended, after (s)", time.monotonic() - began)
            assert {code for code, _ in ends} == {EXPIRED}, ends
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))  # the rest of the outage
        crowd.pause = 0.0
        await crowd.said()
        row.bar("connections lost beside those we cut", float(crowd.lost), 0)
        row.bar("refusals", float(sum(crowd.refusals().values())), len(some))
    finally:
        auth.start(AUTH_ACCESS_SECONDS=stage.settings["AUTH_ACCESS_SECONDS"])
        await to_thread(auth.wait_until_ready)
    await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
    for account, _ in old:
        again = await sign_in(stage.fleet.doors[0], "refresh", refresh_token=account.refresh)  # type: ignore[arg-type]
        async with await Frames.open(stage.fleet.doors[0]) as frames:  # type: ignore[arg-type]
            await frames.enter(again.access)
    row.judge(await crowd.finish(), messages)


async def with_old_tokens(stage: Stage, count: int) -> list[tuple[Account, Frames]]:
    """Return so many connections whose tokens end soon, as those of people who signed in long ago."""
    await stage.renewed("auth", AUTH_ACCESS_SECONDS=str(OLD))
    made = []
    for number in range(count):
        account = await guest(stage.fleet.doors[0], f"Old{number}")  # type: ignore[arg-type]
        frames = await Frames.open(stage.fleet.doors[number % 2])  # type: ignore[arg-type]
        await frames.enter(account.access)
        made.append((account, frames))
    return made


@pytest.mark.short
async def test_keys_rotated(row: Row, stage: Stage, enter: Enter) -> None:
    """The signing key is rotated twice while people sign in, connect and talk: no good token is refused."""
    life = {"AUTH_KEY_RELOAD_SECONDS": "1", "AUTH_JWKS_CACHE_SECONDS": "1", "AUTH_KEY_PREPUBLISH_SECONDS": "3"}
    gateways = {"JWKS_REFRESH_SECONDS": "1", "JWKS_MINIMUM_SECONDS": "1"}
    await stage.renewed("auth", **life)
    for name in ("gateway-1", "gateway-2"):
        await stage.renewed(name, **gateways)
    messages = row.messages()
    crowd = await enter(stage)
    crowd.send(messages)
    entered, done = 0, False
    signing: set[str] = set()

    async def newcomers() -> None:
        nonlocal entered
        while not done:
            for door in stage.fleet.doors:
                async with await Frames.open(door) as frames:  # type: ignore[arg-type]
                    account = await guest(door)  # type: ignore[arg-type]
                    await frames.enter(account.access)
                signing.add(key_of(account.access))
                entered += 1

    coming = asyncio.create_task(newcomers())
    try:
        for keys in (2, 3):
            await to_thread(stage.service("auth").run, "rotate-keys")
            await eventually(lambda keys=keys: len(signing) >= keys or coming.done(), "the next key signs", 30)
            since = entered
            await eventually(lambda since=since: entered > since + 10 or coming.done(), "newcomers are let in", 20)
            if coming.done():
                coming.result()
    finally:
        done = True
        await coming
    for one in crowd.people:
        one.cut()
    await crowd.all_up("tokens of the first key are still good", 20)
    row.figure("newcomers let in", entered)
    row.bar("sends refused", float(sum(crowd.refusals().values()) - crowd.refusals()[0]), 0)
    row.judge(await crowd.finish(), messages)


def key_of(token: str) -> str:
    """Return the id of the key that has signed a token."""
    head = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return kid


POISON: tuple[tuple[bytes, dict[str, str] | None], ...] = (
    (b"{not json", None),
    (b"\xff\xfe\x00", {"Parley-Offset": ""}),
    (b"[]", {"Parley-Offset": "0"}),
    (b'{"v":1}', {"X-Large": "x" * 60_000}),
    (b"", None),
)
"""Bodies and headers of records that nobody of ours writes."""


@pytest.mark.short
async def test_poison(row: Row, stage: Stage, enter: Enter) -> None:
    """Records that are no events stand in the log of every room: nothing stops at them, they are counted, and nobody is
    given one."""
    messages = row.messages()
    crowd = await enter(stage)
    before = await poisoned(stage)
    crowd.send(messages)
    await crowd.hear(20, "before")
    async with stage.logs() as logs:
        for room in crowd.rooms:
            for body, headers in POISON:
                answer = await logs.publish(f"room.{room}.log", body, headers)
                assert "seq" in answer, answer
    await crowd.said()
    row.judge(await crowd.finish(), messages)
    count = len(crowd.rooms) * len(POISON)

    async def all_counted() -> bool:
        return await poisoned(stage) >= before + count

    await eventually(all_counted, "every one of them is counted", 20, 0.1)
    row.figure("records skipped", count)


async def poisoned(stage: Stage) -> float:
    """Return how many records the archive has skipped."""
    return total((await http("GET", f"{stage.fleet.chat_url}/metrics")).text, "parley_chat_poison_records_total")
