"""A lean write path for nats-py: what is sent within one turn of the event loop leaves as one write.

nats-py encodes headers one by one and wakes a task for each publication. Here a command is one join of bytes, and
sending is a plain function, so that a gateway can pass a client's publication on in the turn in which it came. Whatever
nats-py itself has waiting goes first, so subscriptions and publications keep the order in which they were asked for.
Nothing is kept for a connection that is away: who sends meanwhile is told, and what was not out yet is gone.
"""

import asyncio
import contextlib
import re
from typing import Any

from nats.aio.client import Client

from chassis import failpoints

HEADERS_BEGIN = "NATS/1.0\r\n"
MAX_SUBJECT = 512
MAX_WAITING = 8 * 1024 * 1024
"""Bytes that may wait for a server that does not read."""
_SUBJECT = re.compile(r"[\x21-\x29\x2b-\x3d\x3f-\x7e]+\Z")
"""Printable ASCII without space, `*` and `>`: what else might be a second command, or everybody's subject."""


class Oversize(ValueError):
    """The subject is too long, or the message is larger than the server takes."""


class Malformed(ValueError):
    """The subject cannot be published to, or a header cannot be written."""


class Congested(Exception):
    """The server takes what is sent more slowly than it is sent."""


def command(subject: str, reply: str, body: bytes, headers: dict[str, str] | None, most: int) -> bytes:
    """Return PUB or HPUB (NATS client protocol) as it stands on the wire; raise `Oversize` or `Malformed`.

    `most` is the server's limit in bytes for headers and body together.
    """
    if len(subject) > MAX_SUBJECT:
        raise Oversize(f"a subject of {len(subject)} characters")
    if not _SUBJECT.match(subject):
        raise Malformed("not a subject that can be published to")
    to = f"{subject} {reply}" if reply else subject
    if not headers:
        if len(body) > most:
            raise Oversize(f"{len(body)} bytes")
        return b"PUB %b %d\r\n%b\r\n" % (to.encode(), len(body), body)
    block = _block(headers)
    size = len(block) + len(body)
    if size > most:
        raise Oversize(f"{size} bytes")
    return b"HPUB %b %d %d\r\n%b%b\r\n" % (to.encode(), len(block), size, block, body)


def _block(headers: dict[str, str]) -> bytes:
    """Return the headers as they stand on the wire (NATS ADR-4)."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise Malformed("a line break in a header")
    return f"{HEADERS_BEGIN}{lines}\r\n".encode()


def write_own(client: Client) -> None:
    """Write what nats-py itself has waiting: its pings do not queue behind that (2.16.0), so that a pong would tell
    nothing about a subscription that was asked for before."""
    inner: Any = client
    if inner._pending and client.is_connected:
        waiting, inner._pending, inner._pending_data_size = inner._pending, [], 0
        with contextlib.suppress(OSError, RuntimeError):  # the connection broke, as its reader is about to notice
            inner._transport.writelines(waiting)


class Writer:
    """The writing side of one connection of nats-py."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client  # what is used of it below has no public name
        self._waiting: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def send(self, one: bytes) -> None:
        """Have a command leave at the end of this turn; raise `Congested`. Only while connected."""
        if not self._waiting:
            if self._unsent() > MAX_WAITING:
                raise Congested
            if self._loop is None:
                self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self.flush)
        self._waiting.append(one)

    def flush(self) -> None:
        """Write what waits now."""
        waiting, self._waiting = self._waiting, []
        client = self._client
        if not waiting or not client.is_connected:
            return
        first, client._pending, client._pending_data_size = client._pending, [], 0
        client.stats["out_msgs"] += len(waiting)
        try:
            client._transport.write(b"".join([*first, *waiting]))
            failpoints.reach("bus.published", len(waiting))
        except (OSError, RuntimeError):
            pass  # the connection broke, as its reader is about to notice

    def _unsent(self) -> int:
        writer = getattr(self._client._transport, "_io_writer", None)
        return 0 if writer is None else int(writer.transport.get_write_buffer_size())
