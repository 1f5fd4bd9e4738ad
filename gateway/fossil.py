"""Deltas in Fossil's format: how to make a target out of a source the reader already has (pure).

The format (https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki): the target's size and a line feed; then
`size@offset,` to copy from the source or `size:bytes` to insert; at the end the target's checksum and a semicolon.
Numbers are in base 64.

What the target begins and ends with in the source is found first: most changes lie in one place. For the part between,
every block of the source is put into a table, and the target is looked up in it byte by byte. Each step forward costs
a bounded amount, and each copy found costs about its own length, so time grows with the two lengths, never with their
product, whatever they hold. None of this is asked for best compression.
"""

from collections.abc import Iterator
from itertools import islice
from zlib import adler32

_DIGITS = [bytes([digit]) for digit in b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~"]
_LEAST = 8
"""Bytes from which on a copy is shorter than the text itself, which would join the text around it."""
_SMALL = 2048
"""Up to this size a source is cut into blocks of 8 bytes, to find more; above into 16, to be quick."""
_NEAR = 1024
"""How far behind the last copy the next is looked for: equal blocks are common, the following one is likely right."""
_PATIENCE = 8
"""After 2**8 bytes that were not found, the search strides faster, and faster again after as many."""
_MOST_COPIES = 512
"""Copies looked for at most. Texts that differ in more places are no likely pair, and each copy costs microseconds."""


def create(source: bytes, target: bytes) -> bytes:
    """Return the delta that makes `target` of `source`; both may be anything, and it may be longer than `target`.

    No copy cuts a UTF-8 character in two, so the delta of two UTF-8 texts is UTF-8 itself.
    """
    parts = [_number(len(target)), b"\n"]
    done = 0
    for match in _matches(source, target):
        start, end = _whole_characters(target, match[0], match[0] + match[2])
        if end - start < _LEAST:
            continue
        if start > done:
            parts += _number(start - done), b":", target[done:start]
        parts += _number(end - start), b"@", _number(match[1] + start - match[0]), b","
        done = end
    if done < len(target):
        parts += _number(len(target) - done), b":", target[done:]
    parts += _number(checksum(target)), b";"
    return b"".join(parts)


def checksum(text: bytes) -> int:
    """Return the sum of `text` as big-endian 32-bit words, filled up with zeros, modulo 2**32."""
    total = 0
    for column in range(4):
        total = (total << 8) + _sum(text[column::4])
    return total & 0xFFFFFFFF


def _sum(text: bytes) -> int:
    """Return the sum of the bytes. The low half of an Adler-32 is just that while it stays below 65521."""
    if len(text) <= 256:
        return adler32(text, 0) & 0xFFFF
    return sum([adler32(text[at : at + 256], 0) & 0xFFFF for at in range(0, len(text), 256)])


def _number(value: int) -> bytes:
    return _DIGITS[value] if value < 64 else _number(value >> 6) + _DIGITS[value & 63]


def _matches(source: bytes, target: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield what both hold: (place in target, place in source, length), in the target's order, not overlapping."""
    head = _alike(source, 0, target, 0)
    yield 0, 0, head
    tail = _alike(source[head:][::-1], 0, target[head:][::-1], 0)
    yield from islice(_between(source, target, head, len(target) - tail), _MOST_COPIES)
    yield len(target) - tail, len(source) - tail, tail


def _between(source: bytes, target: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield what of target[start:end] is somewhere in `source`."""
    size = 8 if len(source) <= _SMALL else 16
    if end - start < size or len(source) < size:
        return
    places = {source[at : at + size]: at for at in range(len(source) - size, -1, -size)}
    at, expected = start, start  # before the first copy, what differs is likely as long on both sides
    while at + size <= end:
        block = target[at : at + size]
        place = places.get(block)
        if place is None:
            at += 1 + (at - start >> _PATIENCE) * 2  # odd, so that no alignment of the blocks is left out
            continue
        length = _alike(source, place, target, at)
        near = source.find(block, expected, expected + _NEAR)
        if near >= 0 and near != place and (longer := _alike(source, near, target, at)) > length:
            place, length = near, longer
        length = min(length, end - at)
        while at > start and place and target[at - 1] == source[place - 1]:
            at, place, length = at - 1, place - 1, length + 1
        yield at, place, length
        start = at = at + length
        expected = place + length


def _alike(one: bytes, i: int, other: bytes, j: int) -> int:
    """Return how many bytes are the same from one[i] and other[j] on, in time that grows with their number."""
    most = min(len(one) - i, len(other) - j)
    same, step = 0, 32
    while same < most:
        until = min(same + step, most)
        a, b = one[i + same : i + until], other[j + same : j + until]
        if a != b:
            apart = int.from_bytes(a, "big") ^ int.from_bytes(b, "big")
            return until - (apart.bit_length() + 7) // 8
        same, step = until, min(step * 2, 1024)
    return same


def _whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    """Return the range without the parts of characters at its ends: at most three bytes each, if `text` is UTF-8."""
    first, last = min(start + 3, end), max(end - 3, start)
    while start < first and text[start] & 0xC0 == 0x80:
        start += 1
    while last < end < len(text) and text[end] & 0xC0 == 0x80:
        end -= 1
    return start, end
