"""Records on their way to the disk: one by one, or many that share one sync of it (group commit, ADR 20).

With `sync_interval: always` nats-server syncs each message by itself, and what a disk syncs in a second is all that is
stored. The messages of an atomic batch (nats-server ADR-50) it writes together and syncs once, at a price of some 3 ms.
So a few appends go by themselves, as soon as they come; what comes while many are under way goes together.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from chassis import logs
from chassis.bus import BadSubject, Bus, BusError, Message, TooLarge, Unavailable
from protocol import subjects
from protocol.names import new_id

log = logs.get(__name__)

AT_ONCE = 16
"""Appends under way one by one before others go together: what nats-server stores so in about the time of a batch."""
MOST_TOGETHER = 256
"""Records of one batch; nats-server takes 1,000."""
MOST_BYTES = 1024 * 1024
"""About the most that the bodies of one batch have."""
MOST_WAITING = 4096
"""How long they wait is bounded by who asks: the chat service gives up after CHAT_COMMAND_SECONDS."""
_WRONG_LAST_SEQUENCE = 10071
_NO_BATCHES = (10174, 10177)
"""The stream takes no batches (made before there were any); the server takes none with message ids."""


class Conflict(BusError):
    """Somebody else appended to that subject first: read the tail and decide again."""


class Refused(BusError):
    """The server took none of a batch: one of its records is in conflict, or a duplicate, or there are no batches."""


class Stored(NamedTuple):
    """What NATS answered to an append; `duplicate` when that message id was stored before, at `sequence`."""

    sequence: int
    duplicate: bool


class Append(NamedTuple):
    """A record to be stored."""

    subject: str
    body: bytes
    headers: dict[str, str]


class _Ack(msgspec.Struct):
    seq: int = 0
    duplicate: bool = False
    count: int = 0
    error: dict[str, Any] | None = None


_acks = msgspec.json.Decoder(_Ack)


def _ack(answer: Message) -> _Ack:
    try:
        return _acks.decode(answer.body)
    except msgspec.DecodeError as error:
        raise Unavailable("no JetStream acknowledgement") from error


async def append_alone(bus: Bus, one: Append) -> Stored:
    """Store a record by itself; raise `Conflict`, or `Unavailable`, after which it may be stored."""
    ack = _ack(await bus.request(one.subject, one.body, one.headers))
    if ack.error is None:
        return Stored(ack.seq, ack.duplicate)
    if ack.error.get("err_code") == _WRONG_LAST_SEQUENCE:
        raise Conflict(str(ack.error.get("description")))
    raise Unavailable(str(ack.error.get("description")))


Tell = Callable[[str, int], None]
"""Told what became of a group (`stored`, `refused`, or `unknown`) and how many records it had."""
Waiting = tuple[Append, "asyncio.Future[Stored]"]


class GroupCommit:
    """The appends of one process to one stream, which must have been made with `allow_atomic`."""

    def __init__(self, bus: Bus, tell: Tell) -> None:
        self._bus = bus
        self._tell = tell
        self._alone = 0
        self._waiting: list[Waiting] = []
        self._committing: asyncio.Task[None] | None = None
        self._one_by_one = False
        self._name = new_id()
        self._numbers = itertools.count(1)

    async def append(self, one: Append) -> Stored:
        """Store a record and wait until it is on disk; raise `Conflict`, or `Unavailable`: then it may be stored."""
        if self._one_by_one or (self._alone < AT_ONCE and self._committing is None):
            self._alone += 1
            try:
                return await append_alone(self._bus, one)
            finally:
                self._alone -= 1
        if len(self._waiting) >= MOST_WAITING:
            raise Unavailable("too many appends wait")
        stored: asyncio.Future[Stored] = asyncio.get_running_loop().create_future()
        self._waiting.append((one, stored))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        return await stored

    async def _commit(self) -> None:
        """Store what waits, and what comes meanwhile, until nothing does."""
        try:
            while group := self._next_group():
                await self._store(group)
        finally:
            self._committing = None

    def _next_group(self) -> list[Waiting]:
        """Take what one batch carries of those that wait; who gave up waiting is left out."""
        group: list[Waiting] = []
        size = taken = 0
        for one, stored in self._waiting:
            if len(group) >= MOST_TOGETHER or size > MOST_BYTES:
                break
            taken += 1
            if not stored.done():
                group.append((one, stored))
                size += len(one.body)
        del self._waiting[:taken]
        return group

    async def _store(self, group: list[Waiting]) -> None:
        """Store a group together; one by one when it is refused, since then only NATS knows which of them are good."""
        if len(group) == 1 or self._one_by_one:
            await self._store_one_by_one(group)
            return
        try:
            first = await self._together([one for one, _ in group])
        except Refused as refused:
            self._tell("refused", len(group))
            log.debug("stored one by one", records=len(group), reason=str(refused))
            await self._store_one_by_one(group)
        except Unavailable as error:
            self._tell("unknown", len(group))
            for _, stored in group:
                if not stored.done():
                    stored.set_exception(Unavailable(str(error)))
        else:
            self._tell("stored", len(group))
            for sequence, (_, stored) in enumerate(group, first):
                if not stored.done():
                    stored.set_result(Stored(sequence, False))

    async def _store_one_by_one(self, group: list[Waiting]) -> None:
        for some in range(0, len(group), AT_ONCE):  # each has its deadline from when it is sent
            await asyncio.gather(*(self._store_alone(*one) for one in group[some : some + AT_ONCE]))

    async def _store_alone(self, one: Append, stored: "asyncio.Future[Stored]") -> None:
        if stored.done():
            return
        try:
            found = await append_alone(self._bus, one)
        except BusError as error:
            if not stored.done():
                stored.set_exception(error)
        else:
            if not stored.done():
                stored.set_result(found)

    async def _together(self, group: Sequence[Append]) -> int:
        """Store a group; return the sequence of its first record, behind which the others follow without a gap.

        Raises `Refused` when none is stored, `Unavailable` when that is not known.
        """
        batch = f"{self._name}{next(self._numbers):x}"
        *others, last = (_numbered(one, batch, number) for number, one in enumerate(group, 1))
        try:
            for one in others:
                self._bus.send(*one)
            headers = last.headers | {subjects.NATS_BATCH_COMMIT: "1"}
            ack = _ack(await self._bus.request(last.subject, last.body, headers))
        except (TooLarge, BadSubject) as error:  # the fault of one of them; what was sent is never committed
            raise Refused(str(error)) from None
        if ack.error is not None:
            self._notice(ack.error)
            raise Refused(str(ack.error.get("description")))
        if ack.count != len(group):
            raise Unavailable(f"{ack.count} of {len(group)} records acknowledged")
        return ack.seq - len(group) + 1

    def _notice(self, error: dict[str, Any]) -> None:
        if error.get("err_code") in _NO_BATCHES and not self._one_by_one:
            self._one_by_one = True
            log.warning(
                "each record is synced by itself: run python -m deploy.streams batches, then start this service again",
                reason=error.get("description"),
            )


def _numbered(one: Append, batch: str, number: int) -> Append:
    """Return a record as the one with that number, from 1, of a batch."""
    place = {subjects.NATS_BATCH: batch, subjects.NATS_BATCH_NUMBER: str(number)}
    return Append(one.subject, one.body, one.headers | place)
