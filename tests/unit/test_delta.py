"""What a subscriber that asked for deltas is sent, and that the official SDK's reader makes the publications of it."""

import json

import pytest
from centrifuge.fossil import apply_delta
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.delta import as_json_string, chain, is_agreed, patch

WORDS = st.lists(
    st.sampled_from(["a", "the", "привет", "你好", "🟢", "🔴", "é", "è", '"', "\\", "\n", "\u2028"]), max_size=30
)
BODIES = st.lists(
    WORDS.map(lambda words: json.dumps({"v": 1, "words": words}, ensure_ascii=False).encode()), max_size=12
)
LONG = b'{"text":"' + b"test message which is long enough for a patch " * 3 + b'"}'


@pytest.mark.parametrize(
    ("asked", "allowed", "agreed"),
    [("fossil", True, True), ("fossil", False, False), ("", True, False), ("vcdiff", True, False)],
)
def test_deltas_are_sent_to_who_asked_where_allowed(asked: str, allowed: bool, agreed: bool) -> None:
    """A subscriber gets deltas when it asked for the kind we have and the channel allows them."""
    assert is_agreed(asked, allowed=allowed) is agreed


def test_without_a_base_there_is_no_patch() -> None:
    """A subscriber that was sent nothing yet is sent the whole publication."""
    assert patch(None, LONG) is None


def test_the_same_again_is_a_patch() -> None:
    """A repeated publication is the cheapest."""
    made = patch(LONG, LONG)
    assert made is not None
    assert len(made) < 20
    assert apply_delta(LONG, made) == LONG


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_patch_is_shorter_and_text(previous: bytes, current: bytes) -> None:
    """Whatever the bytes, a patch is shorter than the publication, is UTF-8 and makes the publication."""
    made = patch(previous, current)
    if made is not None:
        assert len(made) < len(current)
        assert apply_delta(previous, made.decode().encode()) == current


@pytest.mark.parametrize(
    ("previous", "current"),
    [(LONG, b"{}"), (b"{}", LONG), (b"", b""), (LONG, b""), (LONG, b'{"text":"nothing the same at all"}')],
)
def test_what_a_patch_would_not_shorten_is_sent_whole(previous: bytes, current: bytes) -> None:
    """Publications that are short, or have nothing in common, are not patched."""
    assert patch(previous, current) is None


def test_a_patch_that_is_not_text_is_not_sent() -> None:
    """Bytes that no JSON string can carry go out whole."""
    assert patch(LONG, LONG + b"\xff\xfe") is None


@settings(deadline=None)  # the SDK's reader takes its time
@given(BODIES)
def test_json_readers_get_every_publication(bodies: list[bytes]) -> None:
    """A JSON client that was sent the chain, each part as a string, has every publication as it was published."""
    base = b""
    for body, (part, is_patch) in zip(bodies, chain(bodies), strict=True):
        text = json.loads(as_json_string(part))
        assert isinstance(text, str)
        base = apply_delta(base, text.encode()) if is_patch else text.encode()
        assert base == body


@settings(deadline=None)  # the SDK's reader takes its time
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_protobuf_readers_get_every_publication(bodies: list[bytes]) -> None:
    """A Protobuf client that was sent the chain as bytes has every publication, JSON or not."""
    base = b""
    for body, (part, is_patch) in zip(bodies, chain(bodies), strict=True):
        base = apply_delta(base, part) if is_patch else part
        assert base == body


def test_a_chain_begins_whole() -> None:
    """The first recovered publication is whole, those after it are patches where these are shorter."""
    bodies = [LONG, LONG.replace(b"long", b"large"), b"{}", LONG, LONG]
    sent = chain(bodies)
    assert [is_patch for _, is_patch in sent] == [False, True, False, False, True]
    assert sent[0][0] == LONG
    assert chain([]) == []


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_strings_carry_every_text_on_one_line(text: str) -> None:
    """Every UTF-8 text comes back from its JSON string, which holds no line feed: that is what separates replies."""
    string = as_json_string(text.encode())
    assert json.loads(string) == text
    assert b"\n" not in string


@pytest.mark.parametrize("body", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x80abc"])
def test_what_is_not_text_is_refused(body: bytes) -> None:
    """Bytes that are not UTF-8, lone surrogates among them, raise instead of reaching a reader changed."""
    with pytest.raises(UnicodeDecodeError):
        as_json_string(body)
