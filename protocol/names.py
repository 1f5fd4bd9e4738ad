"""The grammar of ids that become subject tokens or channel names, and the making of new ids.

Every id that reaches a NATS subject passes through here first. The alphabets are chosen so that no id can hold a
subject separator (`.`), a wildcard (`*`, `>`), white space, a control character or a non-ASCII letter.
"""

import base64
import re
import secrets

_ID = re.compile(r"[a-z0-9]{1,32}\Z")
_CLIENT_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_ROOM_CHANNEL = re.compile(r"room:([a-z0-9]{1,32})\Z")
_USER_CHANNEL = re.compile(r"user:([a-z0-9]{1,32})\Z")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,255}\Z")
_NEW_ID_LENGTH = 20

MAX_CHANNEL_LENGTH = 255
"""Longest channel name a client may send, in characters (protocol reference, 1.3)."""

GENERAL_ROOM = "general"
"""The room that exists in every deployment and that every user may join."""


class BadName(ValueError):
    """An id or a channel name does not follow the grammar."""


def new_id() -> str:
    """Return a fresh random id of 20 characters (100 bits) from `a-z2-7`."""
    return base64.b32encode(secrets.token_bytes(13))[:_NEW_ID_LENGTH].decode().lower()


def is_id(text: str) -> bool:
    """Tell whether `text` may be a room, user, session, client or gateway id: 1 to 32 of `a-z0-9`."""
    return _ID.match(text) is not None


def require_id(text: str) -> str:
    """Return `text` unchanged if it is an id; raise `BadName` otherwise."""
    if not is_id(text):
        raise BadName("an id is 1 to 32 characters of a-z and 0-9")
    return text


def is_client_message_id(text: str) -> bool:
    """Tell whether `text` may be the id a client gives its message: 1 to 64 of `A-Za-z0-9_-`."""
    return _CLIENT_MESSAGE_ID.match(text) is not None


def room_channel(room: str) -> str:
    """Return the channel that carries the events of `room`."""
    return f"room:{require_id(room)}"


def user_channel(user: str) -> str:
    """Return the channel of what concerns one user."""
    return f"user:{require_id(user)}"


def room_of_channel(channel: str) -> str | None:
    """Return the room id of a room channel, or None when `channel` is not one (another namespace, or a bad id)."""
    match = _ROOM_CHANNEL.match(channel)
    return match.group(1) if match else None


def user_of_channel(channel: str) -> str | None:
    """Return the user id of a user channel, or None when `channel` is not one."""
    match = _USER_CHANNEL.match(channel)
    return match.group(1) if match else None


def is_channel(channel: str) -> bool:
    """Tell whether `channel` may be a channel at all: 1 to 255 printable ASCII characters without spaces."""
    return _PRINTABLE.match(channel) is not None


def namespace_of(channel: str) -> str:
    """Return the part of `channel` before its first colon; empty when there is none."""
    namespace, colon, _ = channel.partition(":")
    return namespace if colon else ""
