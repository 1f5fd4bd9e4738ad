"""One event on its way to the sockets of this process, and what is measured of that."""

import time
from collections.abc import Mapping

from chassis import traces
from gateway import metrics
from gateway.ring import Entry
from protocol import subjects
from protocol.subjects import Address


class Delivery:
    """Told by the channel's audience when all followers have the event, however many, and measured once.

    What is measured ends when the last of these sockets was written to: handed to the kernel, or, of a
    client that does not read, to the buffer in front of it. It begins with other machines' clocks: `fanned_out` with
    the one of the nats-server that stored the event, `total` with the one of the process that accepted it (the chat
    service, or the gateway that published it). So clocks that differ shift both; below 0 counts as 0. Only followers
    at that moment count: what is handed to a client that recovers is not measured here.
    """

    __slots__ = ("_accepted", "_span", "_stored")

    def __init__(self, entry: Entry, headers: Mapping[str, str], span: traces.Span = traces.OFF) -> None:
        self._stored = entry.stored_at
        self._accepted = accepted_at(headers, entry.stored_at)
        self._span = span

    def measure(self) -> None:
        """Measure: every follower was written to."""
        now = time.time()
        metrics.fanned_out.observe(max(0.0, now - self._stored))
        metrics.delivered.observe(max(0.0, now - self._accepted))
        self._span.end()


def accepted_at(headers: Mapping[str, str], stored_at: float) -> float:
    """Return when an event was accepted, in seconds since the epoch: as its header says, else when it was stored."""
    try:
        return int(headers[subjects.TIME]) / 1000
    except (KeyError, ValueError):  # a user's notices, and what was written before there was this header
        return stored_at


def fan_out_span(headers: Mapping[str, str], address: Address, began: int, followers: int) -> traces.Span:
    """Return the span of handing an event to `followers` here since `began` (ns), in the trace that appended it."""
    about: dict[str, str | int] = {"parley.namespace": address.namespace, "parley.followers": followers}
    if address.stream == subjects.ROOMS_STREAM:
        about["parley.room"] = address.name  # other names may tell who somebody is
    return traces.heard("fan out", headers, began, about)
