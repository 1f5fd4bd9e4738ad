"""Events of the log as publications of the client protocol, encoded once for all who receive them (pure).

A push is encoded when the first client needs it in its encoding, and the bytes are shared by all others.
"""

from collections.abc import Callable
from functools import cached_property

import msgspec
from msgspec import Raw

from gateway import delta
from gateway.ring import Entry
from protocol.client import ClientInfo, Publication, Push, Reply
from protocol.client_json import is_json
from protocol.frames import Codec

_info = msgspec.json.Decoder(ClientInfo)
_tags = msgspec.json.Decoder(dict[str, str])


class Encoded:
    """A reply in one encoding."""

    __slots__ = ("codec", "payload")

    def __init__(self, codec: Codec, payload: bytes) -> None:
        self.codec = codec
        self.payload = payload


def encoded(codec: Codec, reply: Reply) -> Encoded:
    """Encode `reply`."""
    return Encoded(codec, codec.encode(reply))


class Shared:
    """A reply that many clients get, encoded once per encoding."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._made: dict[str, Encoded] = {}

    def get(self, codec: Codec) -> Encoded:
        """Return it in `codec`."""
        made = self._made.get(codec.name)
        if made is None:
            made = self._made[codec.name] = encoded(codec, self._reply)
        return made


def publication(entry: Entry, data: bytes | None = None, *, is_delta: bool = False) -> Publication:
    """Return `entry` as a publication; `data` replaces its body (a patch, or the body as a JSON string)."""
    if entry.info:
        info: ClientInfo | None = _info.decode(entry.info)
    else:
        info = ClientInfo(user=entry.user, client=entry.client) if entry.client else None
    return Publication(
        data=Raw(entry.body if data is None else data),
        info=info,
        offset=entry.offset,
        tags=_tags.decode(entry.tags) if entry.tags else {},
        delta=is_delta,
    )


class PublicationPush:
    """The push of one event, in every form that some subscriber needs."""

    def __init__(self, channel: str, entry: Entry, previous: bytes | None) -> None:
        """`previous` is the body of the event before, which patches apply to; None when it is not at hand."""
        self._channel = channel
        self._entry = entry
        self._previous = previous
        self._made: dict[tuple[str, bool, bool], Encoded] = {}
        self.on_sockets: Callable[[], None] | None = None
        """Called when every follower has it."""

    @property
    def entry(self) -> Entry:
        """The event."""
        return self._entry

    @property
    def size(self) -> int:
        """About how many bytes it has on a wire."""
        return len(self._entry.body) + 100

    @cached_property
    def is_json(self) -> bool:
        """Whether JSON clients can be sent the data."""
        return is_json(self._entry.body)

    @cached_property
    def _patch(self) -> bytes | None:
        return delta.patch(self._previous, self._entry.body)

    def get(self, codec: Codec, *, wants_delta: bool, has_previous: bool) -> Encoded:
        """Return it for a client: plain, or (`wants_delta`) as a patch when it `has_previous` and that is shorter."""
        patched = wants_delta and has_previous and self._patch is not None
        key = (codec.name, wants_delta, patched)
        made = self._made.get(key)
        if made is None:
            data: bytes | None = self._patch if patched else None
            if wants_delta and codec.text:
                data = delta.as_json_string(self._entry.body if data is None else data)
            pub = publication(self._entry, data, is_delta=patched)
            made = self._made[key] = encoded(codec, Reply(push=Push(channel=self._channel, pub=pub)))
        return made


def chained(entries: list[Entry], codec: Codec, *, wants_delta: bool) -> list[Publication]:
    """Return recovered events as publications; for delta subscribers the first in full, the others as patches."""
    if not wants_delta:
        return [publication(entry) for entry in entries]
    forms = delta.chain([entry.body for entry in entries])
    return [
        publication(entry, delta.as_json_string(data) if codec.text else data, is_delta=is_delta)
        for entry, (data, is_delta) in zip(entries, forms, strict=True)
    ]
