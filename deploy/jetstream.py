"""JetStream as an operator's commands use it: streams looked at, reshaped, copied and restored, as NATS user operator.

Snapshots are NATS's own: one consistent copy of a stream while it is written to, in the form that its restore takes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from chassis.bus import Bus, BusError, Message
from chassis.settings import Settings

CONNECT_SECONDS = 10.0
API_SECONDS = 10.0
IDLE_SECONDS = 30.0
"""How long a snapshot may stand still."""
RESTORE_SECONDS = 600.0
"""How long NATS may take to check what was restored."""
CHUNK_BYTES = 64 * 1024
_NOT_FOUND = 10059

Json = dict[str, Any]


class Failed(Exception):
    """NATS refused, or did not answer; the text is for the operator."""


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator["JetStream"]:
    """Connect as the operator, for as long as the block lasts; raise `Failed` when that takes over 10 s."""
    bus = Bus(settings, "operator")
    try:
        await asyncio.wait_for(bus.connect(), CONNECT_SECONDS)
    except TimeoutError:
        raise Failed("no connection to NATS in 10 s: see NATS_URL and NATS_PASSWORD (that of user operator)") from None
    try:
        yield JetStream(bus)
    finally:
        await bus.close()


class JetStream:
    """The streams of one NATS."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def info(self, stream: str) -> Json | None:
        """Return configuration, state and cluster of a stream; None when there is no such stream."""
        answer = await self._ask("INFO", stream, {})
        if answer.get("error", {}).get("err_code") == _NOT_FOUND:
            return None
        return _good(answer)

    async def update(self, stream: str, changed: Json) -> Json:
        """Change fields of a stream's configuration and leave the others; return its info."""
        info = await self.info(stream)
        if info is None:
            raise Failed(f"there is no stream {stream}")
        return _good(await self._ask("UPDATE", stream, {**info["config"], **changed}))

    async def delete(self, stream: str) -> None:
        """Delete a stream with all it holds."""
        _good(await self._ask("DELETE", stream, {}))

    async def step_down(self, stream: str) -> None:
        """Have another replica lead a stream."""
        _good(await self._ask("LEADER.STEPDOWN", stream, {}))

    async def snapshot(self, stream: str) -> tuple[Json, AsyncIterator[bytes]]:
        """Return a stream's configuration and state, and the chunks of a copy, all of which have to be read.

        Reading raises `Failed` when the copy is not whole.
        """
        inbox = "_INBOX_operator.snapshot"
        chunks: asyncio.Queue[Message] = asyncio.Queue()
        subscription = await self._bus.subscribe(inbox, chunks.put_nowait)
        asked = {"deliver_subject": inbox, "no_consumers": True, "jsck": True, "chunk_size": CHUNK_BYTES}
        answer = _good(await self._ask("SNAPSHOT", stream, asked))

        async def read() -> AsyncIterator[bytes]:
            try:
                while True:
                    chunk = await asyncio.wait_for(chunks.get(), IDLE_SECONDS)
                    if not chunk.body:
                        break
                    yield chunk.body
                    if chunk.reply:  # NATS sends no more than some chunks unanswered; for the last it asks nothing
                        self._bus.send(chunk.reply, b"")
                if chunk.headers.get("Status", "204") != "204":
                    raise Failed(f"the copy of {stream} broke off: {chunk.headers}")
            except (TimeoutError, BusError) as error:
                raise Failed(f"the copy of {stream} broke off: {type(error).__name__}") from error
            finally:
                await self._bus.unsubscribe(subscription)

        return {"config": answer["config"], "state": answer["state"]}, read()

    async def restore(self, config: Json, state: Json, chunks: Iterable[bytes]) -> Json:
        """Make a stream from a copy; return its info. Raises `Failed`, also when the stream exists."""
        stream = config["name"]
        answer = _good(await self._ask("RESTORE", stream, {"config": config, "state": state}))
        to = answer["deliver_subject"]
        try:
            for chunk in chunks:
                refused = (await self._bus.request(to, chunk, seconds=IDLE_SECONDS)).body
                if refused:
                    _good(msgspec.json.decode(refused))
            last = await self._bus.request(to, b"", seconds=RESTORE_SECONDS)
        except BusError as error:
            raise Failed(f"{stream} was not restored: {error}") from error
        return _good(msgspec.json.decode(last.body))

    async def _ask(self, verb: str, stream: str, body: Json) -> Json:
        try:
            answer = await self._bus.request(
                f"$JS.API.STREAM.{verb}.{stream}", msgspec.json.encode(body), seconds=API_SECONDS
            )
        except BusError as error:
            raise Failed(f"{verb} of {stream}: {error}") from error
        decoded: Json = msgspec.json.decode(answer.body)
        return decoded


def _good(answer: Json) -> Json:
    if "error" in answer:
        raise Failed(str(answer["error"].get("description")))
    return answer
