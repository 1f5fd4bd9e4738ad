"""One client's waiting replies: bounded in bytes here, in seconds by the connection. Overflow is a named ending.

What is put within a turn of the event loop or the next leaves as one frame (the protocol allows many replies in a
frame), so a sender's acknowledgement often shares its write with the event that it caused. What all followers of a
channel get comes past this, as bytes made once for all (`audience.py`), behind what waits here.
"""

from typing import TYPE_CHECKING

from chassis import failpoints
from gateway import metrics
from gateway.postman import Postman
from gateway.publications import Encoded
from gateway.wire import Wire
from protocol import codes

if TYPE_CHECKING:
    from gateway.hub import Follower


class Outbox:
    """What one client has yet to be sent."""

    __slots__ = ("_limit", "_postman", "_waiting_bytes", "codec", "framing", "owner", "waiting", "wire")

    def __init__(self, owner: "Follower", wire: Wire, postman: Postman, limit: int) -> None:
        """`owner` is ended as slow when more than `limit` bytes wait for it."""
        self.owner = owner
        self.codec = owner.codec
        self.framing = wire.framing(owner.codec)
        self.wire = wire
        self._postman = postman
        self._limit = limit
        self.waiting: list[Encoded] | None = None
        self._waiting_bytes = 0

    def put(self, reply: Encoded) -> None:
        """Add a reply behind those that wait. Never blocks; above the limit the client is given up."""
        if self.waiting is None:
            self.waiting = []
            self._postman.call_next(self)
        self.waiting.append(reply)
        self._waiting_bytes += len(reply.payload)

    def step(self, _: int) -> int:
        """Write all that waits, as a job of the postman; it costs one write."""
        self.empty()
        return 1

    def empty(self) -> None:
        """Write all that waits as one frame, or end the connection when the client does not take what was written."""
        waiting, self.waiting = self.waiting, None
        size, self._waiting_bytes = self._waiting_bytes, 0
        if not waiting or not self._fits(size):
            return
        data = self.framing.bundle(waiting)
        self.wire.write(data)
        failpoints.reach("gateway.acknowledged")
        metrics.written(len(waiting), 1, len(data))

    def share(self, data: bytes) -> bool:
        """Write at once what others are written too, behind what waits; tell whether it was written."""
        if self.waiting is not None:
            self.empty()
        if not self._fits(len(data)):
            return False
        self.wire.write(data)
        return True

    def _fits(self, size: int) -> bool:
        if not self.wire.open:
            return False
        if self.wire.waiting_bytes + size > self._limit:
            metrics.overflows.labels("outbox").inc()
            self.owner.end(codes.SLOW)
            return False
        return True
