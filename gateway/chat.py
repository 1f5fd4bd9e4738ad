"""Asking the chat service, over NATS."""

import time

import msgspec
from msgspec import Raw

from chassis import failpoints, logs, traces
from chassis.bus import Bus, TooLarge, Unavailable
from gateway import metrics
from gateway.identity import Identity
from gateway.settings import GatewaySettings
from protocol import codes, subjects
from protocol.commands import Access, Answer, Command, InRoom, Refusal
from protocol.events import User

log = logs.get(__name__)

_decoder = msgspec.json.Decoder(Answer)
NOTHING = Raw(b"{}")


class Chat:
    """The chat service, as the gateway sees it."""

    def __init__(self, bus: Bus, settings: GatewaySettings) -> None:
        self._bus = bus
        self._seconds = settings.publish_seconds

    async def ask(self, method: str, identity: Identity, client: str, data: Raw) -> Raw | Refusal:
        """Have the chat service carry out `method`; every way in which it cannot answer is a refusal, in time.

        After `UNAVAILABLE` the command may have been carried out: a retry must carry the same message id.
        """
        command = Command(user=User(identity.user, identity.name), client=client, data=data or NOTHING)
        started = time.perf_counter()
        failpoints.reach("gateway.authorised")
        try:
            subject = subjects.chat_command(method)
            with traces.span(subject, "client"):
                message = await self._bus.request(
                    subject, msgspec.json.encode(command), traces.carried(), seconds=self._seconds
                )
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

    async def access(self, room: str, identity: Identity) -> Access | Refusal:
        """Ask whether the user may subscribe to `room`."""
        answer = await self.ask(subjects.CHAT_ACCESS, identity, "", Raw(msgspec.json.encode(InRoom(room))))
        if isinstance(answer, Refusal):
            return answer
        return msgspec.json.decode(answer, type=Access)
