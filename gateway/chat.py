"""Asking the chat service, over NATS: about a room the process whose it is, or any while none is known."""

import asyncio
import time

import msgspec
from msgspec import Raw

from chassis import failpoints, logs, traces
from chassis.bus import Bus, Message, Nobody, TooLarge, Unavailable
from gateway import metrics
from gateway.chat_processes import ChatProcesses
from gateway.identity import Identity
from gateway.settings import GatewaySettings
from protocol import codes, subjects
from protocol.commands import Access, Answer, Command, Here, InRoom, Refusal
from protocol.events import User

log = logs.get(__name__)

_decoder = msgspec.json.Decoder(Answer)
NOTHING = Raw(b"{}")
RETRY_SECONDS = 0.25


class _AboutRoom(msgspec.Struct):
    room: str = ""


_about = msgspec.json.Decoder(_AboutRoom)
_here = msgspec.json.Decoder(Here)


class Chat:
    """The chat service, as the gateway sees it."""

    def __init__(self, bus: Bus, settings: GatewaySettings) -> None:
        self._bus = bus
        self._seconds = settings.publish_seconds
        self._processes = ChatProcesses()

    async def listen(self) -> None:
        """Begin to hear which processes there are, as soon as NATS can be reached; nats-py renews that."""
        while True:
            try:
                await self._bus.subscribe(subjects.CHAT_HERE, self._heard)
                return
            except Unavailable as error:
                log.debug("not listening to the chat service yet", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def ask(self, method: str, identity: Identity, client: str, data: Raw) -> Raw | Refusal:
        """Have the chat service carry out `method`; every way in which it cannot answer is a refusal, in time.

        After `UNAVAILABLE` the command may have been carried out: a retry must carry the same message id.
        """
        command = Command(user=User(identity.user, identity.name), client=client, data=data or NOTHING)
        started = time.perf_counter()
        failpoints.reach("gateway.authorised")
        try:
            with traces.span(subjects.chat_command(method), "client"):
                key = _room(command.data) or identity.user
                message = await self._request(method, key, msgspec.json.encode(command))
            answer = _decoder.decode(message.body)
        except Unavailable as error:
            log.debug("chat service did not answer", method=method, reason=str(error))
            return Refusal.of(codes.UNAVAILABLE)
        except TooLarge:
            return Refusal.of(codes.BAD_REQUEST, "too large")
        except msgspec.DecodeError:
            log.error("answer of the chat service not understood", method=method)
            return Refusal.of(codes.INTERNAL)
        if answer.refusal is not None:
            return answer.refusal
        if method == "message.send":
            metrics.stored.observe(time.perf_counter() - started)
        return answer.result or NOTHING

    async def _request(self, method: str, key: str, body: bytes) -> Message:
        process = self._processes.of(key, time.monotonic())
        if process:
            try:
                subject = subjects.chat_command(method, process)
                answer = await self._bus.request(subject, body, traces.carried(), seconds=self._seconds)
            except Nobody:  # it ended without a word, and has done nothing
                self._processes.gone(process)
            else:
                metrics.chat_asked.of("own").add()
                return answer
        metrics.chat_asked.of("any").add()
        return await self._bus.request(subjects.chat_command(method), body, traces.carried(), seconds=self._seconds)

    def _heard(self, message: Message) -> None:
        try:
            self._processes.heard(_here.decode(message.body), time.monotonic())
        except msgspec.DecodeError:
            log.warning("sign of life of the chat service not understood")

    async def access(self, room: str, identity: Identity) -> Access | Refusal:
        """Ask whether the user may subscribe to `room`."""
        answer = await self.ask(subjects.CHAT_ACCESS, identity, "", Raw(msgspec.json.encode(InRoom(room))))
        if isinstance(answer, Refusal):
            return answer
        return msgspec.json.decode(answer, type=Access)


def _room(data: Raw) -> str:
    """Return the room that a command is about; empty for none. What is wrong with it the chat service says."""
    try:
        return _about.decode(data).room
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
