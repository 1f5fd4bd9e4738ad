"""Whether an archive is of the log that is there: either may have been restored from a backup, or lost.

To empty an archive that has what the log has not might be to lose the only copy, and to go on with it would leave out
what the log got since. So both are left as they are, and an operator decides: docs/operations.md, "Backup and restore".
"""

from chassis.streams import Record, StreamState
from chat_service.log import Poison, event_of
from chat_service.queries import Newest, Position

FOREIGN = "the archive is of another log (NATS lost or restored?): restore that log, or run rebuild-archive"
AHEAD = "the archive is ahead of the log (restored from a backup?): run rebuild-archive"
FORKED = "the archive differs from the log (restored from a backup?): run rebuild-archive"


def misfit(position: Position, state: StreamState, newest: Newest | None, record: Record | None) -> str | None:
    """Return why an archive at `position` is not of the log in `state`; None when it is, or is empty.

    `newest` is the archive's newest event, None when it has none; `record` what the log has at its sequence, None when
    the replica that was asked has not got it yet.
    """
    if position.sequence == 0:
        return None
    if position.epoch != state.epoch:
        return FOREIGN
    if position.sequence > state.last:
        return AHEAD
    return None if newest is None or record is None or _is(newest, record) else FORKED


def _is(newest: Newest, record: Record) -> bool:
    try:
        return event_of(record) == newest.event
    except Poison:
        return False
