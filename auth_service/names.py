"""The grammar of usernames and guest names (pure)."""

import re
import unicodedata

_USERNAME = re.compile(r"[A-Za-z0-9_.-]{3,32}\Z")
_COMBINING_RUN = 4
GUEST_NAME_MAX = 40

# Explicit directional formatting (Unicode UAX 9, 2.1 to 2.6): lets a name rearrange the text around it.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class BadName(ValueError):
    """The name does not follow its rule; the text says which, without the name."""


def fold_username(text: str) -> str:
    """Return the form in which usernames are compared; raise `BadName` for one that cannot exist.

    ASCII only before folding: the Kelvin sign folds to k, so folding first would let in other spellings of a name.
    """
    if not _USERNAME.match(text):
        raise BadName("username: 3 to 32 of a-z, 0-9, underscore, dot and hyphen")
    return text.lower()


def guest_name(text: str) -> str:
    """Return the name as it is shown: NFC, trimmed, white space collapsed; raise `BadName` when it may not be shown."""
    for letter in text:
        if unicodedata.category(letter) in ("Cc", "Cs", "Co", "Zl", "Zp") or letter in _BIDI:
            raise BadName("name: control, private and direction-changing characters are not allowed")
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= GUEST_NAME_MAX:
        raise BadName(f"name: 1 to {GUEST_NAME_MAX} characters")
    if all(unicodedata.category(letter)[0] in "ZCM" for letter in name):
        raise BadName("name: at least one visible character")
    if _longest_combining_run(name) > _COMBINING_RUN:
        raise BadName(f"name: at most {_COMBINING_RUN} combining marks in a row")
    return name


def _longest_combining_run(text: str) -> int:
    longest = run = 0
    for letter in text:
        run = run + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        longest = max(longest, run)
    return longest
