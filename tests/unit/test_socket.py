"""A socket's end has a deadline, whoever began it."""

import asyncio

import pytest

from gateway import socket
from gateway.socket import Socket


class Unread:
    """A transport whose peer reads nothing: closing it takes for ever."""

    def __init__(self) -> None:
        self.closing = False
        self.aborted = asyncio.Event()

    def write(self, data: bytes) -> None:
        """Keep nothing."""

    def close(self) -> None:
        """Wait for a peer that does not read."""
        self.closing = True

    def can_write_eof(self) -> bool:
        """It is TCP."""
        return True

    def write_eof(self) -> None:
        """Send no more."""
        self.closing = True

    def is_closing(self) -> bool:
        """Tell."""
        return self.closing

    def abort(self) -> None:
        """End at once."""
        self.aborted.set()


@pytest.mark.parametrize(
    "sent", [b"\x88\x80abcd", b"\x83\x80abcd"], ids=["the peer closes", "the peer breaks the rules"]
)
async def test_a_peer_that_does_not_read_its_end_is_aborted(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    """What is left to be written does not keep the socket for ever."""
    monkeypatch.setattr(socket, "CLOSE_SECONDS", 0.01)
    transport = Unread()
    made = Socket(transport, set(), 1000)  # type: ignore[arg-type]
    made.data_received(sent)
    assert transport.closing
    await asyncio.wait_for(transport.aborted.wait(), 5)
