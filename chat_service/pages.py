"""Answers that fit into one NATS message: a list is cut, never dropped as a whole."""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

MOST_BYTES = 96 * 1024
"""Of one list in an answer; NATS takes 128 KiB (nats.conf), and the rest of the answer needs some of it."""

One = TypeVar("One", bound=msgspec.Struct)


def first_that_fit(items: Sequence[One]) -> list[One]:
    """Return as many of `items` as an answer can carry, from the first on; one at least, if there is one."""
    size = 0
    for count, item in enumerate(items):
        size += len(msgspec.json.encode(item)) + 1
        if size > MOST_BYTES and count:
            return list(items[:count])
    return list(items)
