"""A lean read path for nats-py: messages of many subjects, each to a plain function, with nothing in between.

nats-py matches up to seven regular expressions per message, parses headers as e-mail, and keeps a queue and a task for
each subscription: 40 % of a gateway's work in small rooms, and 6 KiB per followed channel. Here control lines are cut
by hand and a `Direct` subscription is called as the bytes come in. Everything else (connecting, reconnecting, TLS,
authentication, pings, ordinary subscriptions) stays with nats-py: what is no message is handed to its own parser.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from chassis import logs
from chassis.nats_writing import write_own

log = logs.get(__name__)

CRLF = b"\r\n"
STATUS = "Status"
DESCRIPTION = "Description"
MAX_CONTROL_LINE = 64 * 1024
"""The longest line that is waited for; INFO of a large cluster is the longest there is."""
DRAIN_SECONDS = 2
"""How long NATS may take to confirm that a subscription has ended."""
MOST_DIGITS = 18
"""Of a number in a line; Python refuses to read very long ones, by an error that nobody would take."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """One NATS message."""

    subject: str
    headers: dict[str, str]
    body: bytes
    reply: str = ""
    """Where an answer is expected; empty for nowhere."""


Receive = Callable[[Message], None]
"""Takes a message; must not block. What it raises is logged."""


class Direct:
    """A subscription without queue and task; what nats-py asks of a subscription, and no more."""

    __slots__ = ("_client", "_id", "_queue", "_received", "_subject", "receive")

    _max_msgs = 0
    _wait_for_msgs_task = None
    _message_iterator = None
    _pending_next_msgs_calls = None

    def __init__(self, client: Client, number: int, subject: str, queue: str, receive: Receive) -> None:
        self._client = client
        self._id = number
        self._subject = subject
        self._queue = queue
        self._received = 0
        self.receive = receive

    async def unsubscribe(self) -> None:
        """End the subscription; raise what nats-py raises."""
        self._client._remove_sub(self._id)
        if not self._client.is_reconnecting:
            await self._client._send_unsubscribe(self._id)

    async def drain(self) -> None:
        """End the subscription, and take what NATS had handed over before it knew; raise what nats-py raises."""
        if not self._client.is_reconnecting:
            await self._client._send_unsubscribe(self._id)
            write_own(self._client)
            await self._client.flush(timeout=DRAIN_SECONDS)
        self._client._remove_sub(self._id)


async def subscribe(client: Client, subject: str, receive: Receive, queue: str = "") -> Direct:
    """Have `receive` called for each message on `subject`, in order; raise what nats-py raises.

    Of those who subscribe with the same `queue` one gets a message; empty: everybody does.
    """
    inner: Any = client
    inner._sid += 1
    direct = Direct(client, inner._sid, subject, queue, receive)
    inner._subs[direct._id] = direct
    await inner._send_subscribe(direct)
    return direct


class LeanParser(Parser):
    """Cuts the stream of bytes into messages (NATS client protocol: MSG, HMSG) and everything else."""

    def reset(self) -> None:
        """Forget what is not whole: the connection is new."""
        super().reset()
        self._rest = b""

    async def parse(self, data: bytes = b"") -> None:
        """Take what arrived; raise `ProtocolError` when it is not the protocol."""
        if self._rest:
            data = self._rest + data
        at, length = 0, len(data)
        while (end := data.find(CRLF, at)) >= 0:
            following = end + 2
            kind = data[at : at + 4]
            if kind == b"MSG ":
                words = data[at + 4 : end].split()
                size, head = _number(words.pop() if words else b""), 0
            elif kind == b"HMSG":
                words = data[at + 5 : end].split()
                size = _number(words.pop() if words else b"")
                head = _number(words.pop() if words else b"")
            else:
                await self._line(data[at:following])
                at = following
                continue
            if following + size + 2 > length:
                break
            headers, body = data[following : following + head], data[following + head : following + size]
            queued = self._message(words, headers, body)
            if queued is not None:
                await queued
            at = following + size + 2
        self._rest = data[at:]
        if len(self._rest) > MAX_CONTROL_LINE and CRLF not in self._rest:
            raise ProtocolError("nats: a line that does not end")

    async def _line(self, line: bytes) -> None:
        """Have nats-py take INFO, PING and the like; on a malformed one it raises whatever comes up (2.16.0)."""
        try:
            await super().parse(line)
        except (AttributeError, ValueError) as error:
            raise ProtocolError("nats: malformed line") from error

    def _message(self, words: list[bytes], headers: bytes, body: bytes) -> Awaitable[None] | None:
        """Hand a message to its subscription; return what is left to be awaited when that is one of nats-py's."""
        if not 2 <= len(words) <= 3:
            raise ProtocolError("nats: malformed MSG")
        number = _number(words[1])
        client: Any = self.nc
        subscription = client._subs.get(number)
        if type(subscription) is not Direct:
            answer_to = words[2] if len(words) == 3 else b""
            queued: Awaitable[None] = client._process_msg(number, words[0], answer_to, body, headers or None)
            return queued
        stats = client.stats
        stats["in_msgs"] += 1
        stats["in_bytes"] += len(body)
        subscription._received += 1
        try:
            reply = words[2].decode() if len(words) == 3 else ""
            subscription.receive(Message(words[0].decode(), parsed(headers) if headers else {}, body, reply))
        except Exception:  # whatever a receiver raises, the connection and the other receivers go on
            log.exception("message not taken")
        return None


def _number(text: bytes) -> int:
    if not text.isdigit() or len(text) > MOST_DIGITS:
        raise ProtocolError("nats: malformed MSG")
    return int(text)


def parsed(block: bytes) -> dict[str, str]:
    """Return the headers in `block` (NATS ADR-4: a version line, then `Key: value` lines); the last of a name counts.

    A status in the version line becomes `Status` and `Description`, as nats-py has it.
    """
    lines = block.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines[1:]:
        key, colon, value = line.partition(":")
        if colon:
            headers[key] = value.strip()
    status = lines[0][8:].strip()  # behind NATS/1.0
    if status:
        code, _, description = status.partition(" ")
        headers[STATUS] = code
        if description:
            headers[DESCRIPTION] = description.strip()
    return headers


def lean_client() -> Client:
    """Return a client of nats-py with the lean read path."""
    client = Client()
    client._ps = LeanParser(client)
    return client
