"""A short, busy day: people who chat, clients that misbehave, sign-ins that fail, a gateway that drains and comes back.

What a panel or a rule asks for happens here at least once, unless its metric shows 0 from the start anyway.
"""

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack

import httpx
import websockets

from tests.bench import processes
from tests.bench.clients import (
    SECONDS,
    Account,
    Frames,
    bearer,
    eventually,
    guest,
    http,
    new_message_id,
    registered,
    sign_in,
    ticket,
)
from tests.bench.metrics import total
from tests.bench.people import person
from tests.bench.ring import Ring
from tests.observability.stage import API_KEY, Stage

NAMES = ("annabella", "room of many")
"""What people and rooms are called here: unlike anything that a metric may say."""
PASSWORD = "correct horse battery"
BURST = 30
"""Connections that end at once: more than the annotation of close bursts takes for chance."""

CROWD = 64
"""People who speak in a room of their own at once: more than the appends that go one by one."""

Say = Callable[[str], None]


async def short(stage: Stage) -> None:
    """What every service counts in ordinary use: signing in, chatting, misbehaving, and the server API."""
    await asyncio.gather(_sign_ins(stage), _chat(stage), _misbehave(stage), _server_api(stage), _stream(stage))


async def busy_day(stage: Stage, say: Say) -> None:
    """All of it, with faults: lost messages, a killed worker, NATS cut off, a drain, a burst of closes."""
    say("people chat, sign in, misbehave")
    await short(stage)
    say("a worker is killed, NATS is cut off")
    async with AsyncExitStack() as stack:
        crowd = [await _enter(stack, stage.other) for _ in range(8)]
        room = await crowd[0].make_room(NAMES[1])
        for one in crowd:
            await one.follow(room)
        await _talk_until_gaps(stage, crowd[0], room)
        workers = await asyncio.to_thread(lambda: stage.services["gateway-2"].worker_pids)
        processes.kill(workers[0])
        await eventually(lambda: any(one.closed for one in crowd), "the worker's clients notice")
    await _without_nats(stage)
    say("many rooms speak at once")
    await _speak_until_groups(stage)
    say(f"{BURST} connections end at once")
    async with AsyncExitStack() as stack:
        burst = await asyncio.gather(*(_enter(stack, stage.ring) for _ in range(BURST)))
        for one in burst:
            one.socket.transport.abort()
    say("a gateway drains and comes back")
    await _drain(stage)
    await short(stage)


async def _enter(stack: AsyncExitStack, ring: Ring) -> Frames:
    """Return a connection of a new guest; newcomers are asked to try again while a process still fetches keys."""
    account = await guest(ring, NAMES[0])
    for _ in range(50):
        one = await stack.enter_async_context(await Frames.open(ring))
        reply = await one.ask(connect={"token": account.access})
        if "connect" in reply:
            return one
        await asyncio.sleep(0.1)
    raise AssertionError("nobody is let in")


async def _sign_ins(stage: Stage) -> None:
    """Every operation of the auth service, done right and wrong; a session that ends while it is connected."""
    ring = stage.ring
    name = f"{NAMES[0]}{uuid.uuid4().hex[:8]}"
    await sign_in(ring, "register", username=name, password=PASSWORD)
    await http("POST", f"{ring.auth_url}/register", json={"username": name, "password": PASSWORD})
    account = await sign_in(ring, "login", username=name, password=PASSWORD)
    for _ in range(8):  # more than AUTH_FAILURES_FREE: the account backs off
        await http("POST", f"{ring.auth_url}/login", json={"username": name, "password": "wrong horse battery"})
    await http("POST", f"{ring.auth_url}/tickets", headers={"Authorization": "Bearer nonsense"})
    await http("POST", f"{ring.auth_url}/guest", json={"name": ""})
    newer = await sign_in(ring, "refresh", refresh_token=account.refresh)
    await sign_in(ring, "refresh", refresh_token=account.refresh)  # a race, within the grace

    async def ended_for_reuse() -> bool:
        answer = await http("POST", f"{ring.auth_url}/refresh", json={"refresh_token": account.refresh})
        return answer.status_code == 401

    await eventually(ended_for_reuse, "a used refresh token ends its session", SECONDS, 0.3)
    await http("POST", f"{ring.auth_url}/logout", headers=bearer(newer))
    await _tickets(ring)
    await _logout(ring)


async def _tickets(ring: Ring) -> None:
    made = await ticket(ring, await registered(ring, NAMES[0]))
    for _ in range(2):  # the second time it is used up
        with contextlib.suppress(websockets.InvalidStatus):
            async with await Frames.open(ring, f"?ticket={made}") as one:
                await one.ask(connect={})
    for headers in ({"Origin": "http://evil.example"}, {"Authorization": "Bearer nonsense"}):
        with contextlib.suppress(websockets.InvalidStatus):
            await (await Frames.open(ring, additional_headers=headers)).close()


async def _logout(ring: Ring) -> None:
    async with AsyncExitStack() as stack:
        account = await _let_in(stack, ring)
        await http("POST", f"{ring.auth_url}/logout", headers=bearer(account[0]))
        await account[1].end()


async def _let_in(stack: AsyncExitStack, ring: Ring) -> tuple[Account, Frames]:
    account = await registered(ring, NAMES[0])
    one = await stack.enter_async_context(await Frames.open(ring))
    await one.enter(account.access)
    return account, one


async def _chat(stage: Stage) -> None:
    """People of both gateways in one room: messages, a repeated one, refusals, recoveries that succeed and fail."""
    async with AsyncExitStack() as stack:
        people = [await _enter(stack, ring) for ring in (stage.ring, stage.other) for _ in range(4)]
        first, last = people[0], people[-1]
        room = await first.make_room(NAMES[1])
        for one in people:
            await one.follow(room)
        again = new_message_id()
        for _ in range(2):
            await first.call("message.send", room=room, id=again, text="said once")
        for number in range(20):
            await people[number % len(people)].say(room, f"message {number}")
        await first.call("room.list")
        await first.call("room.members", room=room)
        await first.call("room.history", room=room, limit=10)
        await first.refusal(rpc={"method": "nothing", "data": {}})
        await first.refusal(subscribe={"channel": "room:nowhere"})
        for epoch in ("", "of another log"):
            await last.ask(unsubscribe={"channel": f"room:{room}"})
            await last.ask(subscribe={"channel": f"room:{room}", "recover": True, "offset": 2, "epoch": epoch})
    ann = await person(stage.ring, NAMES[0])
    seat = await ann.follow(room)
    await ann.say("with the SDK", room)
    await eventually(lambda: "with the SDK" in seat.texts, "the SDK hears itself")
    await ann.leave()


async def _misbehave(stage: Stage) -> None:
    """Endings by code and cause: nonsense, too much, a wrong token, silence, and a network that breaks."""
    async with AsyncExitStack() as stack:
        for frame in ("nonsense", b"binary", "x" * 70_000):
            one = await _enter(stack, stage.ring)
            await one.socket.send(frame)
            await one.end()
        forger = await stack.enter_async_context(await Frames.open(stage.ring))
        await forger.send(forger.numbered(connect={"token": "nonsense"}))
        await forger.end()
        silent = await _enter(stack, stage.ring)
        silent.pong = False
        broken = await _enter(stack, stage.ring)
        broken.socket.transport.abort()
        await silent.end()


async def _server_api(stage: Stage) -> None:
    """A backend that publishes and ends connections, and one with a wrong key."""
    url = f"{stage.ring.gateway_url}/api"
    for key in (API_KEY, "a wrong key"):
        for method, body in (
            ("publish", {"channel": "room:general", "data": {}}),
            ("channels", {}),
            ("disconnect", {"user": "nobody"}),
        ):
            await http("POST", f"{url}/{method}", headers={"X-API-Key": key}, json=body)


async def _stream(stage: Stage) -> None:
    """A client behind a proxy that breaks WebSockets: replies come as a stream, frames are posted."""
    account = await guest(stage.ring, NAMES[0])
    connect = json.dumps({"id": 1, "connect": {"token": account.access}})
    address = f"{stage.ring.gateway_url}/connection/http_stream"
    async with (
        httpx.AsyncClient(trust_env=False, timeout=SECONDS) as client,
        client.stream("POST", address, content=connect) as answer,
    ):
        async for line in answer.aiter_lines():
            result = json.loads(line).get("connect")
            if result:
                posted = {"node": result["node"], "session": result["session"], "data": '{"id":2,"rpc":{"method":"x"}}'}
                await http("POST", f"{stage.ring.gateway_url}/emulation", content=json.dumps(posted))
            else:
                break  # the reply to what was posted, or an error


async def _talk_until_gaps(stage: Stage, one: Frames, room: str) -> None:
    """Talk until the lossy proxy has lost something and the gateway has read it from the log."""
    for number in range(400):
        await one.say(room, f"into the loss {number}")
        page = await asyncio.to_thread(stage.services["gateway-2"].metrics)
        if total(page, "parley_gaps_total", outcome="repaired") > 0:
            return
    raise AssertionError("400 messages through a lossy proxy, and no gap was repaired")


async def _speak_until_groups(stage: Stage) -> None:
    """Speak in many rooms at once until records have shared a sync of the disk (group commit, ADR 20)."""
    chat, gateway = stage.services["chat"], stage.services["gateway-1"]
    for _ in range(20):
        async with AsyncExitStack() as stack:
            people = [await _enter(stack, stage.ring) for _ in range(CROWD)]
            places = [(one, await one.make_room(NAMES[1])) for one in people if not one.closed]
            least = total(await asyncio.to_thread(gateway.metrics), "parley_messages_in_total") + CROWD // 2

            async def passed_on(least: float = least) -> bool:
                return total(await asyncio.to_thread(gateway.metrics), "parley_messages_in_total") >= least

            with chat.halted():  # what is said meanwhile comes to it at once
                said = [asyncio.create_task(one.say(room, "at once")) for one, room in places]
                await eventually(passed_on, "the gateway has taken what was said")
            # Some may have been asked to go to another worker meanwhile.
            await asyncio.gather(*said, return_exceptions=True)
        if total(await asyncio.to_thread(chat.metrics), "parley_chat_append_groups_total", result="stored") > 0:
            return
    raise AssertionError(f"{CROWD} rooms spoke at once 20 times, and no two records shared a sync")


async def _without_nats(stage: Stage) -> None:
    """Cut the second gateway off NATS, ask it for what needs NATS, and let it back."""
    stage.proxy.away = True
    stage.proxy.cut()
    post = {"node": "a" * 20, "session": "b" * 20, "data": "{}"}
    address = f"{stage.other.gateway_url}/emulation"
    try:
        refused = 0
        for _ in range(50):  # seconds apart, so that Prometheus sees them grow
            refused += (await http("POST", address, content=json.dumps(post))).status_code == 503
            if refused == 3:
                break
            await asyncio.sleep(1.5)
        assert refused == 3, "a gateway without NATS passes frames on"
    finally:
        stage.proxy.away = False
    await asyncio.to_thread(stage.services["gateway-2"].wait_until_ready)


async def _drain(stage: Stage) -> None:
    """Have the second gateway end while it holds connections; its clients are asked to go one by one."""
    gateway = stage.services["gateway-2"]
    async with AsyncExitStack() as stack:
        crowd = [await _enter(stack, stage.other) for _ in range(20)]
        gateway.ask_to_end()
        await asyncio.gather(*(one.end(30) for one in crowd))
    await asyncio.to_thread(gateway.wait_for_end)
    gateway.start()
    await asyncio.to_thread(gateway.wait_until_ready)
