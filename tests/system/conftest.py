"""What system tests share: rings for all who leave them whole, people and raw connections that leave with the test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.bench.clients import GENERAL, Frames, eventually, guest
from tests.bench.health import health, logs
from tests.bench.issuer import Issuer
from tests.bench.people import Person, person
from tests.bench.ring import ROOT, Ring
from tests.bench.server_api import KEY
from tests.bench.streamed import Streamed
from tests.bench.users import SECRET, Crowd

Enter = Callable[..., Awaitable[Person]]
Open = Callable[..., Awaitable[Frames]]
Come = Callable[..., Awaitable[Streamed]]
ONE_ADDRESS = {"AUTH_ADDRESS_GUEST_BURST": "0", "AUTH_ADDRESS_PASSWORD_BURST": "0"}
"""No limits per address: all the guests of the tests come from one."""
QUIET = '\n[namespace.quiet]\nsubscribe = "anyone"\npublish = "subscriber"\n'


@pytest.fixture(scope="session")
def calm_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system for tests that kill nothing, with default limits and deadlines."""
    ring = Ring(tmp_path_factory.mktemp("calm") / "data", ONE_ADDRESS)
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    """The identity provider of `strict_ring`, which signs whatever a test wants."""
    with Issuer() as made:
        yield made


@pytest.fixture(scope="session")
def strict_ring(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Ring]:
    """One running system with short deadlines and low limits, which also trusts `issuer`."""
    ring = Ring(
        tmp_path_factory.mktemp("strict") / "data",
        {
            "JWKS_URL": issuer.url,
            "CONNECT_SECONDS": "2",
            "PING_SECONDS": "2",
            "PONG_SECONDS": "2",
            "HISTORY_LIMIT": "10",
            "MAX_SUBSCRIPTIONS": "3",
            "REFRESH_GRACE_SECONDS": "1",
            "TOKEN_LEEWAY_SECONDS": "1",
            "AUTH_TICKET_SECONDS": "3",
            "COMMANDS_PER_SECOND": "0",  # no limit: busy connections are what some of its tests are about
        }
        | ONE_ADDRESS,
    )
    issuer.also = f"http://127.0.0.1:{ring.ports['auth']}/.well-known/jwks.json"
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.fixture(scope="session")
def api_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    """One running system with two gateway processes, the API, and the conformance suite's channels and `quiet:`."""
    directory: Path = tmp_path_factory.mktemp("api")
    channels = directory / "channels.toml"
    channels.write_text((ROOT / "tests" / "conformance" / "channels.toml").read_text() + QUIET)
    settings = {
        "API_KEY": KEY,
        "TOKEN_HMAC_SECRET": SECRET,
        "CHANNELS_FILE": str(channels),
        "GATEWAY_WORKERS": "2",
        "LEASE_SECONDS": "3",
    }
    whole = Ring(directory / "data", settings)
    try:
        yield whole.start()
    finally:
        whole.end()


@pytest_asyncio.fixture
async def crowd(api_ring: Ring) -> AsyncIterator[Crowd]:
    """Clients of `api_ring`; it is empty when the test begins."""
    made = Crowd(api_ring)

    async def empty() -> bool:
        nodes = await made.nodes()
        return len(nodes) == 2 and sum(node["num_clients"] for node in nodes) == 0

    await eventually(empty, "the ring is empty and whole")
    yield made
    for somebody in made.all:
        await somebody.leave()


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
async def come() -> AsyncIterator[Come]:
    """Have guests come in over HTTP: `await come(ring, "lines")`."""
    async with AsyncExitStack() as stack:

        async def one(ring: Ring, form: str = "lines", pong: bool = True, token: str = "") -> Streamed:
            while True:
                made = Streamed(ring, form, pong)
                stack.push_async_callback(made.leave)
                await made.open(token=token or (await guest(ring)).access)
                if await made.entered():
                    return made

        yield one


@pytest_asyncio.fixture
async def frames() -> AsyncIterator[Open]:
    """Open raw connections: `await frames(ring)`."""
    async with AsyncExitStack() as stack:

        async def come(ring: Ring, query: str = "", **options: Any) -> Frames:
            return await stack.enter_async_context(await Frames.open(ring, query, **options))

        yield come


@pytest.fixture
def entered(frames: Open) -> Open:
    """Open raw connections and connect as a new guest: `await entered(ring)`."""

    async def come(ring: Ring, **options: Any) -> Frames:
        one = await frames(ring, **options)
        await one.enter((await guest(ring)).access)
        return one

    return come


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def unharmed(calm_ring: Ring) -> AsyncIterator[None]:
    """What the metrics say of faults must be the same before and after all tests of a module that uses this."""
    before = await health(calm_ring)
    assert before["gateway connected"] == before["chat connected"] == before["auth connected"] == 1
    yield
    assert await health(calm_ring) == before


@pytest_asyncio.fixture
async def sender(calm_ring: Ring, frames: Open) -> AsyncIterator[Frames]:
    """A client in the room `general`; after the test a bystander on its worker must be well."""
    account = await guest(calm_ring, "Sender")
    one = await frames(calm_ring)
    node = (await one.enter(account.access))["node"]
    await one.call("room.join", room=GENERAL)
    while True:
        bystander = await frames(calm_ring)
        if (await bystander.enter((await guest(calm_ring, "Bystander")).access))["node"] == node:
            break
    room = await bystander.make_room()
    await bystander.follow(room)
    yield one
    await bystander.say(room, "still here")
    await bystander.until(lambda: bystander.texts(room), "the bystander hears itself")
    assert [name for name, text in logs(calm_ring).items() if "Traceback" in text] == []
