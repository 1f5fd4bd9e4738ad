"""Every NATS subject, stream and header of Parley. The only builder of subjects.

nats-py publishes to wildcards and NUL unasked, and an over-long subject ends its connection for ever (tried with
2.16.0), so each builder takes ids of the grammar in `names.py` and nothing else reaches the client library.

    room.<room>.log          the room log (stream ROOMS); written by the chat service alone
    room.<room>.live         what was stored, republished by NATS; read by gateways
    room.<room>.presence     join and leave of subscribers; best effort, never stored
    user.<user>.log, .live   the same for what concerns one user (stream USERS)
    channel.<ns>.<name>.log, .live, .presence    general channels, escaped (stream CHANNELS); written by gateways
    gateway.<node>           frames of HTTP clients for the gateway process that holds their stream
    gateway.control          what every gateway process is to do or to tell, for the server API
    gateway.<asker>          what the gateway processes tell
    chat.<method>            commands for the chat service (queue group)
    chat.at.<process>.<method>    the same for one of its processes
    chat.here                what chat-service processes there are, said by each every second
    auth.<method>            commands for the auth service (queue group)
    auth.revoked.<session>   ended sessions (stream REVOCATIONS)
    auth.revoked.user-<user>, .key-<key>    bans, and withdrawn signing keys (the same stream)
    presence.<ns>.<name>.<gateway>.<client>    who is subscribed where (stream PRESENCE, in memory)
    presence.lease.<gateway>                   a gateway's sign of life; its entries count while this exists
"""

import hashlib
from dataclasses import dataclass
from functools import lru_cache

from protocol import names
from protocol.names import BadName, require_id

ROOMS_STREAM = "ROOMS"
USERS_STREAM = "USERS"
CHANNELS_STREAM = "CHANNELS"
PRESENCE_STREAM = "PRESENCE"
REVOCATIONS_STREAM = "REVOCATIONS"

ROOM_LOGS = "room.*.log"
ROOM_LIVES = "room.*.live"
ROOM_REPUBLISH_TO = "room.{{wildcard(1)}}.live"
PRESENCE_ALL = "presence.>"
PRESENCE_LEASES = "presence.lease.*"
PRESENCE_ENTRIES = "presence.*.*.*.*"
USER_LOGS = "user.*.log"
USER_REPUBLISH_TO = "user.{{wildcard(1)}}.live"
CHANNEL_LOGS = "channel.*.*.log"
CHANNEL_REPUBLISH_TO = "channel.{{wildcard(1)}}.{{wildcard(2)}}.live"
REVOCATIONS = "auth.revoked.*"
REVOKED_USERS = "auth.revoked.user-"
"""How the subjects of bans begin."""
REVOKED_KEYS = "auth.revoked.key-"
"""How the subjects of withdrawn keys begin."""
CHAT_QUEUE = "chat"
CHAT_HERE = "chat.here"
AUTH_QUEUE = "auth"
REDEEM_TICKET = "auth.ticket.redeem"
GATEWAY_CONTROL = "gateway.control"

# Headers of a record in the room log. The gateway decides by these and never parses a body on the way out.
OFFSET = "Parley-Offset"
"""The event's number in its channel, counted 1, 2, 3 ... without gaps."""
EVENT_TYPE = "Parley-Type"
"""The event's type, as in `events.py`."""
USER = "Parley-User"
"""The user the event is about: author, joiner, leaver."""
TIME = "Parley-Time"
"""When the event was accepted, in milliseconds since the epoch, by the clock of who accepted it."""
CLIENT = "Parley-Client"
"""The client id the command came through; absent for events that no client asked for."""
EPOCH = "Parley-Epoch"
"""The epoch of a general channel; channels of rooms and users have that of their stream."""
INFO = "Parley-Info"
"""Who published, as base64 of a ClientInfo in JSON; only on general channels."""
TAGS = "Parley-Tags"
"""Tags of a publication, as base64 of a JSON object of strings."""
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
NATS_BATCH = "Nats-Batch-Id"
NATS_BATCH_NUMBER = "Nats-Batch-Sequence"
NATS_BATCH_COMMIT = "Nats-Batch-Commit"

CHAT_METHODS = (
    "room.create",
    "room.list",
    "room.join",
    "room.leave",
    "room.remove",
    "room.readmit",
    "room.members",
    "room.history",
    "room.read",
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


@dataclass(frozen=True, slots=True)
class Address:
    """Where a channel lives in NATS. `namespace` and `name` are subject tokens."""

    channel: str
    namespace: str
    name: str
    stream: str
    root: str

    @property
    def log(self) -> str:
        """Subject of the channel's log."""
        return f"{self.root}.log"

    @property
    def live(self) -> str:
        """Subject on which what was stored is republished."""
        return f"{self.root}.live"

    @property
    def presence(self) -> str:
        """Subject of join and leave announcements."""
        return f"{self.root}.presence"


@lru_cache(maxsize=10_000)
def address(channel: str) -> Address:
    """Return where `channel` lives; raise `BadName` when it cannot be a channel."""
    if (room := names.room_of_channel(channel)) is not None:
        return Address(channel, "room", room, ROOMS_STREAM, f"room.{room}")
    if (user := names.user_of_channel(channel)) is not None:
        return Address(channel, "user", user, USERS_STREAM, f"user.{user}")
    namespace = names.namespace_of(channel)
    if not names.is_channel(channel) or namespace in ("room", "user"):
        raise BadName("not a channel")
    name = channel[len(namespace) + 1 :] if namespace else channel
    space, token = _token(namespace), _token(name)
    return Address(channel, space, token, CHANNELS_STREAM, f"channel.{space}.{token}")


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_LONGEST_TOKEN = 120


def _token(text: str) -> str:
    """Escape `text` into one subject token: =XX for what is not plain, = for nothing, a hash for what gets too long."""
    escaped = "".join(one if one in _PLAIN else f"={ord(one):02x}" for one in text) or "="
    return escaped if len(escaped) <= _LONGEST_TOKEN else "=h" + hashlib.sha256(text.encode()).hexdigest()


def gateway(node: str) -> str:
    """Return the subject on which the gateway process `node` takes frames of its HTTP clients."""
    return f"gateway.{require_id(node)}"


def gateway_answers(asker: str) -> str:
    """Return the subject on which `asker` takes the answers to its questions; its id is not that of a node."""
    return f"gateway.{require_id(asker)}"


def room_of(subject: str) -> str:
    """Return the room id of a `room.<id>.*` subject; raise `BadName` when it is none."""
    parts = subject.split(".")
    if len(parts) != 3 or parts[0] != "room":
        raise BadName("not the subject of a room")
    return require_id(parts[1])


def chat_command(method: str, process: str = "") -> str:
    """Return the subject of a chat service method, of whichever process or a certain one; raise `BadName` for one that
    does not exist."""
    if method not in CHAT_METHODS and method != CHAT_ACCESS:
        raise BadName("no such chat method")
    return f"chat.at.{require_id(process)}.{method}" if process else f"chat.{method}"


def revoked(session: str) -> str:
    """Return the subject on which the end of `session` is announced."""
    return f"auth.revoked.{require_id(session)}"


def revoked_user(user: str) -> str:
    """Return the subject on which the ban of `user` is announced; no session has that token, for ids have no hyphen."""
    return REVOKED_USERS + require_id(user)


def revoked_key(key: str) -> str:
    """Return the subject on which it is announced that the signing key `key` counts no more."""
    return REVOKED_KEYS + require_id(key)


def lease(gateway: str) -> str:
    """Return the subject of the sign of life of the process `gateway`."""
    return f"presence.lease.{require_id(gateway)}"


def presence_entry(channel: Address, gateway: str, client: str) -> str:
    """Return the subject of one client's presence in a channel."""
    return f"presence.{channel.namespace}.{channel.name}.{require_id(gateway)}.{require_id(client)}"


def presence_of_channel(channel: Address) -> str:
    """Return the filter that matches every presence entry of a channel."""
    return f"presence.{channel.namespace}.{channel.name}.*.*"
