"""Clients by the ten thousand: each follows one room in plain frames, and comes back with its position when cut off.

No task, no library, no event kept: what a client costs here is a socket. They live in a process of their own
(`python -m tests.faults.light`, told what to do by `flock.py`), which yields to all others: ten thousand clients are
elsewhere, and what others feel of them must not be that they share a processor. Imports nothing of ours.
"""

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.bench.clients import eventually
from tests.bench.fleet import Door
from tests.faults.replies import Followed, decode
from tests.faults.wire import WITHOUT_A_WORD, Wire

FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
"""Seconds before coming back: the first and a random part of it, doubled with each attempt that fails, as SDKs do."""
AT_ONCE = 100
"""Connections begun together while the flock gathers; coming back is bounded by nothing but chance."""

NICE = 10
FORCE_RECONNECT = 3011
CAUGHT_UP_SECONDS = 120


@dataclass
class Flock:
    """All of them."""

    doors: Sequence[Door]
    tokens: Sequence[tuple[str, str]]
    """Token and room of each account; clients share them."""
    lights: list["Light"] = field(default_factory=list)
    closes: Counter[int] = field(default_factory=Counter)
    attempts: list[float] = field(default_factory=list)
    """When somebody tried to connect."""
    refused: int = 0
    """Recoveries that were not granted."""
    gaps: int = 0
    """Events that did not follow the one before."""
    gone: bool = False

    async def gather(self, count: int, door: int) -> None:
        """Have so many come in at one door."""
        for number in range(count):
            token, room = self.tokens[number % len(self.tokens)]
            self.lights.append(Light(self, token, room, door))
            self.lights[-1].come()
            if number % AT_ONCE == AT_ONCE - 1:
                await eventually(lambda: self.up >= len(self.lights) - AT_ONCE, "those before are in", 60)
        await eventually(lambda: self.up == count, "all of them follow their room", 60)

    @property
    def up(self) -> int:
        """How many follow their room, or are on their way from one gateway to another that has fewer."""
        return sum(one.up or one.sent_on for one in self.lights)

    def behind(self, tops: dict[str, int]) -> int:
        """Return how many do not have everything."""
        return sum(not (one.up or one.sent_on) or one.offset < tops[one.room] for one in self.lights)

    async def back(self, since: float, tops: dict[str, int]) -> dict[str, int]:
        """Return when all have everything, what was not as it should be, and how busy the busiest second was."""
        await eventually(lambda: self.behind(tops) == 0, "all are back and have everything", CAUGHT_UP_SECONDS, 0.1)
        attempts = Counter(int(at - since) for at in self.attempts if at >= since)
        return {"refused": self.refused, "gaps": self.gaps, "busiest": max(attempts.values())}

    def later(self, seconds: float, call: "Light") -> None:
        """Have a client connect again after a while, unless all leave."""
        if not self.gone:
            asyncio.get_running_loop().call_later(seconds, call.come)

    def cut(self) -> None:
        """Break all connections at once, without a word."""
        for one in self.lights:
            one.abort()

    async def leave(self) -> None:
        """Have nobody left."""
        self.gone = True
        self.cut()
        await eventually(lambda: not any(one.transport for one in self.lights), "all are gone", 30)


class Light(Wire):
    """One of them."""

    def __init__(self, flock: Flock, token: str, room: str, turn: int) -> None:
        super().__init__()
        self._flock, self._token, self.room, self._turn = flock, token, room, turn
        self._epoch = ""
        self._tries = 0
        self.offset = -1
        self.up = False
        self.sent_on = False
        """Whether a gateway asked it to go to another: for half a minute some are each second, so that there might be
        no moment at which everybody is up."""

    def come(self) -> None:
        """Begin to connect."""
        if self._flock.gone:
            return
        self._flock.attempts.append(time.monotonic())
        asyncio.ensure_future(self._come())  # noqa: RUF006 - it ends by itself, within the kernel's connect

    async def _come(self) -> None:
        try:
            await self.connect(self._flock.doors[self._turn % len(self._flock.doors)].websocket_url)
        except OSError:
            self._again()

    def ended(self, code: int) -> None:
        """Come back after a while."""
        self.sent_on = self.up and code == FORCE_RECONNECT
        self.up = False
        if code != WITHOUT_A_WORD:
            self._flock.closes[code] += 1
        self._again()

    def _again(self) -> None:
        self._turn = random.randrange(len(self._flock.doors))  # as a balancer has it
        wait = min(LONGEST_WAIT, FIRST_WAIT + random.random() * FIRST_WAIT * 2**self._tries)
        self._tries += 1
        self._flock.later(wait, self)

    def opened(self) -> None:
        """Say who it is, and from where on it wants to hear its room."""
        ask: dict[str, object] = {"channel": f"room:{self.room}", "recoverable": True}
        if self.offset >= 0:
            ask |= {"recover": True, "offset": self.offset, "epoch": self._epoch}
        commands = {"id": 1, "connect": {"token": self._token}}, {"id": 2, "subscribe": ask}
        self.write("\n".join(map(json.dumps, commands)).encode())

    def line(self, line: bytes) -> None:
        """Take a reply."""
        reply = decode(line)
        if reply.push is not None:
            if reply.push.pub is not None and reply.push.channel == f"room:{self.room}":
                self._got(reply.push.pub.offset)
        elif not reply.id:
            self.write(b"{}")  # a ping
        elif reply.error is not None:
            self.abort()
        elif reply.subscribe is not None:
            self._followed(reply.subscribe)

    def _followed(self, result: Followed) -> None:
        if self.offset < 0 or not result.recovered:
            self._flock.refused += self.offset >= 0
            self.offset = result.offset
        for one in result.publications:
            self._got(one.offset)
        self._epoch = result.epoch
        self._tries = 0
        self.up, self.sent_on = True, False

    def _got(self, offset: int) -> None:
        if offset != self.offset + 1:
            self._flock.gaps += 1
        self.offset = offset


def allow_files(count: int) -> None:
    """Let this process, and those it starts from now on, open that many files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= count, f"the hard limit of open files is {hard}; raise it with ulimit -Hn"
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))


async def obey() -> None:
    """Do what the lines on standard input say, one after the other, and answer each with a line."""
    told = json.loads(sys.stdin.readline())
    flock = Flock([Door(*door) for door in told["doors"]], [tuple(one) for one in told["tokens"]])
    while line := await asyncio.to_thread(sys.stdin.readline):
        command, *rest = json.loads(line)
        answer: dict[str, object] = {}
        if command == "gather":
            await flock.gather(*rest)
        elif command == "cut":
            flock.cut()
        elif command == "back":
            answer = await flock.back(*rest)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    await flock.leave()


if __name__ == "__main__":
    os.nice(NICE)
    asyncio.run(obey())
