"""Every error and disconnect code: number, reason, and what the client is to do.

One catalogue, so that each refusal and each ending has one name. Numbers below 400 and the 3000s are those of the
Centrifuge client protocol v2 (`docs/protocol.md`); 400 to 599 and 4000 to 4999 are our own. Client SDKs act on the
ranges: error `temporary` = try again; disconnect 3500-3999 and 4500-4999 = terminal, anything else = reconnect.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """Why a command was refused."""

    code: int
    message: str
    when: str
    temporary: bool = False


@dataclass(frozen=True, slots=True)
class DisconnectCode:
    """Why a connection ended."""

    code: int
    reason: str
    when: str

    @property
    def reconnect(self) -> bool:
        """Whether SDKs reconnect by themselves after this ending."""
        return not (3500 <= self.code < 4000 or 4500 <= self.code < 5000 or self.code == 1009)


@dataclass(frozen=True, slots=True)
class UnsubscribeCode:
    """Why the server ended a subscription; from 2500 on the SDK subscribes again by itself."""

    code: int
    reason: str
    when: str


# Errors of the client protocol.
INTERNAL = ErrorCode(100, "internal server error", "something failed here that the client cannot mend", True)
UNAUTHORIZED = ErrorCode(101, "unauthorized", "the token of a refresh is not acceptable")
UNKNOWN_CHANNEL = ErrorCode(102, "unknown channel", "the channel's namespace does not exist")
PERMISSION_DENIED = ErrorCode(
    103, "permission denied", "not a member of the room, not its creator, or not subscribed to the channel"
)
METHOD_NOT_FOUND = ErrorCode(104, "method not found", "no RPC method or command has that name")
ALREADY_SUBSCRIBED = ErrorCode(105, "already subscribed", "the client is subscribed to that channel")
LIMIT_EXCEEDED = ErrorCode(106, "limit exceeded", "too many subscriptions, or more than one answer can carry")
BAD_REQUEST = ErrorCode(107, "bad request", "a field of the command is missing or not acceptable")
NOT_AVAILABLE = ErrorCode(108, "not available", "the command exists but is not offered here")
TOKEN_EXPIRED = ErrorCode(
    109, "token expired", "the token ended, or its signing key was withdrawn; the SDK fetches a new one and tries again"
)
EXPIRED = ErrorCode(110, "expired", "the connection has passed its token's end")
TOO_MANY_REQUESTS = ErrorCode(111, "too many requests", "a rate limit was reached; wait and retry", True)
UNRECOVERABLE_POSITION = ErrorCode(112, "unrecoverable position", "history was asked since another epoch")

# Errors of the chat rules. The numbers follow HTTP's, so that they need no learning.
INVALID = ErrorCode(400, "invalid", "a field does not follow its rule; the message names it")
NOT_A_MEMBER = ErrorCode(403, "not a member of this room", "join the room first")
NO_SUCH_ROOM = ErrorCode(404, "no such room", "no room has that id")
CONFLICT = ErrorCode(
    409, "message id was used for other content", "a client message id may repeat only with the same text"
)
TEXT_TOO_LONG = ErrorCode(413, "text too long", "a message text has at most 4096 bytes in UTF-8")
REMOVED = ErrorCode(423, "removed from this room", "the room's creator removed the user, who cannot join again unasked")
UNAVAILABLE = ErrorCode(
    503, "unavailable, retry", "NATS or a service cannot be reached, or is busy; retry with the same id", True
)

# Endings after which SDKs reconnect.
CONNECTION_CLOSED = DisconnectCode(3000, "connection closed", "the client went away or closed")
SHUTDOWN = DisconnectCode(3001, "shutdown", "this gateway process is being stopped")
SERVER_ERROR = DisconnectCode(3004, "internal server error", "the connection cannot go on, through our fault")
CONNECTION_EXPIRED = DisconnectCode(3005, "connection expired", "the access token ended and no refresh came in time")
SUBSCRIPTION_EXPIRED = DisconnectCode(3006, "subscription expired", "a server-side subscription's token ended")
SLOW = DisconnectCode(3008, "slow", "the client does not read what is sent to it")
INSUFFICIENT_STATE = DisconnectCode(3010, "insufficient state", "continuity of a channel was lost")
FORCE_RECONNECT = DisconnectCode(3011, "force reconnect", "the server asks the client to connect again")
NO_PONG = DisconnectCode(3012, "no pong", "the client did not answer a ping in time")
DISCONNECT_TOO_MANY_REQUESTS = DisconnectCode(
    3013, "too many requests", "more commands wait than a client may have, or it went on when error 111 told it to wait"
)

KEY_WITHDRAWN = DisconnectCode(
    4001, "signing key withdrawn", "the key that signed the token was declared compromised; connect with a new token"
)

# Terminal endings.
INVALID_TOKEN = DisconnectCode(3500, "invalid token", "the connect token is not acceptable")
DISCONNECT_BAD_REQUEST = DisconnectCode(3501, "bad request", "a frame could not be decoded, or broke the protocol")
STALE = DisconnectCode(3502, "stale", "no successful connect command came in time")
FORCE_DISCONNECT = DisconnectCode(3503, "force disconnect", "the server ended the connection for good")
STATE_INVALIDATED = DisconnectCode(3014, "state invalidated", "the client must authorise and read everything anew")
CONNECTION_LIMIT = DisconnectCode(3504, "connection limit", "this gateway process holds as many connections as it may")
INAPPROPRIATE_PROTOCOL = DisconnectCode(3506, "inappropriate protocol", "a binary frame on a JSON connection")
DISCONNECT_PERMISSION_DENIED = DisconnectCode(3507, "permission denied", "the connection may not go on")
DISCONNECT_NOT_AVAILABLE = DisconnectCode(3508, "not available", "a message without id was sent; nothing takes them")
SESSION_REVOKED = DisconnectCode(4501, "session revoked", "the session was logged out or revoked; sign in again")
TOO_MANY_CONNECTIONS = DisconnectCode(
    4502, "too many connections", "the user opened more connections than one may have; the oldest end"
)
ACCOUNT_BANNED = DisconnectCode(4503, "account banned", "an operator has banned the account; it cannot sign in")

# Endings that the WebSocket layer names (RFC 6455, 7.4.1); counted, never chosen by our rules.
TOO_BIG = DisconnectCode(1009, "message too big", "a frame is larger than 64 KiB")

# Ends of a subscription.
UNSUBSCRIBED_BY_SERVER = UnsubscribeCode(2000, "server unsubscribe", "the user is no longer a member of the room")
UNSUBSCRIBED_EXPIRED = UnsubscribeCode(2501, "subscription expired", "its token ended and no refresh came in time")
UNSUBSCRIBED_INVALIDATED = UnsubscribeCode(2502, "state invalidated", "the client must authorise and recover anew")
UNSUBSCRIBED_INSUFFICIENT = UnsubscribeCode(2500, "insufficient state", "continuity was lost; the SDK recovers")

_ALL = list(globals().values())
ERRORS: dict[int, ErrorCode] = {e.code: e for e in _ALL if isinstance(e, ErrorCode)}
DISCONNECTS: dict[int, DisconnectCode] = {d.code: d for d in _ALL if isinstance(d, DisconnectCode)}
UNSUBSCRIBES: dict[int, UnsubscribeCode] = {u.code: u for u in _ALL if isinstance(u, UnsubscribeCode)}
