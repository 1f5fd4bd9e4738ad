"""What a subscriber that asked for deltas is sent (pure). Protocol reference 1.8.

The client applies a patch to the publication it was sent last on that channel, whatever kind that was. So the first one
after every (re)subscribe is whole, be it recovered or live, and each later one may be a patch against the one before.
Whole or patch, to such a subscriber the data in JSON is always a string; in Protobuf it is the bytes themselves.
"""

import msgspec

from gateway import fossil


def is_agreed(asked: str, *, allowed: bool) -> bool:
    """Tell whether a subscription that asked for deltas of this kind gets them; of an unknown kind it gets none."""
    return allowed and asked == "fossil"


def patch(previous: bytes | None, current: bytes) -> bytes | None:
    """Return what makes `current` of `previous`; None when `current` must be sent whole.

    That is so when the subscriber has nothing to apply a patch to (`previous` is None), when the patch would not be
    shorter, and when it could not travel in a JSON string because it is not UTF-8.
    """
    if previous is None:
        return None
    made = fossil.create(previous, current)
    return made if len(made) < len(current) and _is_text(made) else None


def chain(bodies: list[bytes]) -> list[tuple[bytes, bool]]:
    """Return recovered publications as they are sent: (what to send, whether it is a patch). The first is whole.

    The last of `bodies` is what the next live publication may be patched against; with none, that one goes out whole.
    """
    sent = []
    previous: bytes | None = None
    for body in bodies:
        made = patch(previous, body)
        sent.append((body, False) if made is None else (made, True))
        previous = body
    return sent


def as_json_string(body: bytes) -> bytes:
    """Return `body`, whole or a patch, as a JSON string; raise `UnicodeDecodeError` if it is not UTF-8."""
    return msgspec.json.encode(body.decode())


def _is_text(made: bytes) -> bool:
    try:
        made.decode()
    except UnicodeDecodeError:
        return False
    return True
