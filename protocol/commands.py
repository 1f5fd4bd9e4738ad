"""What one service asks of another over NATS, and the answers.

A command names who asks (`user`, already authenticated by the gateway) and through which client. The answer is
either a result or a refusal with a code of `codes.py`.
"""

import msgspec

from protocol.client import EMPTY
from protocol.codes import ERRORS, ErrorCode
from protocol.events import Event, User


class Command(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A request to the chat service. `data` is the client's own JSON, not yet looked at."""

    user: User
    client: str = ""
    data: msgspec.Raw = EMPTY


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command answered no."""

    code: int
    message: str

    @classmethod
    def of(cls, error: ErrorCode, detail: str = "") -> "Refusal":
        """Build the refusal for `error`; `detail` says what the client is to mend."""
        return cls(error.code, f"{error.message}: {detail}" if detail else error.message)

    @property
    def temporary(self) -> bool:
        """Whether the same command may succeed later (from the catalogue)."""
        error = ERRORS.get(self.code)
        return error is not None and error.temporary


class Answer(msgspec.Struct, omit_defaults=True):
    """The reply to a command: exactly one of the two is set."""

    result: msgspec.Raw = EMPTY
    refusal: Refusal | None = None


HERE_EVERY_SECONDS = 1.0
"""How often a chat-service process says that it is there."""
HERE_LASTS_SECONDS = 3.5
"""How long that counts: three may be lost or late."""


class Here(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chat-service process takes commands, or (`leaving`) takes no more."""

    process: str
    leaving: bool = False


# Requests: the shape of `Command.data` for each method.
class Nothing(msgspec.Struct):
    """No fields."""


class CreateRoom(msgspec.Struct):
    """room.create"""

    name: str


class InRoom(msgspec.Struct):
    """room.join, room.leave, room.members, room.access"""

    room: str


class MemberOfRoom(msgspec.Struct):
    """room.remove, room.readmit; `user` is the id of who is to go, or to come back."""

    room: str
    user: str


class SendMessage(msgspec.Struct):
    """message.send; `id` is the client's own id of the message, the same on every retry."""

    room: str
    id: str
    text: str


class MarkRead(msgspec.Struct):
    """room.read; `number` is that of the newest message read."""

    room: str
    number: int


class ReadHistory(msgspec.Struct):
    """room.history; `before` and `after` are offsets, exclusive, and at most one of them is given."""

    room: str
    before: int | None = None
    after: int | None = None
    limit: int = 50


# Results.
class Room(msgspec.Struct):
    """A room as one user sees it; `members` and `messages` are counts."""

    id: str
    name: str
    member: bool
    members: int
    messages: int


class RoomResult(msgspec.Struct):
    """room.create and room.join; `offset` is that of the caller's `joined` event."""

    room: Room
    offset: int


class Rooms(msgspec.Struct):
    """room.list"""

    rooms: list[Room]


class Left(msgspec.Struct):
    """room.leave, room.remove"""

    offset: int


class Readmitted(msgspec.Struct):
    """room.readmit"""

    offset: int


class Members(msgspec.Struct):
    """room.members"""

    members: list[User]
    total: int


class Sent(msgspec.Struct):
    """message.send: what the acknowledgement promises is on disk under this offset."""

    offset: int
    number: int
    time: int


class History(msgspec.Struct):
    """room.history: events in ascending order; `more` when there are others beyond them in the same direction."""

    events: list[Event]
    more: bool


class Access(msgspec.Struct):
    """room.access: whether the user is a member, as of the event `offset` of the room."""

    member: bool
    offset: int = 0


# Auth service.
class RedeemTicket(msgspec.Struct):
    """Asked by a gateway when a client presents a ticket."""

    ticket: str


class TicketIdentity(msgspec.Struct):
    """Who made the ticket; `expires_at` is the end of the access token it was made with (seconds since the epoch).

    `key` signed that token; `bans` is how often the account was banned before.
    """

    user: User
    session: str
    expires_at: int
    key: str = ""
    bans: int = 0
