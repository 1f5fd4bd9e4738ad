"""What system tests share: people and raw connections that leave with the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest_asyncio

from tests.bench.clients import Frames
from tests.bench.people import Person, person
from tests.bench.ring import Ring

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]


@pytest_asyncio.fixture
async def enter() -> AsyncIterator[Enter]:
    """Have guests come in over the official SDK: `await enter(ring, "Ann")`."""
    async with AsyncExitStack() as stack:

        async def come(ring: Ring, name: str = "Ann") -> Person:
            someone = await person(ring, name)
            stack.push_async_callback(someone.leave)
            return someone

        yield come


@pytest_asyncio.fixture
async def frames() -> AsyncIterator[Open]:
    """Open raw connections: `await frames(ring)`."""
    async with AsyncExitStack() as stack:

        async def come(ring: Ring, query: str = "", **options: Any) -> Frames:
            return await stack.enter_async_context(await Frames.open(ring, query, **options))

        yield come
