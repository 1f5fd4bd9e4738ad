"""Bodies of the server API, in the shapes of Centrifugo's HTTP API: field names and types are the wire's.

In requests `null` counts as absent, and unknown fields are ignored. Results that the client protocol has in the very
same shape are taken from there.
"""

from msgspec import Raw, Struct

from gateway.control import Node
from protocol.client import EMPTY, ClientInfo


class Publish(Struct):
    """Send `data` (or the bytes that `b64data` encodes) into a channel."""

    channel: str | None = None
    data: Raw = EMPTY
    b64data: str | None = None
    tags: dict[str, str] | None = None
    skip_history: bool | None = None
    idempotency_key: str | None = None


class Broadcast(Struct):
    """The same for many channels at once."""

    channels: list[str] | None = None
    data: Raw = EMPTY
    b64data: str | None = None
    tags: dict[str, str] | None = None
    skip_history: bool | None = None
    idempotency_key: str | None = None


class OfChannel(Struct):
    """Ask something about a channel."""

    channel: str | None = None


class Since(Struct):
    """A place in a channel's history."""

    offset: int | None = None
    epoch: str | None = None


class History(Struct):
    """Ask for publications; without `limit` for the position only."""

    channel: str | None = None
    limit: int | None = None
    since: Since | None = None
    reverse: bool | None = None


class Ending(Struct):
    """How connections are to end."""

    code: int | None = None
    reason: str | None = None


class Disconnect(Struct):
    """End the connections of a user, or of them one client or one session, except `whitelist` (client ids)."""

    user: str | None = None
    client: str | None = None
    session: str | None = None
    whitelist: list[str] | None = None
    disconnect: Ending | None = None


class Unsubscribe(Struct):
    """End the subscriptions of a user to a channel, or of them those of one client or one session."""

    user: str | None = None
    channel: str | None = None
    client: str | None = None
    session: str | None = None


class Info(Struct):
    """Ask for the gateway processes."""


class Position(Struct):
    """Where a publication went; offset 0 and no epoch where there is no history."""

    offset: int
    epoch: str


class Failure(Struct):
    """Why not."""

    code: int
    message: str


class Outcome(Struct, omit_defaults=True):
    """What became of one publication of a broadcast."""

    result: Position | None = None
    error: Failure | None = None


class BroadcastResult(Struct):
    """Outcomes in the order of the channels."""

    responses: list[Outcome]


class StoredPublication(Struct, omit_defaults=True):
    """A publication as it is kept. Bytes that are not JSON are in `b64data`, and `data` is null."""

    data: Raw
    offset: int
    b64data: str = ""
    info: ClientInfo | None = None
    tags: dict[str, str] = {}


class HistoryResult(Struct):
    """Publications, and the channel's newest position."""

    publications: list[StoredPublication]
    offset: int
    epoch: str


class InfoResult(Struct):
    """Every gateway process that answered."""

    nodes: list[Node]
