"""Newcomers come in, and leavers go, a few at a time, so that those who are here are served between them.

After a cut of the network thousands connect within a second, and the event loop takes all that the kernel has for it
before anything else gets its turn: messages of everybody else would wait until the last newcomer was greeted. So in one
turn only some are heard of those who speak for the first time, and of those who say who they are: handshakes are cheap,
and what is let in by the thousand within a moment would otherwise be authenticated in one turn. The others wait, in
order, with what they said unread or in hand. Nobody waits where there is no crowd.

The same holds for those who leave: a cut takes thousands at once, and each has to be cleaned up after.
"""

import asyncio
from collections import deque
from typing import Protocol

from gateway import metrics

EACH_TURN = 10
"""Newcomers heard in one turn of the event loop: some 6 ms of work."""
LEAVERS_EACH_TURN = 100
"""Leavers cleaned up after in one turn: some 5 ms of work."""
MOST_WAITING = 20_000
"""Beyond it a newcomer is cut off. The deadline of a request's head comes before that (`chassis/patience.py`)."""


class Newcomer(Protocol):
    """A connection that has said something for the first time, or who it is."""

    def come_in(self) -> None:
        """Go on with what it said; nothing to do when it has left."""

    def turn_away(self) -> None:
        """Be cut off: too many wait."""


class Leaver(Protocol):
    """A connection whose socket is gone."""

    def go_out(self) -> None:
        """Clean up after it."""


class Turnstile:
    """Who may come in or go now, in one process. Everything here happens in its event loop."""

    def __init__(self) -> None:
        self._places = EACH_TURN
        self._outside: deque[Newcomer] = deque()
        self._inside: deque[Newcomer] = deque()
        self._exits = LEAVERS_EACH_TURN
        self._leaving: deque[Leaver] = deque()
        self._turning = False

    def may_pass(self, newcomer: Newcomer, *, inside: bool = False) -> bool:
        """Tell whether it may go on at once; if not it is told later, by one of its methods.

        `inside`: its handshake is done. It comes before those whose is not: who was begun with is finished first, so
        that few wait twice for long.
        """
        self._turn_soon()
        if self._places and not self._crowd:
            self._places -= 1
            return True
        if self._crowd >= MOST_WAITING:
            metrics.overflows.labels("newcomers").inc()
            newcomer.turn_away()
        else:
            (self._inside if inside else self._outside).append(newcomer)
        return False

    def may_leave(self, leaver: Leaver) -> bool:
        """Tell whether to clean up after it at once; if not it is told later. As many wait as there were connections.

        Whoever leaves does so once.
        """
        self._turn_soon()
        if self._exits and not self._leaving:
            self._exits -= 1
            return True
        self._leaving.append(leaver)
        return False

    @property
    def _crowd(self) -> int:
        return len(self._inside) + len(self._outside)

    def _turn_soon(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        self._places, self._exits = EACH_TURN, LEAVERS_EACH_TURN
        if self._crowd or self._leaving:
            self._turn_soon()
        while self._exits and self._leaving:
            self._exits -= 1
            self._leaving.popleft().go_out()
        while self._places and self._crowd:
            self._places -= 1
            (self._inside or self._outside).popleft().come_in()
