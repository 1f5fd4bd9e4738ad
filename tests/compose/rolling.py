"""Gateways restarted one by one under load: what people said and heard, and how their connections were closed."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from tests.bench.clients import SECONDS, Account, eventually, guest
from tests.bench.history import Acknowledged, History, Received
from tests.bench.people import Person, Said
from tests.compose.stack import Stack

GATEWAYS = ("gateway-1", "gateway-2")
LISTENERS = 60
SENDERS = 2
PAUSE_SECONDS = 0.1
"""Between two messages of one sender."""
DRAIN_SECONDS = 30.0
"""GATEWAY_DRAIN_SECONDS of docker-compose.yml."""
LEAST_SPREAD = 0.5
"""Least share of the drain window over which the closes of one gateway have to be spread."""
MOST_AT_ONCE = 0.25
"""Largest share of one gateway's connections that may be closed within one second."""
PAGE = 100


class Listener(Person):
    """A person who remembers when a connection was lost."""

    def __init__(self, stack: Any, account: Account) -> None:
        super().__init__(stack, account)
        self.lost: list[tuple[float, int]] = []
        """When, on the monotonic clock, and with which code."""

    async def on_connecting(self, ctx: Any) -> None:
        self.lost.append((time.monotonic(), ctx.code))
        await super().on_connecting(ctx)


@dataclass
class Restart:
    """One gateway's restart, and the connections that it closed."""

    gateway: str
    began: float
    seconds: float = 0.0
    closes: list[tuple[float, int]] = field(default_factory=list)

    def told(self) -> str:
        """Return what happened, for the table."""
        if not self.closes:
            return f"{self.gateway}: nobody was connected"
        times = sorted(at - self.began for at, _ in self.closes)
        codes = sorted({code for _, code in self.closes})
        return (
            f"{self.gateway}: {len(times)} closed with {', '.join(map(str, codes))} from {times[0]:.1f} s to "
            f"{times[-1]:.1f} s, at most {at_once(times)} in one second; healthy after {self.seconds:.0f} s"
        )

    def faults(self) -> list[str]:
        """Return why this was no drain."""
        times = sorted(at for at, _ in self.closes)
        if len(times) < LISTENERS / 4:
            return [f"{self.gateway} held only {len(times)} of {LISTENERS} connections: nothing was tried"]
        found = []
        if times[-1] - times[0] < LEAST_SPREAD * DRAIN_SECONDS:
            found.append(f"{self.gateway}: {len(times)} closes within {times[-1] - times[0]:.1f} s, not spread")
        if at_once(times) > max(3, MOST_AT_ONCE * len(times)):
            found.append(f"{self.gateway}: {at_once(times)} of {len(times)} closes within one second")
        return found


def at_once(times: list[float]) -> int:
    """Return the most of `times` that lie within one second."""
    return max((sum(1 for other in times if 0 <= other - one < 1) for one in times), default=0)


async def speak(sender: Person, name: str, room: str, stop: asyncio.Event) -> list[Said]:
    """Send numbered messages, each when the one before is acknowledged, until told to stop."""
    said: list[Said] = []
    while not stop.is_set():
        said.append(await sender.insist(f"{name} {len(said)}", room, 90))
        await asyncio.sleep(PAUSE_SECONDS)
    return said


async def whole_log(reader: Person, room: str) -> list[dict[str, Any]]:
    """Return every event of the room, as its history gives them."""
    log: list[dict[str, Any]] = []
    while True:
        page = await reader.call("room.history", room=room, after=log[-1]["offset"] if log else 0, limit=PAGE)
        log += page["events"]
        if not page["more"]:
            return log


async def restart_all(stack: Stack, listeners: list[Listener]) -> list[Restart]:
    """Restart each gateway when the one before is healthy again; return what each closed."""
    restarts = []
    for gateway in GATEWAYS:
        known = [len(one.lost) for one in listeners]
        restart = Restart(gateway, time.monotonic())
        restart.seconds = await asyncio.to_thread(stack.restart, gateway)
        restart.closes = [lost for one, before in zip(listeners, known, strict=True) for lost in one.lost[before:]]
        restarts.append(restart)
    return restarts


async def under_load(stack: Stack) -> tuple[list[str], list[str]]:
    """Restart the gateways while people talk; return lines for the table, and every broken promise."""
    accounts = [await guest(stack, f"Listener {number}") for number in range(LISTENERS + SENDERS)]
    everyone = [await Listener(stack, account).connect() for account in accounts]
    listeners, senders = everyone[:LISTENERS], everyone[LISTENERS:]
    room = await senders[0].make_room("Rolling")
    for sender in senders:
        await sender.follow(room)
    for one in listeners:
        await one.follow(room)
    after = {id(one): one.seats[room].subscribed[0].stream_position.offset for one in everyone}
    stop = asyncio.Event()
    talking = [asyncio.create_task(speak(one, f"sender-{n}", room, stop)) for n, one in enumerate(senders)]
    try:
        restarts = await restart_all(stack, everyone)
    finally:
        stop.set()
        spoken = await asyncio.gather(*talking)
    said = [one for each in spoken for one in each]
    last = max(one.offset for one in said)
    await eventually(
        lambda: all(one.seats[room].events and one.seats[room].events[-1]["offset"] >= last for one in everyone),
        f"everybody has heard offset {last}",
        SECONDS * 2,
    )
    log = await whole_log(senders[0], room)
    received = [Received(one.account.name, after[id(one)], one.seats[room].events) for one in everyone]
    acknowledged = [Acknowledged(one.id, one.offset, one.asked, one.answered) for one in said]
    faults = [str(fault) for fault in History(log, acknowledged, received).check()]
    faults += [fault for restart in restarts for fault in restart.faults()]
    for one in everyone:
        await one.leave()
    heard = sum(len(one.seats[room].messages) for one in everyone)
    retried = sum(1 for one in said if one.refusals)
    longest = max(one.answered - one.asked for one in said)
    lines = [restart.told() for restart in restarts]
    lines.append(
        f"{len(said)} messages sent ({retried} retried, the slowest {longest:.1f} s), {heard} heard by "
        f"{len(everyone)} people; lost, doubled or out of order: {len(faults)}"
    )
    return lines, faults
