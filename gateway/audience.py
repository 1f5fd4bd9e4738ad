"""Who follows one channel in this process, and what waits for them.

The cost of a chat gateway is one write per connection, hardly one per event. So events wait here, not with each
follower: those that come within one turn of the event loop, or while the channel rests after an expensive flush, are
joined once for each form in which somebody wants them, and the same bytes are written to everybody (ADR 0016).

Order: who joins gets nothing of what was broadcast before; who leaves gets what waits first.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from gateway import metrics
from gateway.outbox import Outbox
from gateway.postman import Postman
from gateway.publications import PublicationPush
from gateway.wire import Framing
from protocol import codes
from protocol.frames import Codec

if TYPE_CHECKING:
    from gateway.hub import Follower

REST = 2.0
"""How much longer than a flush took its channel rests, so that one channel keeps at most a third of a core busy."""
CHEAP_SECONDS = 0.001
"""A flush below this needs no rest: what comes in one turn is one flush as it is."""
FRAME_BYTES = 128 * 1024
"""About the most that one frame carries; SDKs limit what they take (the Python one at 1 MiB)."""


class Form(NamedTuple):
    """In what form a follower gets events: as deltas if it asked for them, as patches if it has a base for them."""

    framing: Framing
    codec: Codec
    wants_delta: bool
    has_previous: bool

    def bundle(self, pushes: list[PublicationPush]) -> bytes:
        """Return the bytes of `pushes` in this form; each but the first has the one before as its base."""
        codec, wants_delta = self.codec, self.wants_delta
        if len(pushes) == 1:
            return self.framing.bundle([pushes[0].get(codec, wants_delta=wants_delta, has_previous=self.has_previous)])
        return self.framing.bundle(
            [
                push.get(codec, wants_delta=wants_delta, has_previous=self.has_previous or i > 0)
                for i, push in enumerate(pushes)
            ]
        )


_forms: dict[Form, Form] = {}
"""One object for all who want the same: there are few forms, and many audiences."""


def rest_after(cost: float, longest: float) -> float:
    """Return how long a channel rests (seconds) after a flush that took `cost` seconds of work."""
    return min(longest, cost * REST) if cost >= CHEAP_SECONDS else 0.0


def write_to_all(outboxes: list[Outbox], data: bytes) -> int:
    """Write the same bytes to each client that takes them; return how many that were. The hottest loop there is."""
    written = 0
    for outbox in outboxes:
        wire = outbox.wire
        if wire.ready and outbox.waiting is None:
            try:
                wire.transport.write(data)
            except RuntimeError:
                continue  # uvloop's word for a connection that broke and was not told so yet
            written += 1
        elif outbox.share(data):
            written += 1
    return written


class Flush:
    """Some events on their way to everybody: for each form the bytes, and who is to get them."""

    __slots__ = ("_at", "_parts", "cost", "frames", "octets", "pushes")

    def __init__(self, pushes: list[PublicationPush], parts: list[tuple[bytes, list[Outbox]]]) -> None:
        self.pushes = pushes
        self._parts = parts
        self._at = 0
        self.cost = 0.0
        self.frames = 0
        self.octets = 0

    def step(self, budget: int) -> int:
        """Write to the next followers, at most `budget`; return how many that were. Below `budget`: all have it."""
        started = time.perf_counter()
        left = budget
        while left > 0 and self._parts:
            data, outboxes = self._parts[-1]
            part = outboxes[self._at : self._at + left]
            written = write_to_all(part, data)
            self.frames += written
            self.octets += written * len(data)
            left -= len(part)
            self._at += len(part)
            if self._at >= len(outboxes):
                self._parts.pop()
                self._at = 0
        self.cost += time.perf_counter() - started
        return budget - left

    def hasten(self, leaving: Outbox) -> None:
        """Write to one follower out of turn, because it leaves."""
        for i, (data, outboxes) in enumerate(self._parts):
            start = self._at if i == len(self._parts) - 1 else 0
            if leaving in outboxes[start:]:
                leaving.share(data)
                self._parts[i] = (data, outboxes[:start] + [one for one in outboxes[start:] if one is not leaving])
                return


class Audience:
    """The followers of one channel."""

    __slots__ = (
        "_flush",
        "_groups",
        "_late",
        "_longest_rest",
        "_not_before",
        "_pending",
        "_pending_bytes",
        "_postman",
        "_queued",
        "_resting",
    )

    def __init__(self, postman: Postman, longest_rest: float) -> None:
        """`longest_rest` (seconds): how long events may wait for others."""
        self._postman = postman
        self._longest_rest = longest_rest
        self._groups: dict[Form, dict[Outbox, None]] = {}
        self._pending: list[PublicationPush] = []
        self._pending_bytes = 0
        self._late: dict[Outbox, int] = {}  # joined while events waited: how many of them it must not get
        self._flush: Flush | None = None
        self._queued = False
        self._resting: asyncio.TimerHandle | None = None
        self._not_before = 0.0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator["Follower"]:
        """Yield the followers as they are now; they may leave meanwhile."""
        for outbox in [outbox for group in self._groups.values() for outbox in group]:
            yield outbox.owner

    def add(self, outbox: Outbox, *, wants_delta: bool, has_previous: bool) -> None:
        """Have a follower receive what is broadcast from now on."""
        form = Form(outbox.framing, outbox.codec, wants_delta, has_previous and wants_delta)
        form = _forms.setdefault(form, form)
        self._groups.setdefault(form, {})[outbox] = None
        if self._pending:
            self._late[outbox] = len(self._pending)

    def remove(self, outbox: Outbox) -> None:
        """Stop that; what was broadcast until now is written first."""
        form = next((form for form, group in self._groups.items() if outbox in group), None)
        if form is None:
            return
        del self._groups[form][outbox]
        if not self._groups[form]:
            del self._groups[form]
        since = self._late.pop(outbox, 0)
        if self._flush is not None:
            self._flush.hasten(outbox)
        if self._pending[since:] and outbox.owner.open:
            outbox.share(form.bundle(self._pending[since:]))

    def broadcast(self, push: PublicationPush) -> None:
        """Have every follower get an event, soon."""
        if not self._groups:
            return
        if not push.is_json:
            self._end_json_followers()
        self._pending.append(push)
        self._pending_bytes += push.size
        if not self._queued:
            if self._pending_bytes > FRAME_BYTES:
                self._queue()
            elif self._resting is None:
                self._schedule()

    def step(self, budget: int) -> int:
        """Carry the flush on, as a job of the postman. What it holds is decided when its first turn has come."""
        if self._flush is None:
            self._flush = self._next_flush()
        written = self._flush.step(budget)
        if written < budget:
            self._finish(self._flush)
        return written

    def _schedule(self) -> None:
        loop = self._postman.loop
        if loop.time() >= self._not_before:
            self._queue()
        else:
            self._resting = loop.call_at(self._not_before, self._queue)

    def _queue(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        self._queued = True
        self._postman.call(self)

    def _next_flush(self) -> Flush:
        """Take what one frame carries of the events that wait."""
        if self._pending_bytes <= FRAME_BYTES:
            count, size = len(self._pending), self._pending_bytes
        else:
            count, size = 0, 0
            while not count or size + self._pending[count].size <= FRAME_BYTES:
                size += self._pending[count].size
                count += 1
        pushes, self._pending = self._pending[:count], self._pending[count:]
        self._pending_bytes -= size
        late = self._late
        if late:
            self._late = {one: since - count for one, since in late.items() if since > count}
        parts = []
        for form, group in self._groups.items():
            if not late:
                parts.append((form.bundle(pushes), list(group)))
                continue
            parts.append((form.bundle(pushes), [one for one in group if one not in late]))
            # A form's first push may be whole because its followers have no base; from now on they have one.
            parts += [
                (form.bundle(pushes[since:]), [one]) for one, since in late.items() if one in group and since < count
            ]
        self._give_base(late, count)
        return Flush(pushes, [part for part in parts if part[1]] if late else parts)

    def _give_base(self, late: dict[Outbox, int], count: int) -> None:
        """Have those who now get an event be sent patches from the next one on."""
        if not any(form.wants_delta for form in self._groups):
            return
        for form in [one for one in self._groups if one.wants_delta and not one.has_previous]:
            group = self._groups.pop(form)
            still = {one: None for one in group if late.get(one, 0) >= count}
            self._groups.setdefault(form._replace(has_previous=True), {}).update(
                {one: None for one in group if one not in still}
            )
            if still:
                self._groups[form] = still

    def _finish(self, flush: Flush) -> None:
        self._flush = None
        self._queued = False
        self._not_before = self._postman.loop.time() + rest_after(flush.cost, self._longest_rest)
        metrics.written(flush.frames * len(flush.pushes), flush.frames, flush.octets)
        metrics.flush_cost.observe(flush.cost)
        for push in flush.pushes:
            if push.on_sockets is not None:
                push.on_sockets()
        if self._pending:
            self._schedule()

    def _end_json_followers(self) -> None:
        for follower in self:
            if follower.codec.text:
                follower.end(codes.INAPPROPRIATE_PROTOCOL)
