"""What a subscriber is told about its position (pure).

Protocol reference 1.7: success means same epoch (an empty one means any), the first missed event follows the client's
position, the last is the top, and none is left out. Anything else is `recovered: false` with the current position;
never a part.
"""

from gateway.publications import chained
from gateway.ring import Entry, Ring
from protocol.client import SubscribeRequest, SubscribeResult
from protocol.frames import Codec


def is_complete(missed: list[Entry], after: int, top: int) -> bool:
    """Tell whether `missed` is exactly after+1 .. top."""
    return [entry.offset for entry in missed] == list(range(after + 1, top + 1))


def completed(missed: list[Entry] | None, after: int, ring: Ring) -> list[Entry] | None:
    """Return `missed` with what the ring got since, if that is the whole range up to its top; else None."""
    if missed is None:
        return None
    reached = missed[-1].offset if missed else after
    since = ring.after(reached)
    if since is None:
        return None
    whole = missed + since
    return whole if is_complete(whole, after, ring.top) else None


def kept_since(entries: list[Entry], oldest: float) -> bool:
    """Tell whether all of `entries` are young enough to be history: stored at `oldest` (s since the epoch) or later."""
    return all(entry.stored_at >= oldest for entry in entries)


def fresh(epoch: str, top: int, *, recoverable: bool, was_recovering: bool = False) -> SubscribeResult:
    """Return the result for a subscriber that starts at the top, or could not be brought there without a hole."""
    return SubscribeResult(
        recoverable=recoverable,
        positioned=recoverable,
        epoch=epoch,
        offset=top,
        was_recovering=was_recovering,
        recovered=False,
    )


def recovered(
    request: SubscribeRequest, epoch: str, missed: list[Entry], codec: Codec, *, wants_delta: bool
) -> SubscribeResult:
    """Return the result that carries every missed event; `offset` is the client's own, which they lead on from."""
    return SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=epoch,
        offset=request.offset,
        publications=chained(missed, codec, wants_delta=wants_delta),
        recovered=True,
        was_recovering=True,
    )
