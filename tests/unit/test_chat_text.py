"""The rules for what a person writes."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat_service.text import MAX_TEXT_BYTES, BadText, TextTooLong, display_name, message_text, room_name

written = st.text(st.characters(exclude_categories=("Cs",)), max_size=200)


@given(written)
def test_a_cleaned_text_is_clean(text: str) -> None:
    """What is stored has no controls or overrides, is normalised and trimmed, and cleaning it again changes nothing."""
    try:
        clean = message_text(text)
    except BadText:
        return
    assert not any(unicodedata.category(char) == "Cc" and char not in "\n\t" for char in clean)
    assert not any(char in clean for char in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert unicodedata.is_normalized("NFC", clean)
    assert clean == clean.strip()
    assert message_text(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  hello \n", "hello"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("tab\tstays", "tab\tstays"),
        ("bell\x07 escape\x1b[31m nul\x00 next\x85line", "bell escape[31m nul nextline"),
        ("e\u0301", "\u00e9"),
        ("e\u202e\u0301", "\u00e9"),
        ("abc\u202edef", "abcdef"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        ("z" + "\u0327" * 50, "z" + "\u0327" * 8),
        ("שלום\u200f", "שלום\u200f"),
    ],
)
def test_texts_are_cleaned(text: str, clean: str) -> None:
    """Controls and overrides go, line ends become one kind, and what scripts and emoji need stays."""
    assert message_text(text) == clean


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00\x1b", "\u202e", "\u200b\u200b", "\u2028", "\ufeff"])
def test_an_invisible_text_is_refused(text: str) -> None:
    """A message of which nothing can be seen is none."""
    with pytest.raises(BadText, match="empty"):
        message_text(text)


def test_the_length_is_that_of_the_cleaned_utf8() -> None:
    """4096 bytes pass, one more does not, whatever surrounds them."""
    assert message_text(" " * 100 + "é" * (MAX_TEXT_BYTES // 2) + "\x00") == "é" * (MAX_TEXT_BYTES // 2)
    with pytest.raises(TextTooLong):
        message_text("é" * (MAX_TEXT_BYTES // 2) + "x")


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "x" * 81, "a\nb", "a\x00b", "a\u202eb", "a\u2066b", "a\u2028b"])
def test_bad_room_names_are_refused(name: str) -> None:
    """A name that is empty, too long, or that could forge the look of a page is refused, not mended."""
    with pytest.raises(BadText):
        room_name(name)


@pytest.mark.parametrize(("name", "clean"), [(" Café ", "Café"), ("Cafe\u0301", "Café"), ("x" * 80, "x" * 80)])
def test_room_names_are_normalised(name: str, clean: str) -> None:
    """Names are trimmed and composed; 80 characters fit."""
    assert room_name(name) == clean


@given(written)
def test_every_user_has_a_name_that_can_be_shown(name: str) -> None:
    """Whatever an identity provider says, an event carries one visible line."""
    shown = display_name(name, "ada")
    assert 0 < len(shown) <= 80
    assert not any(unicodedata.category(char) in ("Cc", "Zl", "Zp") for char in shown)
