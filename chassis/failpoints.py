"""Named places at which a test has a process killed or stopped, to see that no promise depends on its living on.

Off unless the setting FAILPOINT names one, and then a warning at the start says so. Off, a place costs the comparison
of two texts. What has been done there, its sentence below says; the tests are in `tests/faults`.
"""

import os
import re
import signal
from typing import Final

from chassis import logs

log = logs.get(__name__)

PLACES: Final = {
    "gateway.read": "a command was read from a client",
    "gateway.authorised": "a command may be passed on to the chat service",
    "gateway.acknowledged": "replies were written to a client, answers to its commands among them",
    "gateway.fan_out": "an event came from the log and goes to its followers next",
    "chat.consumed": "a command came out of NATS",
    "chat.stored": "NATS has said that an event is on disk",
    "chat.answered": "the answer to a command leaves with the end of this turn",
    "archive.consumed": "records of the log were read and are not in the archive",
    "archive.stored": "records of the log are in the archive, and nobody was told",
    "bus.published": "what was sent within a turn was given to NATS; in the chat service appends and answers",
    "bus.answered": "an answer of NATS came and nothing was made of it; in the chat service that an event is stored",
}
"""Name to what has happened there."""
_ACTIONS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
PATTERN: Final = rf"^(({'|'.join(map(re.escape, PLACES))}):({'|'.join(_ACTIONS)})(:[1-9][0-9]{{0,8}})?)?$"
"""What FAILPOINT may be: nothing, or place:action[:n]."""

_armed = ""
_signal = signal.SIGKILL
_every = 1
_hits = 0


def arm(text: str) -> None:
    """Have every n-th arrival at a place end (`kill`) or halt (`stop`) this process; `text` is place:action[:n]."""
    global _armed, _signal, _every, _hits
    if not text:
        _armed = ""
        return
    place, action, *every = text.split(":")
    _armed, _signal, _every, _hits = place, _ACTIONS[action], int(every[0]) if every else 1, 0
    log.warning("a failpoint is set: this process will be killed or stopped, for a test", failpoint=text)


def reach(place: str, times: int = 1) -> None:
    """Say that `place` was come to, by so many messages at once."""
    if place == _armed:
        for _ in range(times):
            _count()


def _count() -> None:
    global _hits
    _hits += 1
    if _hits % _every == 0:
        os.kill(os.getpid(), _signal)
