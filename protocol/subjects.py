"""Every NATS subject, stream and header of Parley. The only builder of subjects.

nats-py publishes to wildcards and NUL unasked, and an over-long subject ends its connection for ever (tried with
2.16.0), so each builder takes ids of the grammar in `names.py` and nothing else reaches the client library.

    room.<room>.log          the room log (stream ROOMS); written by the chat service alone
    room.<room>.live         what was stored, republished by NATS; read by gateways
    room.<room>.presence     join and leave of subscribers; best effort, never stored
    chat.<method>            commands for the chat service (queue group)
    auth.<method>            commands for the auth service (queue group)
    auth.revoked.<session>   ended sessions (stream REVOCATIONS)
    presence.room.<room>.<gateway>.<client>    who is subscribed where (stream PRESENCE, in memory)
    presence.lease.<gateway>                   a gateway's sign of life; its entries count while this exists
"""

from protocol.names import BadName, require_id

ROOMS_STREAM = "ROOMS"
PRESENCE_STREAM = "PRESENCE"
REVOCATIONS_STREAM = "REVOCATIONS"

ROOM_LOGS = "room.*.log"
ROOM_LIVES = "room.*.live"
ROOM_REPUBLISH_TO = "room.{{wildcard(1)}}.live"
PRESENCE_ALL = "presence.>"
PRESENCE_LEASES = "presence.lease.*"
PRESENCE_ENTRIES = "presence.room.*.*.*"
REVOCATIONS = "auth.revoked.*"
CHAT_QUEUE = "chat"
AUTH_QUEUE = "auth"
REDEEM_TICKET = "auth.ticket.redeem"

# Headers of a record in the room log. The gateway decides by these and never parses a body on the way out.
OFFSET = "Parley-Offset"
"""The event's number in its channel, counted 1, 2, 3 ... without gaps."""
EVENT_TYPE = "Parley-Type"
"""The event's type, as in `events.py`."""
USER = "Parley-User"
"""The user the event is about: author, joiner, leaver."""
CLIENT = "Parley-Client"
"""The client id the command came through; absent for events that no client asked for."""
GONE = "Parley-Gone"
"""Marks a presence entry as left (a tombstone that expires by itself)."""

# Headers that nats-server defines (JetStream ADR-1, ADR-8, ADR-43, and the RePublish feature).
NATS_SEQUENCE = "Nats-Sequence"
NATS_SUBJECT = "Nats-Subject"
NATS_TIME = "Nats-Time-Stamp"
NATS_NUM_PENDING = "Nats-Num-Pending"
NATS_MESSAGE_ID = "Nats-Msg-Id"
NATS_EXPECTED_LAST = "Nats-Expected-Last-Subject-Sequence"
NATS_TTL = "Nats-TTL"

CHAT_METHODS = (
    "room.create",
    "room.list",
    "room.join",
    "room.leave",
    "room.members",
    "room.history",
    "message.send",
)
"""RPC methods that clients may call on the chat service."""

CHAT_ACCESS = "room.access"
"""Asked by the gateway itself before a subscription; not callable by clients."""


def room_log(room: str) -> str:
    """Return the subject of the log of `room`; raise `BadName` when `room` is not an id."""
    return f"room.{require_id(room)}.log"


def room_live(room: str) -> str:
    """Return the subject on which NATS republishes the log of `room`."""
    return f"room.{require_id(room)}.live"


def room_presence(room: str) -> str:
    """Return the subject of join and leave pushes of `room`."""
    return f"room.{require_id(room)}.presence"


def room_of(subject: str) -> str:
    """Return the room id of a `room.<id>.*` subject; raise `BadName` when it is none."""
    parts = subject.split(".")
    if len(parts) != 3 or parts[0] != "room":
        raise BadName("not the subject of a room")
    return require_id(parts[1])


def chat_command(method: str) -> str:
    """Return the subject of a chat service method; raise `BadName` for one that does not exist."""
    if method not in CHAT_METHODS and method != CHAT_ACCESS:
        raise BadName("no such chat method")
    return f"chat.{method}"


def revoked(session: str) -> str:
    """Return the subject on which the end of `session` is announced."""
    return f"auth.revoked.{require_id(session)}"


def lease(gateway: str) -> str:
    """Return the subject of the sign of life of the process `gateway`."""
    return f"presence.lease.{require_id(gateway)}"


def presence_entry(room: str, gateway: str, client: str) -> str:
    """Return the subject of one client's presence in `room`."""
    return f"presence.room.{require_id(room)}.{require_id(gateway)}.{require_id(client)}"


def presence_of_room(room: str) -> str:
    """Return the filter that matches every presence entry of `room`."""
    return f"presence.room.{require_id(room)}.*.*"


def presence_of_gateway(gateway: str) -> str:
    """Return the filter that matches every presence entry held by the process `gateway`."""
    return f"presence.room.*.{require_id(gateway)}.*"
