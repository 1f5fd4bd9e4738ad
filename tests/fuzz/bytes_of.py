"""Bytes as an attacker makes them: whole and valid ones, spoilt in a few places, and cut anywhere."""

import itertools

from hypothesis import strategies as st

_LONG = [b"9" * 5000, b"[" * 3000, b"\r\n", b"\n", b"\\ud800", b"\0"]
_BITS = st.binary(min_size=1, max_size=12) | st.sampled_from(_LONG)
_SPOILS = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 10_000), st.integers(1, 255)),
    st.tuples(st.just("insert"), st.integers(0, 10_000), _BITS),
    st.tuples(st.just("drop"), st.integers(0, 10_000), st.integers(1, 40)),
    st.tuples(st.just("repeat"), st.integers(0, 10_000), st.integers(1, 40)),
)


def spoilt(valid: st.SearchStrategy[bytes], most: int = 4) -> st.SearchStrategy[bytes]:
    """Return valid bytes with up to `most` faults."""
    return st.builds(_spoil, valid, st.lists(_SPOILS, max_size=most))


def _spoil(data: bytes, faults: list[tuple[str, int, int | bytes]]) -> bytes:
    for kind, where, what in faults:
        at = where % (len(data) + 1)
        before, after = data[:at], data[at:]
        if isinstance(what, bytes):
            data = before + what + after
        elif kind == "flip" and after:
            data = before + bytes([after[0] ^ what]) + after[1:]
        elif kind == "drop":
            data = before + after[what:]
        elif kind == "repeat":
            data = before + after[:what] * 2 + after[what:]
    return data


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return `data` cut at these places (modulo its length)."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


CUTS = st.lists(st.integers(0, 100_000), max_size=12)
