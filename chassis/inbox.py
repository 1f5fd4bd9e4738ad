"""Answers of NATS to what this process asks, each handed to who waits for it; one that comes too late is dropped."""

import asyncio
import itertools

from chassis import failpoints
from chassis.nats_reading import Message, Receive
from protocol.names import new_id

MAX_PARTS = 4096
"""Most messages of one answer in parts; the asker asks for fewer."""

Parts = tuple[list[Message], asyncio.Future[list[Message]]]


class Inbox:
    """The subjects on which one process is answered, and who waits there. Deadlines are the askers'."""

    def __init__(self, service: str) -> None:
        self.prefix = f"_INBOX_{service}.{new_id()}"
        """Of this process alone: answers come to no other, as NATS's permissions have it."""
        self._numbers = itertools.count(1)
        self._one: dict[str, asyncio.Future[Message]] = {}
        self._many: dict[str, Parts] = {}

    @property
    def receivers(self) -> dict[str, Receive]:
        """The subjects to subscribe to, each with what takes the answers there."""
        return {f"{self.prefix}.many.*": self._part_received, f"{self.prefix}.one.*": self._answer_received}

    def expect_one(self) -> tuple[str, asyncio.Future[Message]]:
        """Return where an answer is to be sent, and what it will be; `forget` it in any case."""
        reply = f"{self.prefix}.one.{next(self._numbers):x}"
        future = self._one[reply] = asyncio.get_running_loop().create_future()
        return reply, future

    def expect_many(self) -> tuple[str, asyncio.Future[list[Message]]]:
        """As `expect_one`, of an answer in parts: the last has a `Status` header."""
        reply = f"{self.prefix}.many.{next(self._numbers):x}"
        future: asyncio.Future[list[Message]] = asyncio.get_running_loop().create_future()
        self._many[reply] = ([], future)
        return reply, future

    def forget(self, reply: str) -> None:
        """Wait there no longer."""
        self._one.pop(reply, None)
        self._many.pop(reply, None)

    def _answer_received(self, answer: Message) -> None:
        failpoints.reach("bus.answered")
        future = self._one.get(answer.subject)
        if future is not None and not future.done():  # else the asker gave up waiting
            future.set_result(answer)

    def _part_received(self, part: Message) -> None:
        waiting = self._many.get(part.subject)
        if waiting is None or waiting[1].done():
            return  # the asker gave up waiting
        parts, future = waiting
        parts.append(part)
        if "Status" in part.headers or len(parts) >= MAX_PARTS:
            future.set_result(parts)
