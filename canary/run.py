"""One run of the canary, from its start to its end: who it is, its room, its sending, its judgement."""

import asyncio
import time
from collections.abc import Sequence

from canary import metrics
from canary.account import Account
from canary.connection import Connection, Failed
from canary.ledger import Ledger
from canary.note import Note
from canary.receiver import Receiver
from canary.room import Room, enter
from canary.settings import Settings
from chassis import logs

log = logs.get(__name__)

JUDGE_SECONDS = 1.0
LEAVE_SECONDS = 1.0


class Run:
    """A sender, its receivers, and the ledger between them."""

    def __init__(
        self,
        settings: Settings,
        id: str,
        account: Account,
        sender: Connection,
        receivers: Sequence[Receiver],
        ledger: Ledger,
    ) -> None:
        self.id = id
        self._settings = settings
        self._account = account
        self._sender = sender
        self._receivers = receivers
        self._ledger = ledger
        self._room: Room | None = None

    @property
    def connections(self) -> list[Connection]:
        """Every connection, the sender's first."""
        return [self._sender, *(receiver.connection for receiver in self._receivers)]

    @property
    def heard_at(self) -> float:
        """When any receiver last got a message, on the monotonic clock."""
        return max(receiver.heard_at for receiver in self._receivers)

    async def chat(self) -> None:
        """Be in the room and send, for ever; whatever is away is waited for."""
        await asyncio.gather(*(connection.enter() for connection in self.connections))
        while True:
            try:
                self._room = await enter(self._sender.call, self._settings.canary_room)
                for receiver in self._receivers:
                    await receiver.follow(self._room)
                await self._all_listen()
                await self._send(self._room.id)
            except Failed as failed:
                self._ledger.fail()
                log.info("not in the room", reason=failed.reason, code=failed.code)
            await asyncio.sleep(self._settings.canary_retry_seconds)

    async def judge(self) -> None:
        """Look for what is lost, and keep the figures that do not come with an event; for ever."""
        while True:
            for receiver, number in self._ledger.judge():
                metrics.lost.inc()
                log.error("a promise is broken", broken="lost", connection=receiver, run=self.id, number=number)
            metrics.unjudged.set(self._ledger.unjudged)
            metrics.connected.set(not self.not_connected())
            await asyncio.sleep(JUDGE_SECONDS)

    def not_connected(self) -> list[str]:
        """Return the names of connections that are out, those that went away by themselves not counted."""
        out = [] if self._sender.connected else [self._sender.name]
        return out + [one.name for one in self._receivers if not (one.connection.away or one.listens)]

    async def close(self) -> None:
        """Leave: a guest the room as well, for nobody will be that guest again."""
        for receiver in self._receivers:
            await receiver.connection.leave()
        if self._account.guest and self._room is not None:
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self._sender.call("room.leave", room=self._room.id)
            except (Failed, TimeoutError):
                log.info("not left", room=self._room.id)
        await self._sender.leave()
        await self._account.sign_out()

    async def _all_listen(self) -> None:
        """Give every receiver the time to subscribe; who is not there by then reads later what it missed."""
        seconds = self._settings.canary_answer_seconds
        await asyncio.gather(*(receiver.ready(seconds) for receiver in self._receivers))
        if missing := self.not_connected():
            log.info("sending begins without all receivers", missing=missing)

    async def _send(self, room: str) -> None:
        """Send one number after another, until a receiver has to be let in anew; one at least, whoever is out."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self._insist(room, Note(self.id, self._ledger.offer(time.monotonic()), time.time_ns() // 1_000_000))
            due = max(due + self._settings.canary_interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            if any(receiver.out for receiver in self._receivers):
                return

    async def _insist(self, room: str, note: Note) -> None:
        """Send `note` until it is acknowledged, always with the same id; raise `Failed` when that is of no use."""
        while True:
            try:
                await self._sender.call("message.send", room=room, id=note.id, text=note.text())
            except Failed as failed:
                metrics.send_failures.labels(failed.reason).inc()
                self._ledger.fail()
                log.info("not acknowledged", reason=failed.reason, code=failed.code, number=note.number)
                if failed.final:
                    raise
                await asyncio.sleep(self._settings.canary_retry_seconds)
            else:
                metrics.sent.inc()
                self._ledger.acknowledge(note.number, time.monotonic())
                return
