"""Every command, reply and push between client and gateway, once, as types.

The Centrifuge client protocol v2 (`docs/protocol.md`). Field names are those of the wire; `client_json.py` (and the
Protobuf encoding beside it) turn these types into bytes. Rules of presence (protocol reference, 1.1): zero, false and
empty fields are left out, except those without a default here; an empty result stays present as `{}`.

`Raw` fields carry bytes of the application that this layer does not look into: in JSON an embedded value, in Protobuf
any bytes. The bounds of numbers are those that Protobuf gives them, and hold in both encodings.
"""

from typing import Annotated

from msgspec import Meta, Raw, Struct

Uint32 = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Uint64 = Annotated[int, Meta(ge=0)]  # msgspec knows no upper bound beyond 2**63; what is above 2**64 no offset equals
Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

EMPTY = Raw(b"")
"""No application data: left out of the wire. (msgspec cannot decode `Raw | None`.)"""


class SubscribeRequest(Struct, omit_defaults=True):
    """Follow a channel; with `recover` from (`epoch`, `offset`) on."""

    channel: str = ""
    token: str = ""
    data: Raw = EMPTY
    recover: bool = False
    epoch: str = ""
    offset: Uint64 = 0
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    flag: Int64 = 0


class ConnectRequest(Struct, omit_defaults=True):
    """First command of a connection. `subs`: positions in the server-side subscriptions a client had before.

    `headers` are what a browser cannot set in its handshake; they are as untrusted as any.
    """

    token: str = ""
    data: Raw = EMPTY
    subs: dict[str, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}
    flag: Int64 = 0


class UnsubscribeRequest(Struct):
    """Stop following a channel."""

    channel: str = ""


class PublishRequest(Struct):
    """Send `data` into a channel."""

    channel: str = ""
    data: Raw = EMPTY


class PresenceRequest(Struct):
    """Who is subscribed to a channel."""

    channel: str = ""


class PresenceStatsRequest(Struct):
    """How many are subscribed to a channel."""

    channel: str = ""


class StreamPosition(Struct):
    """A place in a channel's history."""

    offset: Uint64 = 0
    epoch: str = ""


class HistoryRequest(Struct):
    """Publications of a channel; limit 0 asks for the position only, -1 for as many as are allowed."""

    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class PingRequest(Struct):
    """Exists in the protocol; no SDK sends it."""


class SendRequest(Struct):
    """A message without an answer."""

    data: Raw = EMPTY


class RPCRequest(Struct):
    """Call an application method."""

    method: str = ""
    data: Raw = EMPTY


class RefreshRequest(Struct):
    """Replace the connection's token before it ends."""

    token: str = ""


class SubRefreshRequest(Struct):
    """Replace a subscription's token."""

    channel: str = ""
    token: str = ""


class Command(Struct):
    """Client to server: `id` and exactly one request. Nothing at all is a pong."""

    id: Uint32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: PingRequest | None = None
    send: SendRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


class Unreadable(Command):
    """A command of which only the id could be read: a text in it is not Unicode (an unpaired surrogate)."""


REQUESTS = (
    "connect",
    "subscribe",
    "unsubscribe",
    "publish",
    "presence",
    "presence_stats",
    "history",
    "ping",
    "send",
    "rpc",
    "refresh",
    "sub_refresh",
)
"""Names of the requests a command may carry; also the `method` label of metrics."""


class EmulationRequest(Struct):
    """A frame of commands for a connection whose replies travel over HTTP, posted to any node."""

    node: str = ""
    session: str = ""
    data: Raw = EMPTY


class ClientInfo(Struct, omit_defaults=True):
    """One connected client of a user; `conn_info` is from the connection token, `chan_info` from the subscription's."""

    user: str
    client: str
    conn_info: Raw = EMPTY
    chan_info: Raw = EMPTY


class Publication(Struct, omit_defaults=True):
    """One event of a channel as subscribers receive it; `info` is set only when it came from a client.

    `delta`: `data` is a patch against the publication before. `time` in milliseconds since the epoch.
    """

    data: Raw = EMPTY
    info: ClientInfo | None = None
    offset: Uint64 = 0
    tags: dict[str, str] = {}
    delta: bool = False
    time: Int64 = 0
    channel: str = ""


class Error(Struct, omit_defaults=True):
    """Why a command was refused; SDKs index `code` and `message`, so both are always there."""

    code: Uint32
    message: str
    temporary: bool = False


class SubscribeResult(Struct, omit_defaults=True):
    """Answer to subscribe. On recovery `offset` is the one the client sent and `publications` lead on from it.

    `ttl` in seconds, when `expires`. `delta`: publications may come as patches (in JSON all are strings then).
    """

    recoverable: bool = False
    positioned: bool = False
    epoch: str = ""
    offset: Uint64 = 0
    publications: list[Publication] = []
    recovered: bool = False
    was_recovering: bool = False
    expires: bool = False
    ttl: Uint32 = 0
    data: Raw = EMPTY
    delta: bool = False


class ConnectResult(Struct, omit_defaults=True):
    """Answer to connect; `ping` in seconds, `time` in milliseconds since the epoch."""

    client: str
    version: str
    data: Raw = EMPTY
    expires: bool = False
    ttl: Uint32 = 0
    subs: dict[str, SubscribeResult] = {}
    ping: Uint32 = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: Int64 = 0


class RefreshResult(Struct, omit_defaults=True):
    """Answer to refresh."""

    client: str
    version: str
    expires: bool = False
    ttl: Uint32 = 0


class SubRefreshResult(Struct, omit_defaults=True):
    """Answer to sub_refresh."""

    expires: bool = False
    ttl: Uint32 = 0


class PresenceResult(Struct):
    """Client id to who it is."""

    presence: dict[str, ClientInfo]


class PresenceStatsResult(Struct):
    """Counts of clients and of distinct users."""

    num_clients: Uint32
    num_users: Uint32


class HistoryResult(Struct):
    """Publications and the channel's top position."""

    publications: list[Publication]
    epoch: str
    offset: Uint64


class RPCResult(Struct, omit_defaults=True):
    """Answer of an application method."""

    data: Raw = EMPTY


class Empty(Struct):
    """A result without fields: encoded as `{}`, never left out (an SDK that misses it ends for good)."""


class Join(Struct):
    """A client subscribed to a channel."""

    info: ClientInfo


class Leave(Struct):
    """A client's subscription to a channel ended."""

    info: ClientInfo


class Unsubscribe(Struct):
    """The server ended a subscription."""

    code: Uint32
    reason: str


class Message(Struct, omit_defaults=True):
    """Something for this client alone, of no channel."""

    data: Raw = EMPTY


class Subscribe(Struct, omit_defaults=True):
    """The server subscribed the client to a channel, after it connected."""

    recoverable: bool = False
    epoch: str = ""
    offset: Uint64 = 0
    positioned: bool = False
    data: Raw = EMPTY


class Disconnect(Struct, omit_defaults=True):
    """The server ended the connection: what a WebSocket says by its close frame, where there is none."""

    code: Uint32
    reason: str
    reconnect: bool = False


class Refresh(Struct, omit_defaults=True):
    """The server renewed the connection's life."""

    expires: bool = False
    ttl: Uint32 = 0


class Push(Struct, omit_defaults=True):
    """Server to client, unasked."""

    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None
    disconnect: Disconnect | None = None
    refresh: Refresh | None = None


class Reply(Struct, omit_defaults=True):
    """Server to client: the answer to a command, a push, or (with nothing in it) a ping."""

    id: Uint32 = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: Empty | None = None
    publish: Empty | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None
    ping: Empty | None = None
