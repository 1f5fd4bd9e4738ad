"""Newcomers come in a few at a time, so that those who are here are served between them.

After a cut of the network thousands connect within a second, and the event loop takes all that the kernel has for it
before anything else gets its turn: messages of everybody else would wait until the last newcomer was greeted. So only
some of the connections that speak for the first time are heard in one turn; the others wait, in order, with what they
said unread or in hand. Nobody waits where there is no crowd.
"""

import asyncio
from collections import deque
from typing import Protocol

from gateway import metrics

EACH_TURN = 10
"""Newcomers heard in one turn of the event loop: some 6 ms of work, with the connects of those before them."""
MOST_WAITING = 20_000
"""Beyond it a newcomer is cut off. The deadline of a request's head comes before that (`chassis/patience.py`)."""


class Newcomer(Protocol):
    """A connection that has said something for the first time."""

    def come_in(self) -> None:
        """Go on with what it said; nothing to do when it has left."""

    def turn_away(self) -> None:
        """Be cut off: too many wait."""


class Turnstile:
    """Who may come in now, in one process. Everything here happens in its event loop."""

    def __init__(self) -> None:
        self._places = EACH_TURN
        self._waiting: deque[Newcomer] = deque()
        self._turning = False

    def may_pass(self, newcomer: Newcomer) -> bool:
        """Tell whether it may go on at once; if not it is told later, by one of its methods."""
        self._turn_soon()
        if self._places and not self._waiting:
            self._places -= 1
            return True
        if len(self._waiting) >= MOST_WAITING:
            metrics.overflows.labels("newcomers").inc()
            newcomer.turn_away()
        else:
            self._waiting.append(newcomer)
        return False

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._places = EACH_TURN
        if self._waiting:
            self._turn_soon()
        while self._places and self._waiting:
            self._places -= 1
            self._waiting.popleft().come_in()
