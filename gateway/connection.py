"""One client's life: frames in, commands performed in order, heartbeat and deadlines, the end (I/O, no rules).

Commands of a client are carried out one after the other, so that what it sends in order happens in order; a run of
subscribes to different channels is carried out together. While nothing waits there is no task, only one timer.
"""

import asyncio
import time
from collections import deque
from typing import ClassVar

import msgspec
import structlog
from msgspec import Raw

from chassis import failpoints, logs, traces
from chassis.lifecycle import Background
from gateway import metrics
from gateway.following import unsubscribe_push
from gateway.identity import Identity
from gateway.operations import OPERATIONS
from gateway.outbox import Outbox
from gateway.parts import Outcome, Parts, refusal
from gateway.publications import Shared, encoded
from gateway.session import End, Expired, Perform, Ping, Refuse, Session, is_pong, request_name
from gateway.wire import Wire
from protocol import codes, names
from protocol.client import EMPTY, ClientInfo, Command, Reply
from protocol.codes import DisconnectCode, UnsubscribeCode
from protocol.frames import BadFrame, Codec

log = logs.get(__name__)

_PING = Shared(Reply())


class Connection:
    """One connected client. Made when the handshake is accepted; ends once, with a code of the catalogue."""

    everyone: ClassVar[set["Connection"]] = set()
    """The connections of this process whose socket or stream is there."""

    def __init__(
        self,
        wire: Wire,
        codec: Codec,
        parts: Parts,
        background: Background,
        identity: Identity | None,
        ping_offset: float,
    ) -> None:
        self.client = names.new_id()
        self.secret = names.new_id()
        """Names this connection to whoever opened it: HTTP clients send their commands under it."""
        self.codec = codec
        self.parts = parts
        self.handshake_identity = identity
        self._wire = wire
        self._background = background
        self._loop = asyncio.get_running_loop()
        self._started = self.now()
        self._ended: DisconnectCode | None = None
        self._waiting: deque[Command] = deque()
        self._working = False
        self._stall: asyncio.TimerHandle | None = None
        settings = parts.settings
        self.session = Session(settings, parts.namespaces, self.now() + settings.connect_seconds, ping_offset)
        self.outbox = Outbox(self, wire, parts.postman, settings.outbox_bytes)
        self._timer = self._loop.call_at(self.session.next_tick(), self._tick)
        self._parting: DisconnectCode | None = None
        Connection.everyone.add(self)
        metrics.connections.labels(wire.kind).inc()
        metrics.accepted.labels(wire.kind).inc()

    # What the socket tells us.

    def frame_received(self, frame: bytes, text: bool) -> None:
        """Take one frame: pongs at once, commands into the queue."""
        metrics.messages_in.inc()
        metrics.bytes_in.inc(len(frame))
        if self._ended is not None:
            return
        if text is not self.codec.text:
            self.end(codes.INAPPROPRIATE_PROTOCOL)
            return
        try:
            commands = self.codec.decode_frame(frame)
        except BadFrame:
            metrics.bad_frames.inc()
            self.end(codes.DISCONNECT_BAD_REQUEST)
            return
        for command in commands:
            if is_pong(command):
                self._pong()
            else:
                failpoints.reach("gateway.read")
                self._waiting.append(command)
        self._bound_waiting()
        if self._waiting and not self._working:
            self._working = True
            self._background.spawn(self._work())

    def socket_closed(self, code: int) -> None:
        """Clean up after the socket is gone, whoever ended it."""
        ended = self._ended
        self._ended = self._ended or codes.CONNECTION_CLOSED
        self._timer.cancel()
        self._cancel_stall()
        self._waiting.clear()
        for channel in list(self.session.subscriptions):
            self.forget_subscription(channel)
        if self.session.identity is not None:
            self.parts.hub.leave(self, self.session.identity.session)
        label, cause = _labels(ended, code)
        metrics.disconnects.labels(label, cause).inc()
        Connection.everyone.discard(self)
        metrics.connections.labels(self._wire.kind).dec()
        seconds = self.now() - self._started
        metrics.connection_seconds.observe(seconds)
        log.info("disconnected", client=self.client, code=label, cause=cause, seconds=round(seconds, 1))

    def writing_paused(self) -> None:
        """Give the client `stall_seconds` to read on."""
        metrics.unread.inc()
        if self._stall is None:
            self._stall = self._loop.call_later(self.parts.settings.stall_seconds, self.end, codes.SLOW)

    def writing_resumed(self) -> None:
        """The client reads again."""
        self._cancel_stall()

    def shutdown(self) -> None:
        """The process ends now; the socket closes itself when this returns."""
        if self._ended is None:
            metrics.drain_forced.inc()
            self._ended = codes.SHUTDOWN
            self.outbox.empty()

    # What the hub and the operations need of us.

    @property
    def user(self) -> str:
        """The user the connection belongs to; empty before connect."""
        return self.session.identity.user if self.session.identity else ""

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""
        return self._ended is None and self._wire.open

    def now(self) -> float:
        """The clock that the session's times are on."""
        return self._loop.time()

    def entered(self, identity: Identity) -> None:
        """Register with the hub once authenticated."""
        self.parts.hub.enter(self, identity.session)
        log.info("connected", client=self.client, user=identity.user)

    def client_info(self, channel: str) -> ClientInfo:
        """How this client appears in `channel`."""
        identity = self.session.identity
        assert identity is not None
        subscription = self.session.subscriptions.get(channel)
        conn_info = identity.info or (msgspec.json.encode({"name": identity.name}) if identity.is_native else b"")
        chan_info = (subscription.chan_info if subscription else b"") or identity.channel_info(channel)
        return ClientInfo(
            user=identity.user,
            client=self.client,
            conn_info=Raw(conn_info) if conn_info else EMPTY,
            chan_info=Raw(chan_info) if chan_info else EMPTY,
        )

    def send(self, reply: Reply) -> None:
        """Put a reply into the outbox."""
        self.outbox.put(encoded(self.codec, reply))

    def deliver(self, push: Shared) -> None:
        """Put a push that others get too into the outbox."""
        self.outbox.put(push.get(self.codec))

    def wants_join_leave(self, channel: str) -> bool:
        """Whether join and leave of `channel` were asked for."""
        subscription = self.session.subscriptions.get(channel)
        return subscription is not None and subscription.live and subscription.join_leave

    def unsubscribe(self, channel: str, code: UnsubscribeCode) -> None:
        """End a subscription from our side and tell the client."""
        subscription = self.session.subscriptions.get(channel)
        if subscription is not None and subscription.server_side and code is codes.UNSUBSCRIBED_INSUFFICIENT:
            self.end(codes.INSUFFICIENT_STATE)  # a client cannot subscribe again to what it did not subscribe to
        elif self.forget_subscription(channel):
            self.send(unsubscribe_push(channel, code))

    def forget_subscription(self, channel: str) -> bool:
        """Undo a subscription, if there is one; tell whether it was live."""
        was_live = self.session.unsubscribed(channel)
        if was_live:
            self.parts.hub.remove(channel, self)
            self.parts.presence.left(channel, self.client)
            metrics.subscriptions.dec()
        return was_live

    def end(self, code: DisconnectCode) -> None:
        """End the connection with `code`; what the outbox holds is written first. Only the first call counts."""
        if self._ended is not None:
            return
        self._ended = code
        self._waiting.clear()
        if code is not codes.SLOW:
            self.outbox.empty()
        self._wire.end(code.code, code.reason)

    def part(self, code: DisconnectCode, seconds: float) -> bool:
        """End with `code` once the commands in hand are answered, or after `seconds`; False when it ends anyway."""
        if self._ended is not None or self._parting is not None:
            return False
        self._parting = code
        if self._working:
            self._loop.call_later(seconds, self.end, code)
        else:
            self.end(code)
        return True

    # Inside.

    def _tick(self) -> None:
        decision = self.session.tick(self.now())
        if isinstance(decision, End):
            self.end(decision.code)
            return
        if isinstance(decision, Ping):
            self.deliver(_PING)
        elif isinstance(decision, Expired):
            self.unsubscribe(decision.channel, codes.UNSUBSCRIBED_EXPIRED)
        self._timer = self._loop.call_at(self.session.next_tick(), self._tick)

    def _pong(self) -> None:
        decision = self.session.pong()
        if decision is not None:
            self.end(decision.code)
        else:
            self._restart_timer()

    def _restart_timer(self) -> None:
        self._timer.cancel()
        if self._ended is None:
            self._timer = self._loop.call_at(self.session.next_tick(), self._tick)

    def _bound_waiting(self) -> None:
        settings = self.parts.settings
        if len(self._waiting) > settings.max_waiting_commands:
            metrics.overflows.labels("commands").inc()
            self.end(codes.DISCONNECT_TOO_MANY_REQUESTS)
        elif len(self._waiting) > settings.pause_reading_at:
            self._wire.pause_reading()

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    async def _work(self) -> None:
        """Carry out what waits, in order, until nothing does."""
        try:
            with structlog.contextvars.bound_contextvars(client=self.client):
                while self._waiting and self._ended is None:
                    batch = self._next_batch()
                    await asyncio.gather(*(self._perform(command) for command in batch))
                    if len(self._waiting) <= self.parts.settings.pause_reading_at // 2:
                        self._wire.resume_reading()
        except Exception:  # a fault of ours ends this connection, never the process or another client
            log.exception("command failed", client=self.client)
            self.end(codes.SERVER_ERROR)
        finally:
            self._working = False
            if self._parting is not None:
                self.end(self._parting)

    def _next_batch(self) -> list[Command]:
        """Take the next command, or the run of subscribes to different channels that is next."""
        batch = [self._waiting.popleft()]
        channels = {batch[0].subscribe.channel} if batch[0].subscribe else set()
        while channels and self._waiting:
            following = self._waiting[0].subscribe
            if following is None or following.channel in channels:
                break
            channels.add(following.channel)
            batch.append(self._waiting.popleft())
        return batch

    async def _perform(self, command: Command) -> None:
        started = time.perf_counter()
        method = request_name(command) or "unknown"
        decision = self.session.receive(command)
        outcome: Outcome
        if isinstance(decision, Perform):
            outcome = await self._carry_out(decision, command)
        elif isinstance(decision, Refuse):
            outcome = refusal(command, decision.error, decision.detail)
        else:
            outcome = decision.code
        if isinstance(outcome, DisconnectCode):
            self.end(outcome)
        elif outcome is not None and self.open:
            self.send(outcome)
            failpoints.reach("gateway.acknowledged")
        metrics.commands.labels(method, _result(outcome)).inc()
        metrics.command_seconds.labels(method).observe(time.perf_counter() - started)
        if method in ("connect", "refresh", "subscribe", "sub_refresh"):
            self._restart_timer()

    async def _carry_out(self, decision: Perform, command: Command) -> Outcome:
        with traces.span(decision.request, "server") as span:
            span.note("parley.client", self.client)
            outcome = await OPERATIONS[decision.request](self, command)
            span.note("parley.result", _result(outcome))
            return outcome


def _result(outcome: Outcome) -> str:
    """Return the code of an outcome; 0 is success."""
    if isinstance(outcome, DisconnectCode):
        return str(outcome.code)
    return str(outcome.error.code) if outcome is not None and outcome.error else "0"


def _labels(ended: DisconnectCode | None, code: int) -> tuple[str, str]:
    """Return close code and cause as metrics count them: of known ones only, for the server API makes up others."""
    if ended is not None:
        known = ended.code in codes.DISCONNECTS
        return (str(ended.code), metrics.cause_of(ended.code)) if known else ("custom", "custom")
    cause = metrics.CLOSED_BY_CLIENT.get(code)
    return (str(code), cause) if cause else ("other", "client")
