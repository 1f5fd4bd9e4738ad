"""Events of the log as publications of the client protocol, encoded once for all who receive them (pure).

A push is encoded when the first client needs it in its encoding, and the bytes are shared by all others.
"""

from collections.abc import Callable
from functools import lru_cache

import msgspec
from msgspec import Raw

from gateway import delta
from gateway.ring import Entry
from protocol.client import ClientInfo, Publication, Push, Reply
from protocol.client_json import is_json
from protocol.frames import Codec

_info = lru_cache(maxsize=4096)(msgspec.json.Decoder(ClientInfo).decode)
"""Who publishes once does so again."""
_tags = msgspec.json.Decoder(dict[str, str])


class Encoded(msgspec.Struct, gc=False):
    """A reply in one encoding."""

    codec: Codec
    payload: bytes


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
        info: ClientInfo | None = _info(entry.info)
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

    __slots__ = ("_channel", "_is_json", "_made", "_patch", "_previous", "entry", "on_sockets", "size")

    def __init__(self, channel: str, entry: Entry, previous: bytes | None) -> None:
        """`previous` is the body of the event before, which patches apply to; None when it is not at hand."""
        self._channel = channel
        self._previous = previous
        self._patch: bytes | None = None
        self._is_json: bool | None = None
        self._made: dict[tuple[str, bool, bool], Encoded] = {}
        self.entry = entry
        self.size = len(entry.body) + 100
        """About how many bytes it has on a wire."""
        self.on_sockets: Callable[[], None] | None = None
        """Called when every follower has it."""

    @property
    def is_json(self) -> bool:
        """Whether JSON clients can be sent the data."""
        if self._is_json is None:
            self._is_json = is_json(self.entry.body)
        return self._is_json

    def _patched(self) -> bytes | None:
        """Return the patch against the event before, if there is one that is shorter than the whole."""
        if self._previous is not None:
            self._patch = delta.patch(self._previous, self.entry.body)
            self._previous = None  # made once
        return self._patch

    def get(self, codec: Codec, *, wants_delta: bool, has_previous: bool) -> Encoded:
        """Return it for a client: plain, or (`wants_delta`) as a patch when it `has_previous` and that is shorter."""
        patched = wants_delta and has_previous and self._patched() is not None
        key = (codec.name, wants_delta, patched)
        made = self._made.get(key)
        if made is None:
            data: bytes | None = self._patch if patched else None
            if wants_delta and codec.text:
                data = delta.as_json_string(self.entry.body if data is None else data)
            pub = publication(self.entry, data, is_delta=patched)
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
