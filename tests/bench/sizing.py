"""`python -m tests.bench.sizing`: what a connection, a delivery and a message cost here, in memory, CPU and disk.

CPU is what the processes used, not how long it took, so other work on the machine disturbs little. Imports nothing of
ours.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench.clients import Frames, eventually, guest
from tests.bench.fleet import Fleet
from tests.bench.nats import NatsServer
from tests.bench.postgres import Postgres
from tests.bench.processes import children_of

TEXT = "The quick brown fox jumps over the lazy dog, and then sits down and thinks about it for a while."
BURST = 50
FEW = 10
ARCHIVE = "chat"
TICKS = os.sysconf("SC_CLK_TCK")


def cpu(*pids: int) -> float:
    """Return the CPU seconds that processes have used."""
    total = 0.0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        total += (int(fields[11]) + int(fields[12])) / TICKS
    return total


def memory(*pids: int) -> int:
    """Return the bytes that processes have for themselves (private pages)."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
    return total


def size_of(directory: Path) -> int:
    """Return the bytes that the files below a directory take on the disk."""
    return sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file())


@dataclass
class Site:
    """One gateway process and what stands behind it."""

    fleet: Fleet
    nats: NatsServer
    database: Postgres
    directory: Path

    @property
    def workers(self) -> list[int]:
        """Process ids of the gateway's worker and of its main process."""
        main = self.fleet.gateways[0].pid
        return [main, *children_of(main)]


def say(text: str) -> None:
    """Write a line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def connect(site: Site, token: str, room: str, count: int) -> list[Frames]:
    """Return connections that follow a room."""
    found = []
    for _ in range(count):
        one = await Frames.open(site.fleet)
        await one.enter(token)
        await one.ask(subscribe={"channel": f"room:{room}", "recoverable": True})
        found.append(one)
    return found


async def cost(site: Site, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    """Return the CPU seconds of each part while `work` is done."""
    parts = {
        "gateway": site.workers,
        "chat": [site.fleet.services["chat"].pid],
        "NATS": [site.nats.pid],
    }
    before = {name: cpu(*pids) for name, pids in parts.items()}
    await work()
    return {name: cpu(*pids) - before[name] for name, pids in parts.items()}


async def fan_out(sender: Frames, room: str, crowd: list[Frames], messages: int) -> None:
    """Send messages, many at a time, and wait until everybody has them."""
    start = len(crowd[-1].pushes)
    for _ in range(0, messages, BURST):
        bodies = [{"room": room, "id": os.urandom(8).hex(), "text": TEXT} for _ in range(BURST)]
        commands = [sender.numbered(rpc={"method": "message.send", "data": body}) for body in bodies]
        await sender.send(*commands)
        for command in commands:
            await sender.reply(command["id"])
    await eventually(
        lambda: all(len(one.pushes) >= start + messages for one in crowd), "everybody has everything", 300, 0.05
    )


async def measure(site: Site, connections: int, followers: int, messages: int) -> None:
    """Print every figure."""
    account = await guest(site.fleet)
    async with await Frames.open(site.fleet) as sender:
        await sender.enter(account.access)
        room = await sender.make_room("Sizing")
        await sender.follow(room)
        crowd = await connect(site, account.access, room, 50)  # what the first ones cost is not theirs alone
        empty = memory(*site.workers)
        began = cpu(*site.workers)
        crowd += await connect(site, account.access, room, connections)
        each = (memory(*site.workers) - empty) / connections
        say(f"gateway: {empty / 2**20:.0f} MiB with 50 connections, {each / 1024:.1f} KiB for each more")
        say(f"gateway: {(cpu(*site.workers) - began) / connections * 1e6:.0f} us CPU to connect and subscribe")
        disk, rows = size_of(site.nats.directory / "store"), site.database.size(ARCHIVE)
        spent: dict[int, dict[str, float]] = {}
        for count in (followers, FEW):
            await asyncio.gather(*(one.close() for one in crowd[count:]))
            del crowd[count:]
            spent[count] = await cost(site, lambda: fan_out(sender, room, crowd, messages))
        delivery = (spent[followers]["gateway"] - spent[FEW]["gateway"]) / (followers - FEW) / messages
        message = spent[FEW]["gateway"] / messages - (FEW + 1) * delivery
        say(f"gateway: {message * 1e6:.0f} us CPU a message sent through it, {delivery * 1e6:.1f} us a delivery")
        for name in ("chat", "NATS"):
            say(
                f"{name}: {sum(one[name] for one in spent.values()) / len(spent) / messages * 1e6:.0f} us CPU a message"
            )
        grown = (size_of(site.nats.directory / "store") - disk) / messages / len(spent)
        say(f"NATS: {grown:.0f} bytes on disk a message of {len(TEXT)} characters")
        await sender.call("room.history", room=room, limit=1)  # the archive has all
        grown = (site.database.size(ARCHIVE) - rows) / messages / len(spent)
        say(f"PostgreSQL: {grown:.0f} bytes a message, indexes included, WAL not")
        await asyncio.gather(*(one.close() for one in crowd))


def main() -> int:
    """Start everything, measure, end everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sizing", description=__doc__)
    parser.add_argument("--connections", type=int, default=1000)
    parser.add_argument("--followers", type=int, default=200, help="connections that hear each message")
    parser.add_argument("--messages", type=int, default=1000, help="messages sent to many, then to few")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parley-sizing-") as place:
        directory = Path(place)
        database = Postgres()
        nats = NatsServer(directory / "nats")
        try:
            database.start()
            nats.start()
            urls = {"AUTH_DATABASE_URL": database.url(), "DATABASE_URL": database.url(create=ARCHIVE)}
            unlimited = {"MAX_USER_CONNECTIONS": "0", "COMMANDS_PER_SECOND": "0"}  # one account is the whole crowd
            fleet = Fleet(directory / "fleet", nats.url, nats.passwords, gateways=1, **urls, **unlimited)
            try:
                site = Site(fleet.start(), nats, database, directory)
                asyncio.run(measure(site, asked.connections, asked.followers, asked.messages))
            finally:
                fleet.end()
        finally:
            nats.stop()
            database.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
