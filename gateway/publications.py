"""Events of the log as publications of the client protocol, encoded once for all who receive them (pure)."""

from functools import cached_property

from msgspec import Raw

from gateway.ring import Entry
from gateway.socket import encode_text_frame
from protocol.client import ClientInfo, Publication, Push, Reply
from protocol.client_json import encode


class Encoded:
    """A reply in its JSON form, and the WebSocket frame that carries it alone, made once when first needed."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload

    @cached_property
    def frame(self) -> bytes:
        """The frame on the wire."""
        return encode_text_frame(self.payload)


def encoded(reply: Reply) -> Encoded:
    """Encode `reply`."""
    return Encoded(encode(reply))


def publication(entry: Entry) -> Publication:
    """Return `entry` as a publication; `info` names the client it came from (set only when one did)."""
    info = ClientInfo(user=entry.user, client=entry.client) if entry.client else None
    return Publication(data=Raw(entry.body), info=info, offset=entry.offset)


def publication_push(channel: str, entry: Entry) -> Encoded:
    """Return the push of `entry` to the subscribers of `channel`."""
    return encoded(Reply(push=Push(channel=channel, pub=publication(entry))))
