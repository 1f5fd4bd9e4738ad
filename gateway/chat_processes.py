"""Which process of the chat service carries out the commands about a room (pure; ADR 22).

Any may: compare-and-set keeps the order. But two that append to one room are in each other's way, so every gateway
sends what is about a room to the same one, found by rendezvous hashing: each process has a number for each room, and
the highest counts. When one comes or goes, only its own rooms move. And one that hangs is a member of NATS's queue
group all the same, so that is asked only while nobody is known.
"""

from hashlib import blake2b

from protocol.commands import HERE_LASTS_SECONDS, Here
from protocol.names import is_id

MOST = 256
"""Processes that are remembered; of more the rest is reached as any."""


class ChatProcesses:
    """The processes that were heard lately. Times are seconds of one clock, whichever."""

    def __init__(self) -> None:
        self._heard: dict[str, float] = {}

    def heard(self, here: Here, now: float) -> None:
        """Take a sign of life, or the word that a process leaves; what is no id could not be asked."""
        self.gone(here.process)
        if not here.leaving and is_id(here.process):
            self._heard = {one: at for one, at in self._heard.items() if now - at <= HERE_LASTS_SECONDS}
            if len(self._heard) < MOST:
                self._heard[here.process] = now

    def gone(self, process: str) -> None:
        """Forget a process that does not answer."""
        self._heard.pop(process, None)

    def of(self, key: str, now: float) -> str:
        """Return the process for a room's id, or another key; empty, for whichever, while none is known."""
        there = [process for process, at in self._heard.items() if now - at <= HERE_LASTS_SECONDS]
        return max(there, key=lambda process: _number(process, key), default="")


def _number(process: str, key: str) -> bytes:
    return blake2b(f"{process} {key}".encode(), digest_size=8).digest()
