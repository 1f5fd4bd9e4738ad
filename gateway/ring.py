"""The recent events of one channel, in order and without a hole (pure)."""

from collections import deque

import msgspec


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event as it is kept and handed out.

    `sequence` is its place in the stream (0: not stored), `stored_at` when it got there (seconds since the epoch),
    `body` what subscribers get as data, `info` a ClientInfo in JSON, `tags` a JSON object; either may be empty.
    """

    offset: int
    sequence: int
    type: str
    user: str
    client: str
    body: bytes
    stored_at: float = 0.0
    info: bytes = b""
    tags: bytes = b""


class Ring:
    """The newest events up to `top`, bounded in number and bytes; the oldest give way."""

    __slots__ = ("_bytes", "_entries", "_most", "_most_bytes", "sequence", "top")

    def __init__(self, top: int, sequence: int, *, most: int, most_bytes: int) -> None:
        self.top = top
        self.sequence = sequence
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._entries: deque[Entry] | None = None  # most channels, those of users above all, are silent

    def append(self, entry: Entry) -> None:
        """Add the next event; raise `ValueError` unless its offset is exactly top + 1."""
        if entry.offset != self.top + 1:
            raise ValueError(f"offset {entry.offset} after {self.top}")
        self.top = entry.offset
        self.sequence = entry.sequence
        if self._entries is None:
            self._entries = deque()
        self._entries.append(entry)
        self._bytes += len(entry.body)
        while len(self._entries) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._entries.popleft().body)

    @property
    def oldest(self) -> Entry | None:
        """The oldest event still here."""
        return self._entries[0] if self._entries else None

    def after(self, offset: int) -> list[Entry] | None:
        """Return the events with offsets offset+1 .. top, or None when the oldest of them are no longer here."""
        count = self.top - offset
        if count <= 0:
            return []
        if self._entries is None or count > len(self._entries):
            return None
        return [self._entries[i] for i in range(len(self._entries) - count, len(self._entries))]
