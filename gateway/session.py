"""One client's rules (pure): a command or the time in, what is to be done out.

Knows no socket and no clock; times are seconds on whatever clock the caller uses. The shell (`connection.py`) carries
out what is decided here and reports back what came of it (`connected`, `subscribed`, `unsubscribed`).
"""

from dataclasses import dataclass, field
from enum import Enum

from gateway.identity import Identity
from gateway.namespaces import Namespaces, may_read_history, may_read_presence
from gateway.settings import GatewaySettings
from protocol import codes, names
from protocol.client import REQUESTS, Command, SubscribeRequest, Unreadable
from protocol.codes import DisconnectCode, ErrorCode


@dataclass(frozen=True, slots=True)
class End:
    """End the connection."""

    code: DisconnectCode


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer the command with an error."""

    error: ErrorCode
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Perform:
    """Carry out the request of this name; the command may be performed."""

    request: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a ping."""


@dataclass(frozen=True, slots=True)
class Expired:
    """A subscription's token has ended and was not refreshed in time."""

    channel: str


class Phase(Enum):
    """Where a connection is in its life."""

    NEW = "new"
    READY = "ready"
    REFUSED = "refused"  # connect was answered with an error: nothing more is accepted


@dataclass(slots=True)
class Subscription:
    """One channel the client follows. `generation` tells a subscription from an earlier one of the same channel."""

    generation: int
    join_leave: bool = False
    live: bool = False
    server_side: bool = False
    wants_delta: bool = False
    expires_at: float | None = None
    chan_info: bytes = b""


@dataclass(slots=True)
class Session:
    """What we know and allow of one client while it is connected."""

    settings: GatewaySettings
    namespaces: Namespaces
    connect_by: float
    ping_offset: float
    """Seconds from connect to the first ping: random within half an interval, so that pings do not come in step."""
    phase: Phase = Phase.NEW
    identity: Identity | None = None
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    ping_at: float = 0
    pong_by: float | None = None
    expires_at: float | None = None
    generation: int = 0
    haste: float = 0
    """Commands lately, less what the rate allows for the time since."""
    hurried_at: float = 0

    def pace(self, now: float) -> End | Refuse | None:
        """Count one command against the rate that a connection has; None when it may be looked at."""
        settings = self.settings
        if not settings.commands_per_second:
            return None
        self.haste = max(0.0, self.haste - (now - self.hurried_at) * settings.commands_per_second) + 1
        self.hurried_at = now
        if self.haste <= settings.command_burst:
            return None
        if self.haste <= 2 * settings.command_burst:
            return Refuse(codes.TOO_MANY_REQUESTS)
        return End(codes.DISCONNECT_TOO_MANY_REQUESTS)

    def receive(self, command: Command, request: str | None) -> End | Refuse | Perform:
        """Decide about a command (not a pong), which carries `request`, as `request_name` says.

        The order of checks is the protocol's (reference 1.3).
        """
        if isinstance(command, Unreadable):
            request = "unreadable"
        if self.phase is Phase.REFUSED:
            return End(codes.STALE)
        if request is None:
            return Refuse(codes.METHOD_NOT_FOUND) if command.id else End(codes.DISCONNECT_BAD_REQUEST)
        if (request == "connect") != (self.phase is Phase.NEW):
            return End(codes.DISCONNECT_BAD_REQUEST)  # before connect, or connect twice
        if request == "send":
            return End(codes.DISCONNECT_NOT_AVAILABLE)
        if not command.id:
            return End(codes.DISCONNECT_BAD_REQUEST)
        if isinstance(command, Unreadable):
            return Refuse(codes.BAD_REQUEST, "a text in it is not Unicode")
        if request == "ping":
            return Refuse(codes.NOT_AVAILABLE)
        if request == "subscribe":
            assert command.subscribe is not None
            return self._subscribe(command.subscribe)
        if request in ("presence", "presence_stats", "history", "publish", "sub_refresh"):
            return self._on_channel(request, getattr(command, request).channel)
        if request == "unsubscribe":
            assert command.unsubscribe is not None
            return Perform(request) if command.unsubscribe.channel else End(codes.DISCONNECT_BAD_REQUEST)
        return Perform(request)

    def _subscribe(self, request: SubscribeRequest) -> End | Refuse | Perform:
        channel = request.channel
        if not channel:
            return End(codes.DISCONNECT_BAD_REQUEST)
        if len(channel) > names.MAX_CHANNEL_LENGTH or not channel.isascii():
            return Refuse(codes.BAD_REQUEST)
        rules = self.namespaces.rules(channel)
        if rules is None or names.user_of_channel(channel) is not None:
            return Refuse(codes.UNKNOWN_CHANNEL)
        if channel in self.subscriptions:
            return Refuse(codes.ALREADY_SUBSCRIBED)
        asked_for = sum(not subscription.server_side for subscription in self.subscriptions.values())
        if asked_for >= self.settings.max_subscriptions:
            return Refuse(codes.LIMIT_EXCEEDED)
        self.begin(channel)
        return Perform("subscribe")

    def begin(self, channel: str, *, server_side: bool = False) -> Subscription:
        """Begin a subscription that is not live yet, of a generation of its own."""
        self.generation += 1
        subscription = Subscription(self.generation, server_side=server_side)
        self.subscriptions[channel] = subscription
        return subscription

    def _on_channel(self, request: str, channel: str) -> End | Refuse | Perform:
        if not channel:
            return End(codes.DISCONNECT_BAD_REQUEST)
        rules = self.namespaces.rules(channel)
        if rules is None:
            return Refuse(codes.UNKNOWN_CHANNEL)
        subscribed = self.is_live(channel)
        user = self.identity.user if self.identity else ""
        if request == "sub_refresh":
            return Perform(request) if subscribed else Refuse(codes.PERMISSION_DENIED)
        if request == "history":
            if not rules.history_size:
                return Refuse(codes.NOT_AVAILABLE)
            return Perform(request) if may_read_history(rules, user, subscribed) else Refuse(codes.PERMISSION_DENIED)
        if request in ("presence", "presence_stats"):
            if not rules.presence:
                return Refuse(codes.NOT_AVAILABLE)
            return Perform(request) if may_read_presence(rules, user, subscribed) else Refuse(codes.PERMISSION_DENIED)
        return Perform(request)  # a publish is judged where it is carried out

    def is_live(self, channel: str) -> bool:
        """Tell whether the client receives `channel` now."""
        subscription = self.subscriptions.get(channel)
        return subscription is not None and subscription.live

    def heard(self, now: float) -> None:
        """Take note that a connect command that waited for its turn is carried out: the client was not late."""
        self.connect_by = now + self.settings.connect_seconds

    def connected(self, identity: Identity, now: float, expires_at: float | None) -> None:
        """Take note that the client has proved who it is; `expires_at` None means for ever."""
        self.phase = Phase.READY
        self.identity = identity
        self.ping_at = now + self.ping_offset
        self.expires_at = expires_at

    def renewed(self, identity: Identity, expires_at: float | None) -> None:
        """Take note of a newer credential of the same user."""
        self.identity = identity
        self.expires_at = expires_at

    def refused(self) -> None:
        """Take note that connect was answered with an error: the connection is of no more use (reference 1.3)."""
        self.phase = Phase.REFUSED

    def subscribed(self, channel: str, generation: int) -> bool:
        """Go live; False when that subscription is no longer wanted (ended, or replaced by a newer one)."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or subscription.generation != generation:
            return False
        subscription.live = True
        return True

    def unsubscribed(self, channel: str, generation: int | None = None) -> bool:
        """Forget a subscription (only if it has that generation, when given); tell whether it was live."""
        subscription = self.subscriptions.get(channel)
        if subscription is None or (generation is not None and subscription.generation != generation):
            return False
        del self.subscriptions[channel]
        return subscription.live

    def pong(self) -> End | None:
        """Take a pong; one that was not asked for breaks the protocol (reference 1.4)."""
        if self.pong_by is None:
            return End(codes.DISCONNECT_BAD_REQUEST)
        self.pong_by = None
        return None

    def tick(self, now: float) -> End | Ping | Expired | None:
        """Decide what the time asks for."""
        if self.phase is not Phase.READY:
            return End(codes.STALE) if now >= self.connect_by else None
        if self.expires_at is not None and now >= self.expires_at + self._grace:
            return End(codes.CONNECTION_EXPIRED)
        if self.pong_by is not None and now >= self.pong_by:
            return End(codes.NO_PONG)
        for channel, subscription in self.subscriptions.items():
            if subscription.expires_at is not None and now >= subscription.expires_at + self._grace:
                return End(codes.SUBSCRIPTION_EXPIRED) if subscription.server_side else Expired(channel)
        if now >= self.ping_at:
            # On schedule even on a busy connection: some SDKs count only pings as signs of life.
            self.ping_at = now + self.settings.ping_seconds
            if self.pong_by is None:  # a pong that is already due stays due
                self.pong_by = now + self.settings.pong_seconds
            return Ping()
        return None

    def next_tick(self) -> float:
        """Return when `tick` has something to decide next."""
        if self.phase is not Phase.READY:
            return self.connect_by
        times = [self.ping_at]
        if self.pong_by is not None:
            times.append(self.pong_by)
        if self.expires_at is not None:
            times.append(self.expires_at + self._grace)
        times += [sub.expires_at + self._grace for sub in self.subscriptions.values() if sub.expires_at is not None]
        return min(times)

    @property
    def _grace(self) -> float:
        return self.settings.refresh_grace_seconds


def request_name(command: Command) -> str | None:
    """Return the name of the first request that `command` carries, or None."""
    for name in REQUESTS:
        if getattr(command, name) is not None:
            return name
    return None


def is_pong(command: Command) -> bool:
    """Tell whether `command` is empty, which answers a ping."""
    return not command.id and request_name(command) is None and not isinstance(command, Unreadable)
