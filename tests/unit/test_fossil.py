"""Deltas in Fossil's format, judged by the reader of the official SDK."""

import time

import pytest
from centrifuge.fossil import apply_delta
from centrifuge.fossil import checksum as checksum_of_sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fossil import checksum, create

BYTES = st.binary(max_size=200)
REPETITIVE = st.lists(
    st.sampled_from([b"a", b"ab", b"\x80", b'{"id":1,"name":"x"},', b"0123456789abcdef"]), max_size=60
)
TEXT = st.text(st.sampled_from('ab",:{}é è中🟢🔴') | st.characters(exclude_categories=["Cs"]), max_size=80)
EDIT = st.tuples(st.integers(0, 1500), st.integers(0, 60), TEXT)


def edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    """Replace pieces: (where, how many characters, by what)."""
    for where, length, by in edits:
        at = where % (len(text) + 1)
        text = text[:at] + by + text[at + length :]
    return text


@given(BYTES, BYTES)
def test_any_bytes_are_made_of_any_bytes(source: bytes, target: bytes) -> None:
    """Whatever the two are, the delta makes exactly the target."""
    assert apply_delta(source, create(source, target)) == target


@given(REPETITIVE, REPETITIVE)
def test_repetitive_bytes_are_made_of_one_another(source: list[bytes], target: list[bytes]) -> None:
    """Equal blocks everywhere do not lead astray."""
    assert apply_delta(b"".join(source), create(b"".join(source), b"".join(target))) == b"".join(target)


@settings(deadline=None)  # the SDK's reader takes its time
@given(st.binary(min_size=300, max_size=6000), st.lists(st.tuples(st.integers(0, 6000), st.integers(0, 6000))))
def test_moved_pieces_are_made(source: bytes, pieces: list[tuple[int, int]]) -> None:
    """A target put together from pieces of the source in any order comes out right."""
    target = b"".join(source[min(piece) : max(piece)] for piece in pieces)[:12000]
    assert apply_delta(source, create(source, target)) == target


@settings(deadline=None)  # the SDK's reader takes its time
@given(TEXT, st.integers(1, 60), st.lists(EDIT, min_size=1, max_size=6))
def test_the_delta_of_texts_is_a_text(part: str, times: int, edits: list[tuple[int, int, str]]) -> None:
    """However text is edited, no character is cut: the delta survives being a string on its way."""
    source = part * times
    target = edited(source, edits)
    delta = create(source.encode(), target.encode()).decode()
    assert apply_delta(source.encode(), delta.encode()) == target.encode()


@pytest.mark.parametrize(
    ("before", "after"),
    [("é", "è"), ("é", "ũ"), ("中", "串"), ("中", "㸭"), ("🟢", "🔴"), ("🟢", "🐢"), ("привет", "приват"), ("й", "")],
)
def test_characters_that_share_bytes_stay_whole(before: str, after: str) -> None:
    """One character replaced by another that begins or ends with the same bytes is inserted whole."""
    source = ('{"text":"' + "w" * 100 + before + "z" * 100 + '"}').encode()
    target = ('{"text":"' + "w" * 100 + after + "z" * 100 + '"}').encode()
    delta = create(source, target)
    assert apply_delta(source, delta.decode().encode()) == target
    assert len(delta) < 40


@pytest.mark.parametrize(
    ("source", "target", "delta"),
    [
        (b"", b"", b"0\n0;"),
        (b"abc", b"", b"0\n0;"),
        (b"", b"abc", b"3\n3:abc1XObC0;"),
        (b"a" * 64, b"a" * 64, b"10\n10@0,M5XOG;"),
    ],
)
def test_the_format_is_the_published_one(source: bytes, target: bytes, delta: bytes) -> None:
    """Size, segments and checksum stand as the format's description wants them (sums done by hand)."""
    assert create(source, target) == delta


@given(st.binary(max_size=3000))
def test_the_checksum_is_the_readers(text: bytes) -> None:
    """Writer and reader sum up alike."""
    assert checksum(text) == checksum_of_sdk(text)


@pytest.mark.parametrize("size", [255, 256, 257, 1023, 1024, 1025, 65536])
def test_the_checksum_does_not_overflow(size: int) -> None:
    """The largest bytes there are add up to what they should."""
    assert checksum(b"\xff" * size) == checksum_of_sdk(b"\xff" * size)


def test_a_damaged_base_is_noticed() -> None:
    """A reader whose source differs does not take the result for the target."""
    source = b"0123456789" * 20
    delta = create(source, source + b"more")
    with pytest.raises(ValueError, match="bad checksum"):
        apply_delta(b"9" + source[1:], delta)


def scattered(places: int) -> tuple[bytes, bytes]:
    """A list of `places` * 3 items of about 80 bytes, and the same with every third changed in the middle."""
    items = [
        f'{{"id":{i * 7919},"title":"The item with the number {i * 104729}","count":{i}}},' for i in range(places * 3)
    ]
    changed = [item.replace("number", "numeral") if i % 3 == 0 else item for i, item in enumerate(items)]
    return "".join(items).encode(), "".join(changed).encode()


@pytest.mark.parametrize(("places", "most"), [(1, 30), (5, 100), (50, 1000)])
def test_small_changes_make_small_deltas(places: int, most: int) -> None:
    """Each place that changed costs a few bytes, wherever the places are."""
    source, target = scattered(places)
    delta = create(source, target)
    assert apply_delta(source, delta) == target
    assert len(delta) < most


def test_what_is_appended_is_made_of_what_was_there() -> None:
    """A list that grows by what it holds already is copied twice."""
    source, _ = scattered(20)
    assert len(create(source, source + source[1000:4000])) < 30


def test_of_equal_places_the_following_one_is_copied() -> None:
    """Where every item has the same words, copying goes on after the last copy, not at the first item that has them."""
    names = [f'"key":"{i * 104729 % 1000003:06}","count":' for i in range(40)]
    source = "".join(f'{{"words":"that each item has",{name}{100 + i}}},' for i, name in enumerate(names)).encode()
    target = "".join(f'{{"words":"that each item has",{name}{9 * i}}},' for i, name in enumerate(names)).encode()
    delta = create(source, target)
    assert apply_delta(source, delta) == target
    assert len(delta) < 40 * 14


def test_nothing_is_copied_from_before_the_beginning() -> None:
    """A piece from the source's first byte on, after a byte like the source's last, is copied from the first."""
    source = bytes(range(32, 64)) + b"z"
    target = b"az" + bytes(range(32, 64)) + b"a"
    delta = create(source, target)
    assert apply_delta(source, delta) == target
    assert b"W@0," in delta


def test_copies_are_counted() -> None:
    """Of texts that share thousands of pieces in another order only so many are looked for."""
    pieces = [f"{i * 7919:016}" for i in range(4000)]
    source, target = "".join(pieces).encode(), "-".join(reversed(pieces)).encode()
    delta = create(source, target)
    assert apply_delta(source, delta) == target
    assert 400 < delta.count(b"@") < 520


BLOCKS = [bytes((i * 31 + k * 17 + i // 256) % 256 for k in range(16)) for i in range(4096)]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (b"a" * 65536, b"a" * 65000),
        (b"a" * 65536, (b"a" * 17 + b"c") * 3600),
        (b"a" * 2000, (b"a" * 8 + b"c") * 7200),
        (b"ab" * 32768, b"ba" * 32000 + b"x"),
        (b"\x80" * 65536, b"x" + b"\x80" * 65000 + b"x" + b"\x80" * 400),
        ((b"a" * 15 + b"b") * 4096, (b"a" * 15 + b"c") * 4096),
        (b"".join(BLOCKS), b"x".join(reversed(BLOCKS))),
        (b"".join(BLOCKS)[:2000], b"x".join(block[:8] for block in reversed(BLOCKS))),
        (b"\xff" * 65536, bytes(range(255)) * 256),
    ],
    ids=["one byte", "cut runs", "short cut runs", "shifted", "continuation", "nearly", "shuffled", "pieces", "apart"],
)
def test_time_is_bounded(source: bytes, target: bytes) -> None:
    """64 KiB of whatever takes milliseconds; comparing everything with everything would take minutes."""
    begun = time.thread_time()
    delta = create(source, target)
    assert time.thread_time() - begun < 0.5
    assert apply_delta(source, delta) == target
    assert len(delta) < len(target) * 1.01 + 20
