"""Ten thousand clients in a process of their own (`light.py`), and what it is told. Imports nothing of ours."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Self

from tests.bench.fleet import Door
from tests.bench.ring import ROOT

SECONDS = 150


class Flock:
    """`async with Flock(doors, tokens) as flock`: tokens and rooms of accounts, which the clients share."""

    def __init__(self, doors: Sequence[Door], tokens: Sequence[tuple[str, str]]) -> None:
        self._begin = {"doors": [astuple(door) for door in doors], "tokens": tokens}
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        words = [sys.executable, "-m", "tests.faults.light"]
        self._process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdin=pipe, stdout=pipe)
        self._say(self._begin)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(60):
                await self._process.wait()
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()

    async def gather(self, count: int, door: int) -> None:
        """Have so many come in at one door."""
        await self._told("gather", count, door)

    async def cut(self) -> None:
        """Break all connections at once, without a word."""
        await self._told("cut")

    async def back(self, since: float, tops: dict[str, int]) -> dict[str, int]:
        """Return when all are back and have every room up to its top: recoveries `refused`, events out of turn
        (`gaps`), and attempts to connect in the `busiest` second after `since`."""
        found: dict[str, int] = await self._told("back", since, tops)
        return found

    def _say(self, what: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")

    async def _told(self, *command: Any) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        self._say(command)
        async with asyncio.timeout(SECONDS):
            line = await self._process.stdout.readline()
        assert line, f"the flock ended at {command}; what it wrote is above"
        return json.loads(line)
