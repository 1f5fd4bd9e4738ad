"""JetStream on top of the bus: streams made, records appended with compare-and-set, records read back.

Reads use batched direct get (nats-server ADR-31), which any replica answers and which needs no consumer.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from chassis import logs, traces
from chassis.appends import Append, GroupCommit, Stored, Tell, append_alone
from chassis.bus import Bus, Message, Unavailable
from protocol import subjects
from protocol.names import new_id

log = logs.get(__name__)

BATCH = 256
MOST_DIGITS = 18
"""Of an offset: what 63 bits hold in any case."""
_STREAM_NOT_FOUND = 10059


class Record(msgspec.Struct, frozen=True, gc=False):
    """One stored message. `sequence` numbers the whole stream, from 1."""

    sequence: int
    subject: str
    headers: dict[str, str]
    body: bytes

    @property
    def offset(self) -> int:
        """The record's number in its own channel; 0 when it carries none that can be one: then it is no event."""
        text = self.headers.get(subjects.OFFSET, "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS else 0

    @property
    def stored_at(self) -> float:
        """When NATS stored it, in seconds since the epoch."""
        return datetime.fromisoformat(self.headers[subjects.NATS_TIME]).timestamp()


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as it stands: its epoch and the range of its sequences."""

    epoch: str
    first: int
    last: int


def record(message: Message) -> Record:
    """Return the record in a republished or directly read message; raise `ValueError` when it is none."""
    try:
        sequence = int(message.headers[subjects.NATS_SEQUENCE])
    except KeyError:
        raise ValueError("a message without a stream sequence") from None
    return Record(sequence, message.headers.get(subjects.NATS_SUBJECT, message.subject), message.headers, message.body)


class Stream:
    """One JetStream stream."""

    def __init__(self, bus: Bus, name: str, grouped: Tell | None = None) -> None:
        """`grouped`: appends that come together share one sync, and it is told of each group of them. The stream is to
        be made with `allow_atomic` then."""
        self._bus = bus
        self._grouped = GroupCommit(bus, grouped) if grouped else None
        self.name = name
        self.epoch = ""
        """The epoch, as of the last time the state was asked."""

    async def ensure(self, **config: Any) -> StreamState:
        """Create the stream unless it exists, with a fresh epoch; return its state. Replicas may race."""
        state = await self.state()
        if state is None:
            body = {"name": self.name, "metadata": {"epoch": new_id()}, **config}
            answer = await self._api("CREATE", body)
            if "error" in answer:
                log.info("stream not created by us", stream=self.name, reason=answer["error"].get("description"))
            state = await self.state()
        if state is None:
            raise Unavailable(f"stream {self.name} does not exist")
        return state

    async def widen(self, max_msgs_per_subject: int) -> None:
        """Have the stream keep at least that many records of each subject; never fewer than it does."""
        config = (await self._api("INFO", {})).get("config")
        if config is None or config["max_msgs_per_subject"] >= max_msgs_per_subject:
            return
        answer = await self._api("UPDATE", {**config, "max_msgs_per_subject": max_msgs_per_subject})
        if "error" in answer:
            log.error("stream not widened", stream=self.name, reason=answer["error"].get("description"))
        else:
            log.info("stream widened", stream=self.name, records_per_subject=max_msgs_per_subject)

    async def state(self) -> StreamState | None:
        """Return epoch and range of the stream; None when there is no such stream."""
        answer = await self._api("INFO", {})
        if "error" in answer:
            if answer["error"].get("err_code") == _STREAM_NOT_FOUND:
                return None
            raise Unavailable(str(answer["error"].get("description")))
        metadata = answer["config"].get("metadata") or {}
        self.epoch = metadata.get("epoch", "")
        return StreamState(self.epoch, answer["state"]["first_seq"], answer["state"]["last_seq"])

    async def wait_until_there(self, seconds: float = 0.25) -> StreamState:
        """Return the stream's state as soon as it exists; tries every `seconds`, for as long as it takes."""
        while True:
            try:
                state = await self.state()
                if state is not None:
                    return state
            except Unavailable as error:
                log.debug("stream not there yet", stream=self.name, reason=str(error))
            await asyncio.sleep(seconds)

    async def append(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        expected_last: int | None = None,
        message_id: str | None = None,
    ) -> Stored:
        """Store a message and wait until it is on disk.

        `expected_last` is the sequence of the subject's last message (0: none). NATS compares it before it looks for a
        duplicate `message_id` (tried with 2.15.1). Raises `Conflict`, or `Unavailable`, after which it may be stored.
        """
        headers = dict(headers or {})
        if expected_last is not None:
            headers[subjects.NATS_EXPECTED_LAST] = str(expected_last)
        if message_id is not None:
            headers[subjects.NATS_MESSAGE_ID] = message_id
        # The span is named in the record, so that those who read it can go on with its trace.
        with traces.span(f"append {self.name}", "producer"):
            one = Append(subject, body, traces.carried(headers, kept=True) or headers)
            return await (self._grouped.append(one) if self._grouped else append_alone(self._bus, one))

    async def last(self, subject: str) -> Record | None:
        """Return the newest record of `subject`, or None when it has none."""
        return await self._get({"last_by_subj": subject})

    async def at(self, sequence: int) -> Record | None:
        """Return the record with that sequence, or None."""
        return await self._get({"seq": sequence})

    async def next(self, subject: str, sequence: int) -> Record | None:
        """Return the first record of `subject` at or after `sequence`, or None."""
        return await self._get({"seq": sequence, "next_by_subj": subject})

    async def last_of_each(self, names: list[str]) -> list[Record]:
        """Return the newest record of each of at most `BATCH` subjects; those without one are left out."""
        return (await self._get_many({"multi_last": names}))[0] if names else []

    async def read(self, subject: str, sequence: int, limit: int = BATCH) -> tuple[list[Record], bool]:
        """Return up to `limit` records of `subject` (wildcards allowed) from `sequence` on, and whether more follow."""
        return await self._get_many({"seq": max(1, sequence), "next_by_subj": subject, "batch": limit})

    async def read_all(self, subject: str, sequence: int = 1) -> AsyncIterator[Record]:
        """Yield every record of `subject` from `sequence` on, up to the end as it is when reached."""
        more = True
        while more:
            records, more = await self.read(subject, sequence)
            for found in records:
                yield found
                sequence = found.sequence + 1
            more = more and bool(records)

    async def _api(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        message = await self._bus.request(f"$JS.API.STREAM.{verb}.{self.name}", msgspec.json.encode(body))
        answer: dict[str, Any] = msgspec.json.decode(message.body)
        return answer

    async def _get(self, query: dict[str, Any]) -> Record | None:
        message = await self._bus.request(f"$JS.API.DIRECT.GET.{self.name}", msgspec.json.encode(query))
        status = message.headers.get("Status")
        if status == "404":
            return None
        if status is not None:
            raise Unavailable(f"direct get answered {status}")
        return record(message)

    async def _get_many(self, query: dict[str, Any]) -> tuple[list[Record], bool]:
        parts = await self._bus.request_many(f"$JS.API.DIRECT.GET.{self.name}", msgspec.json.encode(query))
        end = parts[-1].headers
        status = end.get("Status")
        if status == "404":
            return [], False
        if status != "204":
            raise Unavailable(f"direct get answered {status}")
        more = int(end.get(subjects.NATS_NUM_PENDING, "0")) > 0
        return [record(part) for part in parts[:-1]], more
