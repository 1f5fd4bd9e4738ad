"""The rules for what a person writes: message texts and room names. Pure.

Both come out in Unicode normalisation form C, so that two spellings that look the same are the same. What could forge
the look of a page or of a log is dropped from texts, which a person may have pasted, and refused in names, which other
people must be able to trust.
"""

import re
import unicodedata

MAX_TEXT_BYTES = 4096
"""Longest message text in UTF-8; part of the client protocol (error 413), hence no setting."""
MAX_NAME_CHARACTERS = 80
"""Longest name of a room or of a person."""
MAX_MARKS = 8
"""Combining marks kept in a row: more than any orthography stacks, less than it takes to paint over other lines."""

_NEW_LINES = re.compile(r"\r\n?")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 and C1 without tab and new line
_BIDI_OVERRIDES = re.compile(r"[\u202a-\u202e\u2066-\u2069]")  # embeddings, overrides, isolates (UAX 9)
_FORBIDDEN_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class BadText(ValueError):
    """A text or name breaks a rule; the message says which, never what was written."""


class TextTooLong(BadText):
    """A message text is longer than `MAX_TEXT_BYTES`."""


def message_text(written: str) -> str:
    """Return `written` as it is stored: cleaned, normalised, trimmed. Raise `BadText` or `TextTooLong`."""
    text = _CONTROLS.sub("", _NEW_LINES.sub("\n", written))
    if not text.isascii():
        text = _few_marks(unicodedata.normalize("NFC", _BIDI_OVERRIDES.sub("", text)))
    text = text.strip()
    if not _visible(text):
        raise BadText("text is empty")
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise TextTooLong("text is too long")
    return text


def room_name(written: str) -> str:
    """Return `written` as a room's name: normalised and trimmed. Raise `BadText`."""
    name = _few_marks(unicodedata.normalize("NFC", written)).strip()
    if _FORBIDDEN_IN_NAMES.search(name):
        raise BadText("name has control characters")
    if not _visible(name):
        raise BadText("name is empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise BadText(f"name has more than {MAX_NAME_CHARACTERS} characters")
    return name


def display_name(given: str, user: str) -> str:
    """Return the name `given` to `user` as it may stand in an event: a line without controls, else the user's id.

    The auth service has rules of its own; a team's own identity provider may have none.
    """
    name = _FORBIDDEN_IN_NAMES.sub("", given).strip()[:MAX_NAME_CHARACTERS]
    return name if _visible(name) else user


def _visible(text: str) -> bool:
    """Tell whether anything of `text` can be seen: unassigned characters count, a newer Unicode may draw them."""
    return any(unicodedata.category(char) not in ("Zs", "Zl", "Zp", "Cc", "Cf") for char in text)


def _few_marks(text: str) -> str:
    """Drop combining marks beyond `MAX_MARKS` in a row."""
    kept = []
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        if marks <= MAX_MARKS:
            kept.append(char)
    return "".join(kept)
