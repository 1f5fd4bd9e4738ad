"""The grammar of usernames and guest names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.names import BadName, fold_username, guest_name


@pytest.mark.parametrize(("typed", "folded"), [("Ann", "ann"), ("a.b-c_9", "a.b-c_9"), ("X" * 32, "x" * 32)])
def test_username(typed: str, folded: str) -> None:
    """Case folds, and nothing else changes."""
    assert fold_username(typed) == folded


@pytest.mark.parametrize(
    "text", ["", "ab", "x" * 33, "a b", " ann", "ann ", "ann\n", "\u00e4nn", "\u212aate", "a/b", "a@b", "a*>"]
)
def test_no_username(text: str) -> None:
    """What is not of the grammar is refused, letters that fold into it included."""
    with pytest.raises(BadName):
        fold_username(text)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("Ann", "Ann"),
        ("  Ann \t Lee ", None),
        (" Ann   Lee ", "Ann Lee"),
        ("Zoe\u0308", "Zo\u00eb"),
        ("\u674e\u96f7", "\u674e\u96f7"),
        ("\U0001f469\u200d\U0001f680", "\U0001f469\u200d\U0001f680"),
        ("x" * 40, "x" * 40),
        ("x" * 41, None),
        ("", None),
        ("   ", None),
        ("\u200b", None),
        ("\u0301\u0301", None),
        ("a\u0000b", None),
        ("a\u001b[31mb", None),
        ("a\u202eb", None),
        ("a\u2066b", None),
        ("a\u2028b", None),
        ("a\ud800b", None),
        ("Z" + "\u0335" * 5, None),
    ],
)
def test_guest_name(typed: str, shown: str | None) -> None:
    """Names are shown in one form; what could hide, rearrange or overflow is refused."""
    if shown is not None:
        assert guest_name(typed) == shown
    else:
        with pytest.raises(BadName):
            guest_name(typed)


@given(st.text())
def test_guest_names_are_stable(text: str) -> None:
    """A shown name shows itself again unchanged, fits, and can be encoded."""
    try:
        shown = guest_name(text)
    except BadName:
        return
    assert guest_name(shown) == shown
    assert 1 <= len(shown) <= 40
    shown.encode()
