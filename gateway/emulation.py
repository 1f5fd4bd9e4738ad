"""What clients send whose replies come as an HTTP stream: frames posted to any gateway process, each for one session.

A frame goes to the process (`node`) that holds the stream, as a NATS request to a subject of that process alone, and
is answered when that process has taken it. The session's name is the proof that it came from the client: nobody else
was told it.
"""

import asyncio

import msgspec
from msgspec import Struct

from chassis import logs
from chassis.bus import Bus, Nobody, Respond, Unavailable
from gateway import metrics
from gateway.wire import Receiver
from protocol import names, subjects

log = logs.get(__name__)

MAX_UNDER_WAY = 256
"""Frames that one process may have passed on without an answer; others wait for their turn, within the deadline."""
REMEMBERED_SECONDS = 5.0
"""How long a session that we ended still takes frames, and drops them: SDKs give a stream up at a 404, and would not
read the disconnect push in it."""
RETRY_SECONDS = 0.25

_TAKEN, _GONE = b"taken", b"gone"


class Gone(Exception):
    """No such session: its stream has ended, or the process that held it."""


class _Passed(Struct, array_like=True):
    """A frame between two gateway processes."""

    session: str
    text: bool
    frame: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Passed)


class Emulation:
    """The sessions whose stream this process (`node`) holds, and the way to those of others."""

    def __init__(self, node: str, bus: Bus, seconds: float) -> None:
        """`seconds` is the deadline of a frame that is passed on."""
        self._node = node
        self._bus = bus
        self._seconds = seconds
        self._sessions: dict[str, Receiver] = {}
        self._slots = asyncio.Semaphore(MAX_UNDER_WAY)

    def enter(self, session: str, receiver: Receiver) -> None:
        """Have frames for `session` go to `receiver`."""
        self._sessions[session] = receiver

    def leave(self, session: str, *, by_us: bool) -> None:
        """Forget a session whose stream has ended: at once when its client left, later when it was ended `by_us`."""
        if by_us:
            asyncio.get_running_loop().call_later(REMEMBERED_SECONDS, self._sessions.pop, session, None)
        else:
            self._sessions.pop(session, None)

    async def deliver(self, node: str, session: str, frame: bytes, *, text: bool) -> None:
        """Bring a frame to its connection; raise `Gone`, or `Unavailable` when that cannot be told in time."""
        result = "unavailable"
        try:
            if node == self._node:
                result = "here" if self._take(session, frame, text) else "gone"
            else:
                result = "passed_on" if await self._pass_on(node, session, frame, text) else "gone"
        finally:
            metrics.emulated.labels(result).inc()
        if result == "gone":
            raise Gone

    async def run(self) -> None:
        """Take frames that other processes pass on, from now on."""
        subject = subjects.gateway(self._node)
        while True:
            try:
                await self._bus.answer(subject, self._serve)
                return
            except Unavailable as error:
                log.debug("no frames taken yet", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    def _take(self, session: str, frame: bytes, text: bool) -> bool:
        receiver = self._sessions.get(session)
        if receiver is None:
            return False
        receiver.frame_received(frame, text)
        return True

    async def _pass_on(self, node: str, session: str, frame: bytes, text: bool) -> bool:
        if not names.is_id(node) or len(node) != len(self._node):
            return False  # no process is called that, but other subjects below `gateway` may be
        body = _encoder.encode(_Passed(session, text, frame))
        try:
            async with asyncio.timeout(self._seconds), self._slots:
                message = await self._bus.request(subjects.gateway(node), body, seconds=self._seconds)
        except Nobody:
            return False
        except TimeoutError as error:
            raise Unavailable("no turn in time") from error
        return message.body == _TAKEN

    def _serve(self, body: bytes, respond: Respond) -> None:
        try:
            passed = _decoder.decode(body)
        except msgspec.DecodeError:
            log.error("frame of another gateway not understood")
            return
        respond(_TAKEN if self._take(passed.session, passed.frame, passed.text) else _GONE)
