"""What happened in a room: the records of the room log, and the publications that clients receive.

An event's JSON is written once by the chat service and travels unchanged to every client. `v` is the version of this
payload, independent of the transport. Times are milliseconds since the Unix epoch.
"""

import msgspec


class User(msgspec.Struct, frozen=True, gc=False):
    """Who did it: id and the display name at that time."""

    id: str
    name: str


class Event(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True, gc=False):
    """One event of a room. `number`, `id` and `text` belong to messages, `name` to `created`.

    `by` is there when somebody else did it: who removed the user (`left`), or put it back (`joined`).
    """

    v: int
    type: str
    room: str
    offset: int
    user: User
    time: int
    number: int = 0
    id: str = ""
    text: str = ""
    name: str = ""
    by: User | None = None


MESSAGE = "message"
JOINED = "joined"
LEFT = "left"
CREATED = "created"
VERSION = 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Event)


def encode(event: Event) -> bytes:
    """Return the JSON of `event`, without raw newlines (the client framing forbids them)."""
    return _encoder.encode(event)


def decode(body: bytes) -> Event:
    """Return the event in `body`; raise `msgspec.DecodeError` or `ValidationError` when it is none."""
    return _decoder.decode(body)
