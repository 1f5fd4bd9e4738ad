"""What a room remembers of message ids too old for a receipt: enough to tell that an id is new. Pure.

A Bloom filter over the ids of those authors whose every message in the room is known. It has no false "new"; a false
"maybe old" costs a question to the archive. So the archive is asked once per author and room, not once per message, and
those who are talking go on talking while the database is away.
"""

from collections.abc import Iterable
from hashlib import blake2b

BITS = 1 << 19
"""Size of one filter: 64 KiB."""
CAPACITY = 50_000
"""Ids in a filter, beyond which more than about one answer in a hundred would be a false "maybe"."""
HASHES = 4


class KnownIds:
    """The ids of known authors."""

    def __init__(self) -> None:
        self._authors: set[str] = set()
        self.prolific: set[str] = set()
        """Authors of more messages than a filter is for: each of their ids is looked up, by itself."""
        self._bits = bytearray()
        self._count = 0

    def surely_new(self, user: str, client_id: str) -> bool:
        """Tell whether no message of `user` can have `client_id`."""
        if user not in self._authors:
            return False
        if not self._bits:
            return True
        return any(not self._bits[bit >> 3] & (1 << (bit & 7)) for bit in _positions(user, client_id))

    def learn(self, user: str, client_ids: Iterable[str]) -> None:
        """Know `user` from now on: `client_ids` are those of all their messages in the room so far."""
        if user in self._authors:
            return
        self._authors.add(user)
        for client_id in client_ids:
            self.add(user, client_id)

    def add(self, user: str, client_id: str) -> None:
        """Take in the id of a new message; of an author who is not known it is of no use."""
        if user not in self._authors:
            return
        if self._count >= CAPACITY:  # full: begin anew with whoever speaks next
            self._authors.clear()
            self._bits = bytearray()
            self._count = 0
            return
        if not self._bits:
            self._bits = bytearray(BITS >> 3)
        self._count += 1
        for bit in _positions(user, client_id):
            self._bits[bit >> 3] |= 1 << (bit & 7)


def _positions(user: str, client_id: str) -> list[int]:
    whole = int.from_bytes(blake2b(f"{user}.{client_id}".encode(), digest_size=4 * HASHES).digest())
    return [(whole >> (32 * i)) % BITS for i in range(HASHES)]
