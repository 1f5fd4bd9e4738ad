"""The disk under NATS fills up while people talk: what they see, and what ends it. Needs root, for a tmpfs."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.clients import eventually, http
from tests.bench.disks import fill, small
from tests.bench.fleet import Fleet
from tests.bench.metrics import total
from tests.bench.nats import CONFIG, NatsServer
from tests.bench.party import talk
from tests.bench.ports import free_port

Fleets = Callable[..., Fleet]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB."""
    with small(tmp_path / "nats" / "store", "24m") as place:
        yield place


def watched_config(directory: Path) -> tuple[Path, str]:
    """Write the configuration that ships, with a monitoring port; return it and the address of its health."""
    port = free_port()
    shutil.copy(CONFIG.parent / "permissions.conf", directory)
    file = directory / "nats.conf"
    file.write_text(CONFIG.read_text() + f'\nhttp: "127.0.0.1:{port}"\n')
    return file, f"http://127.0.0.1:{port}/healthz"


async def refused(fleet: Fleet) -> float:
    """Return how many sends were answered 503 so far."""
    page = (await http("GET", f"{fleet.chat_url}/metrics")).text
    return total(page, "parley_chat_commands_total", method="message.send", result="503")


async def status(url: str, code: int) -> bool:
    """Tell whether a page answers with this status."""
    return (await http("GET", url)).status_code == code


async def test_nats_runs_out_of_disk(small_disk: Path, fleets: Fleets, tmp_path: Path) -> None:
    """Sends are answered 503 and nobody is disconnected; space alone changes nothing; with space and a restart of NATS
    talk goes on, and nothing that was acknowledged is lost or doubled."""
    config, health = watched_config(tmp_path)
    server = NatsServer(tmp_path / "nats", config=config).start()
    try:
        fleet = fleets(server.url, server.passwords).start()
        async with talk(*fleet.doors) as party:
            filler = fill(small_disk, 64 * 1024)

            before = await refused(fleet)

            async def more(count: int) -> bool:
                return await refused(fleet) >= before + count

            await eventually(lambda: more(1), "sends are refused", 90)
            await eventually(lambda: status(health, 503), "NATS says that it is not well", 30, 0.5)
            before = await refused(fleet)
            filler.unlink()
            await eventually(lambda: more(6), "sends are still refused", 60)
            assert await status(health, 503)

            await asyncio.to_thread(server.stop)  # the people live in this event loop
            await asyncio.to_thread(server.start)
            await party.hear(5, "after space and a restart", 60)
            await eventually(lambda: status(health, 200), "NATS is well", 30, 0.5)
            await party.finish()
            assert max(one.longest for one in party.said) < 10  # each refusal came soon
            assert party.reconnects == [0] * len(party.people)
            assert set(party.refusals()) <= {503}
    finally:
        server.stop()
