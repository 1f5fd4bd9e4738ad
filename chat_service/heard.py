"""The newest records of the log as they were heard on the live subjects (pure).

The archive takes its records from here while it keeps up, instead of having NATS read each from its disk once more: a
record is republished once it is stored, with the sequence it got. Here is what follows each other without a gap, or it
is not here; the log has it.
"""

from collections import deque
from itertools import islice

from chassis.streams import Record


class Heard:
    """A run of records, each the stream's next one after that before it; the oldest give way."""

    def __init__(self, most: int) -> None:
        """`most` is how many are kept: of the largest texts, 5 KiB each."""
        self._records: deque[Record] = deque(maxlen=most)

    def add(self, record: Record) -> None:
        """Take in what was heard; behind a gap, or in another log, the run begins anew."""
        if self._records and record.sequence != self._records[-1].sequence + 1:
            self._records.clear()
        self._records.append(record)

    def after(self, sequence: int, limit: int) -> list[Record]:
        """Return up to `limit` records from that with `sequence` + 1 on; none when that one is not here."""
        start = sequence + 1 - self._records[0].sequence if self._records else -1
        return list(islice(self._records, start, start + limit)) if start >= 0 else []

    def forget(self) -> None:
        """Begin anew: the log may be another one from now on."""
        self._records.clear()
