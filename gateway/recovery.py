"""What a subscriber that was away is told (pure).

Protocol reference 1.7: success means same epoch (an empty one means any), the first missed event follows the client's
position, the last is the top, and none is left out. Anything else is `recovered: false` with the current position;
never a part.
"""

from gateway.publications import publication
from gateway.ring import Entry
from protocol.client import SubscribeRequest, SubscribeResult


def may_recover(request: SubscribeRequest, epoch: str, top: int, limit: int) -> bool:
    """Tell whether the missed range is worth reading: right epoch, not from the future, not above `limit` events."""
    return request.epoch in ("", epoch) and 0 <= top - request.offset <= limit


def is_complete(missed: list[Entry], after: int, top: int) -> bool:
    """Tell whether `missed` is exactly after+1 .. top."""
    return [entry.offset for entry in missed] == list(range(after + 1, top + 1))


def fresh(epoch: str, top: int, *, was_recovering: bool = False) -> SubscribeResult:
    """Return the result for a subscriber that starts at the top, or could not be brought there without a hole."""
    return SubscribeResult(
        recoverable=True, positioned=True, epoch=epoch, offset=top, was_recovering=was_recovering, recovered=False
    )


def recovered(request: SubscribeRequest, epoch: str, missed: list[Entry]) -> SubscribeResult:
    """Return the result that carries every missed event; `offset` is the client's own, which they lead on from."""
    return SubscribeResult(
        recoverable=True,
        positioned=True,
        epoch=epoch,
        offset=request.offset,
        publications=[publication(entry) for entry in missed],
        recovered=True,
        was_recovering=True,
    )
