"""Commands in from NATS, answers out: decoding, a bound on work, a deadline, and one answer for everything.

Nothing a client sends may end here in a traceback: what cannot be decoded is refused, what fails unexpectedly is logged
once and answered as an internal error.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from chassis import failpoints, logs, traces
from chassis.app import VERSION
from chassis.bus import Bus, BusError, Respond
from chassis.database import DatabaseUnavailable
from chassis.lifecycle import Background
from chassis.metrics import start_at_zero
from chat_service import metrics, text
from chat_service.methods import Methods
from protocol import codes, commands, subjects
from protocol.commands import Answer, Command, Refusal
from protocol.events import User
from protocol.names import is_id

log = logs.get(__name__)

Carry = Callable[[User, str, Any], Awaitable[msgspec.Struct]]

_command = msgspec.json.Decoder(Command)
_encode = msgspec.json.Encoder().encode
_NO_FIELDS = msgspec.Raw(b"{}")


class Worker:
    """Takes commands, at most `in_flight` at once."""

    def __init__(self, background: Background, in_flight: int, seconds: float) -> None:
        self._background = background
        self._limit = in_flight
        self._seconds = seconds
        self._in_flight = 0
        metrics.in_flight.set_function(lambda: self._in_flight)
        self._idle = asyncio.Event()
        self._idle.set()

    async def offer(self, bus: Bus, methods: Methods, process: str) -> None:
        """Make the methods reachable under their subjects, in one queue group for all replicas, and under those of this
        `process` alone."""
        offered: dict[str, tuple[type[msgspec.Struct], Carry]] = {
            "room.create": (commands.CreateRoom, methods.create_room),
            "room.list": (commands.Nothing, methods.list_rooms),
            "room.join": (commands.InRoom, methods.join_room),
            "room.leave": (commands.InRoom, methods.leave_room),
            "room.remove": (commands.MemberOfRoom, methods.remove_member),
            "room.readmit": (commands.MemberOfRoom, methods.readmit_member),
            "room.members": (commands.InRoom, methods.list_members),
            "room.history": (commands.ReadHistory, methods.read_history),
            "room.read": (commands.MarkRead, methods.mark_read),
            "message.send": (commands.SendMessage, methods.send_message),
            subjects.CHAT_ACCESS: (commands.InRoom, methods.access),
        }
        serving = {name: self._serve(name, *how) for name, how in offered.items()}
        endpoints = {subjects.chat_command(name, to): serve for name, serve in serving.items() for to in ("", process)}
        await bus.serve("chat", VERSION, subjects.CHAT_QUEUE, endpoints)

    async def drained(self, seconds: float) -> None:
        """Wait until nothing is in work, at most `seconds`."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            log.warning("commands still in work", in_flight=self._in_flight)

    def _serve(self, method: str, ask: type[msgspec.Struct], carry: Carry) -> Callable[[bytes, Respond], None]:
        decoder = msgspec.json.Decoder(ask)
        start_at_zero(metrics.commands, (method, "ok"), (method, str(codes.UNAVAILABLE.code)))

        def serve(body: bytes, respond: Respond) -> None:
            if self._in_flight >= self._limit:
                metrics.overflow.inc()
                metrics.commands.labels(method, str(codes.UNAVAILABLE.code)).inc()
                respond(_encode(Answer(refusal=Refusal.of(codes.UNAVAILABLE))))
                return
            self._count(1)
            failpoints.reach("chat.consumed")
            self._background.spawn(work(body, respond))

        async def work(body: bytes, respond: Respond) -> None:
            started = time.perf_counter()
            try:
                with traces.span(method, "server") as span:
                    result = await self._answer(method, decoder, carry, body, span)
                    code = str(result.code) if isinstance(result, Refusal) else "ok"
                    span.note("parley.result", code)
                metrics.answered(method, code, time.perf_counter() - started)
                respond(_encode(_answer(result)))
                failpoints.reach("chat.answered")
            finally:
                self._count(-1)

        return serve

    def _count(self, change: int) -> None:
        self._in_flight += change
        if self._in_flight:
            self._idle.clear()
        else:
            self._idle.set()

    async def _answer(
        self, method: str, decoder: msgspec.json.Decoder[Any], carry: Carry, body: bytes, span: traces.Span
    ) -> msgspec.Struct:
        decoded = _decode(decoder, body)
        if isinstance(decoded, Refusal):
            return decoded
        if span is not traces.OFF and is_id(room := getattr(decoded[2], "room", "")):
            span.note("parley.room", room)
        try:
            async with asyncio.timeout(self._seconds):
                return await carry(*decoded)
        except (BusError, DatabaseUnavailable, TimeoutError) as error:
            log.info("command not carried out", method=method, reason=type(error).__name__)
            return Refusal.of(codes.UNAVAILABLE)
        except Exception:  # whatever it is, the asker gets an answer and the others go on
            log.exception("command failed", method=method)
            return Refusal.of(codes.INTERNAL)


def _decode(decoder: msgspec.json.Decoder[Any], body: bytes) -> tuple[User, str, Any] | Refusal:
    """Return who asks, through which client, and what; or the refusal of what is no command."""
    try:
        command = _command.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Refusal.of(codes.BAD_REQUEST)
    user = command.user
    if not is_id(user.id) or (command.client and not is_id(command.client)):
        return Refusal.of(codes.BAD_REQUEST, "user and client are ids")
    named = User(user.id, text.display_name(user.name, user.id))
    try:
        return named, command.client, decoder.decode(command.data or _NO_FIELDS)
    except (UnicodeDecodeError, RecursionError):
        return Refusal.of(codes.INVALID, "not JSON that can be read")
    except msgspec.MsgspecError as error:
        # Names the field and the type expected, not what was sent.
        return Refusal.of(codes.INVALID, str(error))


def _answer(result: msgspec.Struct) -> Answer:
    if isinstance(result, Refusal):
        return Answer(refusal=result)
    return Answer(result=msgspec.Raw(_encode(result)))
