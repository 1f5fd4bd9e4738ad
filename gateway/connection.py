"""One client's life: frames in, heartbeat and deadlines, the end (I/O, no rules).

An idle connection is these objects and no more: no task, no timer and no queue of its own, so each has slots.
"""

import asyncio
from typing import ClassVar

import msgspec
from msgspec import Raw

from chassis import failpoints, logs
from chassis.lifecycle import Background
from gateway import metrics
from gateway.alarms import NEVER
from gateway.command_queue import CommandQueue
from gateway.following import unsubscribe_push
from gateway.identity import Identity
from gateway.outbox import Outbox
from gateway.parts import Parts
from gateway.publications import Shared, encoded
from gateway.session import End, Expired, Ping, Session, is_pong
from gateway.wire import Wire
from protocol import codes, names
from protocol.client import EMPTY, ClientInfo, Reply
from protocol.codes import DisconnectCode, UnsubscribeCode
from protocol.frames import BadFrame, Codec

log = logs.get(__name__)

_PING = Shared(Reply())


class Connection:
    """One connected client. Made when the handshake is accepted; ends once, with a code of the catalogue."""

    __slots__ = (
        "_address",
        "_commands",
        "_ended",
        "_left",
        "_parting",
        "_stall",
        "_started",
        "_wire",
        "background",
        "client",
        "codec",
        "due",
        "handshake_identity",
        "outbox",
        "parts",
        "secret",
        "session",
    )

    everyone: ClassVar[set["Connection"]] = set()
    """The connections of this process whose socket or stream is there."""

    def __init__(
        self,
        wire: Wire,
        codec: Codec,
        parts: Parts,
        background: Background,
        identity: Identity | None,
        address: str,
        ping_offset: float,
    ) -> None:
        self.client = names.new_id()
        self.secret = names.new_id()
        """Names this connection to whoever opened it: HTTP clients send their commands under it."""
        self.codec = codec
        self.parts = parts
        self.handshake_identity = identity
        self._address = address if identity is None else ""
        """Whose it is, as long as it has not said so itself."""
        if self._address:
            parts.strangers.came(self._address)
        self.background = background
        self._wire = wire
        self._started = self.now()
        self._ended: DisconnectCode | None = None
        self._left = ("", "")
        """What the metrics call its end."""
        self._parting: DisconnectCode | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._commands = CommandQueue(self)
        settings = parts.settings
        self.session = Session(settings, parts.namespaces, self._started + settings.connect_seconds, ping_offset)
        self.outbox = Outbox(self, wire, parts.postman, settings.outbox_bytes)
        self.due = NEVER
        parts.alarms.set(self, self.session.next_tick())
        Connection.everyone.add(self)
        metrics.connections.labels(wire.kind).inc()
        metrics.accepted.labels(wire.kind).inc()

    # What the socket tells us.

    def frame_received(self, frame: bytes, text: bool) -> None:
        """Take one frame: pongs at once, commands into the queue."""
        metrics.frames_received.waiting += 1
        metrics.octets_received.waiting += len(frame)
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
        if len(commands) + len(self._commands) > self.parts.settings.max_waiting_commands:
            metrics.overflows.labels("commands").inc()
            self.end(codes.DISCONNECT_TOO_MANY_REQUESTS)
            return
        for command in commands:
            if self._ended is not None:
                return
            if is_pong(command):
                self._pong()
            else:
                failpoints.reach("gateway.read")
                self._commands.take(command)
        if len(self._commands) > self.parts.settings.pause_reading_at:
            self._wire.pause_reading()

    def socket_closed(self, code: int) -> None:
        """Learn that the socket is gone, whoever ended it; what it leaves behind is cleaned up in its turn."""
        self._left = metrics.ending(self._ended, code)
        self._ended = self._ended or codes.CONNECTION_CLOSED
        self.due = NEVER
        self._cancel_stall()
        self._commands.clear()
        self._strange_no_more()
        Connection.everyone.discard(self)
        if self.parts.turnstile.may_leave(self):
            self.go_out()

    def go_out(self) -> None:
        """Clean up after the socket."""
        for channel in list(self.session.subscriptions):
            self.forget_subscription(channel)
        if self.session.identity is not None:
            self.parts.hub.leave(self, self.session.identity.session)
        code, cause = self._left
        metrics.disconnects.labels(code, cause).inc()
        metrics.connections.labels(self._wire.kind).dec()
        seconds = self.now() - self._started
        metrics.connection_seconds.observe(seconds)
        log.info("disconnected", client=self.client, code=code, cause=cause, seconds=round(seconds, 1))

    def writing_paused(self) -> None:
        """Give the client `stall_seconds` to read on."""
        metrics.unread.inc()
        if self._stall is None:
            seconds = self.parts.settings.stall_seconds
            self._stall = asyncio.get_running_loop().call_later(seconds, self.end, codes.SLOW)

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
    def identity(self) -> Identity | None:
        """Who the connection belongs to; None before connect."""
        return self.session.identity

    @property
    def open(self) -> bool:
        """Whether anything may still be sent."""
        return self._ended is None and self._wire.open

    def now(self) -> float:
        """The clock that the session's times are on."""
        return self.parts.alarms.now()

    @property
    def age(self) -> float:
        """Seconds since the connection was made."""
        return self.now() - self._started

    def entered(self, identity: Identity) -> None:
        """Register with the hub once authenticated."""
        self.parts.hub.enter(self, identity.session)
        self.parts.quota.entered(identity.user)
        self._strange_no_more()
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
        self._commands.clear()
        if code is not codes.SLOW:
            self.outbox.empty()
        self._wire.end(code.code, code.reason)

    def part(self, code: DisconnectCode, seconds: float) -> bool:
        """End with `code` once the commands in hand are answered, or after `seconds`; False when it ends anyway."""
        if self._ended is not None or self._parting is not None:
            return False
        self._parting = code
        if self._commands.working:
            asyncio.get_running_loop().call_later(seconds, self.end, code)
        else:
            self.end(code)
        return True

    # For its command queue.

    def commands_left(self, waiting: int) -> None:
        """Read on once few enough commands wait."""
        if waiting <= self.parts.settings.pause_reading_at // 2:
            self._wire.resume_reading()

    def commands_done(self) -> None:
        """Leave, if that is all that was waited for."""
        if self._parting is not None:
            self.end(self._parting)

    def set_alarm(self) -> None:
        """Be woken when the session has something to decide."""
        if self._ended is None:
            self.parts.alarms.set(self, self.session.next_tick())

    # For the alarms.

    def wake(self) -> None:
        """Do what the time asks for."""
        if self._ended is not None:
            return
        decision = self.session.tick(self.now())
        if isinstance(decision, End):
            self.end(decision.code)
            return
        if isinstance(decision, Ping):
            self.deliver(_PING)
        elif isinstance(decision, Expired):
            self.unsubscribe(decision.channel, codes.UNSUBSCRIBED_EXPIRED)
        self.set_alarm()

    # Inside.

    def _pong(self) -> None:
        decision = self.session.pong()
        if decision is not None:
            self.end(decision.code)
        else:
            self.set_alarm()

    def _strange_no_more(self) -> None:
        if self._address:
            self.parts.strangers.gone(self._address)
            self._address = ""

    def _cancel_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
