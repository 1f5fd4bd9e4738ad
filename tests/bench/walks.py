"""Random walks: a few clients in one channel send, subscribe, leave, break off and come back, without waiting.

Each walk notes all that its clients (`walker.py`) asked and were answered, ends with everybody present, and is judged
whole (`stays.py`). Imports nothing of ours.
"""

import asyncio
import random
import time
import uuid
from typing import Any

from tests.bench.stays import FORGED, Event, Fault, History, Send, judge
from tests.bench.walker import SETTLE_SECONDS, TEMPORARY, Answered, Reply, Walker, World

PAUSES = (0.0, 0.0, 0.0, 0.001, 0.004, 0.015)


class Walk:
    """One walk: `run` it, then see `faults`."""

    def __init__(self, world: World, seed: int, walkers: list[Walker], room: str = "") -> None:
        """`room`: of which all walkers are members; empty for a general channel, which nobody used before."""
        self.world = world
        self.seed = seed
        self.chance = random.Random(seed)
        self.walkers = walkers
        self.room = room
        self.channel = f"room:{room}" if room else f"{world.namespace}:{uuid.uuid4().hex[:12]}"
        self.history = History()
        self.strange: list[Fault] = []
        self.trace: list[str] = []
        for number, walker in enumerate(walkers):
            walker.begin(self, f"walker {number}")

    async def run(self, steps: int) -> list[Fault]:
        """Take so many steps, have everybody come back, and return what was wrong."""
        try:
            for _ in range(steps):
                walker = self.chance.choice(self.walkers)
                await self._step(walker)
                await asyncio.sleep(self.chance.choice(PAUSES))
            self.history.log = await self._settle()
        except (AssertionError, TimeoutError) as error:
            self.strange.append(Fault("lost", f"not settled: {error}"))
        self.history.readers = {walker.name: walker.stays for walker in self.walkers}
        self.world.counted["walks"] += 1
        return self.strange + judge(self.history)

    async def rest(self) -> None:
        """Have everybody leave the channel, so that the connections can be used by another walk."""
        for walker in self.walkers:
            if walker.connected:
                await walker.ask(walker.unsubscription())
                await self._answers(walker)

    def explain(self, faults: list[Fault]) -> str:
        """Return what is needed to understand the faults."""
        history = self.history
        readers = {name: [str(stay) for stay in stays] for name, stays in history.readers.items()}
        parts = [f"walk {self.seed} in {self.channel}", *map(str, faults), *self.trace]
        parts += [f"log {history.log}", *(f"{name}: {stays}" for name, stays in readers.items())]
        return "\n".join(parts)

    async def _step(self, walker: Walker) -> None:
        actions = {
            self._send: 10,
            self._subscribe: 4,
            self._subscribe_from_zero: 1,
            self._subscribe_from_another: 1,
            self._unsubscribe: 2,
            self._unsubscribe_and_back: 3,
            self._three_at_once: 1,
            self._break_off: 2,
            self._break_off_and_back: 2,
        }
        action = self.chance.choices(list(actions), list(actions.values()))[0]
        name = action.__name__.strip("_").replace("_", " ")
        self.trace.append(f"{time.monotonic():.4f} {walker.name} at {walker.position}: {name}")
        if not walker.connected and action not in (self._break_off, self._break_off_and_back):
            await walker.connect(self.chance)
            await walker.ask(first=True)
        await action(walker)

    async def _send(self, walker: Walker) -> None:
        send = Send(f"m{len(self.history.sends)}", time.monotonic())
        self.history.sends.append(send)
        self.world.counted["sends"] += 1
        await walker.ask(self._sending(send))
        if self.room and self.chance.random() < 0.2:
            await walker.ask(self._sending(send))  # the same once more, as after a lost answer
        if self.chance.random() < 0.3:
            await self._answers(walker)

    def _sending(self, send: Send) -> tuple[dict[str, Any], Answered]:
        def answered(reply: Reply | None) -> None:
            if reply is None:
                return
            if "error" in reply:
                if not TEMPORARY.get(reply["error"]["code"]):
                    self.strange.append(Fault(FORGED, f"{send.key} was refused: {reply}"))
                return
            if send.acknowledged is None:
                send.acknowledged = time.monotonic()
                self.world.counted["acknowledged"] += 1
            if self.room:
                offset = reply["rpc"]["data"]["offset"]
                if send.offset and send.offset != offset:
                    self.strange.append(Fault(FORGED, f"{send.key} was acknowledged at {send.offset} and {offset}"))
                send.offset = offset

        if self.room:
            body = {"room": self.room, "id": send.key, "text": f"text of {send.key}"}
            return {"rpc": {"method": "message.send", "data": body}}, answered
        return {"publish": {"channel": self.channel, "data": {"id": send.key}}}, answered

    async def _subscribe(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(walker.position))

    async def _subscribe_from_zero(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(0))

    async def _subscribe_from_another(self, walker: Walker) -> None:
        await walker.ask(walker.subscription(self.chance.choice(self.walkers).position))

    async def _unsubscribe(self, walker: Walker) -> None:
        await walker.ask(walker.unsubscription())

    async def _unsubscribe_and_back(self, walker: Walker) -> None:
        await walker.ask(walker.unsubscription(), walker.subscription(walker.position))

    async def _three_at_once(self, walker: Walker) -> None:
        at = walker.position
        await walker.ask(walker.subscription(at), walker.unsubscription(), walker.subscription(at))

    async def _break_off(self, walker: Walker) -> None:
        walker.break_off()

    async def _break_off_and_back(self, walker: Walker) -> None:
        walker.break_off()
        await walker.connect(self.chance)
        await walker.ask(walker.subscription(walker.position), first=True)

    async def _answers(self, walker: Walker) -> None:
        """Wait until everything that the walker asked is answered, or its connection is gone."""
        end = time.monotonic() + SETTLE_SECONDS
        while walker.waiting:
            assert time.monotonic() < end, f"{walker.name} got no answer to {list(walker.waiting)}"
            await asyncio.sleep(0.002)

    async def _settle(self) -> list[Event]:
        """Bring everybody back, and wait until all have all there is; return the log.

        What somebody asked for and did not wait for may be stored late, so the log is read until it stands still.
        """
        for walker in self.walkers:
            await self._answers(walker)
        log = await self._log()
        while True:
            await self._reach(len(log))
            again = await self._log()
            if again == log and all((walker.position or 0) <= len(log) for walker in self.walkers):
                return log
            log = again

    async def _reach(self, top: int) -> None:
        """Wait until everybody is present and has everything up to `top`, or too long: the judge says who lacks it."""
        end = time.monotonic() + SETTLE_SECONDS
        while late := [one for one in self.walkers if one.open is None or (one.position or 0) < top]:
            if time.monotonic() > end:
                return
            for walker in late:
                if walker.open is None:
                    if not walker.connected:
                        await walker.connect(self.chance)
                        await walker.ask(first=True)
                    await walker.ask(walker.subscription(walker.position))
                    await self._answers(walker)
            await asyncio.sleep(0.005)

    async def _log(self) -> list[Event]:
        """Read the whole log of the channel through some walker, who asks until there is an answer."""
        end = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < end:
            walker = self.walkers[0]
            if not walker.connected:
                await walker.connect(self.chance)
                await walker.ask(first=True)
            found: list[Reply] = []

            def answered(reply: Reply | None, found: list[Reply] = found) -> None:
                if reply is not None and "error" not in reply:
                    found.append(reply)

            await walker.ask((self._reading(), answered))
            await self._answers(walker)
            if found and self.room:
                events = found[0]["rpc"]["data"]["events"]
                return [(event["offset"], event.get("id", "")) for event in events]
            if found:
                publications = found[0]["history"]["publications"]
                return [(one["offset"], one["data"]["id"]) for one in publications]
            await asyncio.sleep(0.05)
        raise AssertionError("the log cannot be read")

    def _reading(self) -> dict[str, Any]:
        if self.room:
            body = {"room": self.room, "after": 0, "limit": 100}
            return {"rpc": {"method": "room.history", "data": body}}
        return {"history": {"channel": self.channel, "limit": -1, "since": {"offset": 0, "epoch": ""}}}
