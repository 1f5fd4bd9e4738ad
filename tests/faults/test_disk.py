"""The disk under NATS: the power goes while everybody talks, and there is no room left."""

import signal
import time
from asyncio import to_thread
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import processes
from tests.bench.clients import eventually
from tests.bench.disks import Disk, fill, small
from tests.bench.nats import CONFIG, NatsServer
from tests.bench.stays import LOST
from tests.faults.conftest import Enter
from tests.faults.crowd import Crowd
from tests.faults.rows import Row
from tests.faults.stage import Stage

REFUSED = 3.0
"""Seconds in which a sender is told that nothing can be stored."""

pytestmark = [pytest.mark.timeout(1800), pytest.mark.short]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk for the store of NATS, mounted."""
    made = Disk(tmp_path / "disk.img", tmp_path / "nats" / "store").make(1024)
    made.mount()
    yield made
    made.remove()


def by_default(directory: Path) -> Path:
    """Return our configuration with the one line taken out that has NATS wait for the disk."""
    (directory / "permissions.conf").write_bytes((CONFIG.parent / "permissions.conf").read_bytes())
    text = CONFIG.read_text()
    assert "sync_interval: always" in text
    file = directory / "nats.conf"
    file.write_text(text.replace("sync_interval: always", ""))
    return file


async def power_cut(crowd: Crowd, server: NatsServer, disk: Disk, messages: int) -> Disk:
    """Cut the power of NATS in the midst of the talk; return the disk as it is found afterwards."""
    crowd.send()
    await crowd.more(messages, "before the cut")
    processes.kill(server.pid, signal.SIGSTOP)  # at once: nothing is acknowledged while the disk is copied
    found = await to_thread(disk.cut, disk.image.with_name("found.img"))
    await to_thread(server.kill)
    await to_thread(disk.unmount)
    await to_thread(found.mount)
    return found


async def test_power_cut(row: Row, disk: Disk, enter: Enter, tmp_path: Path) -> None:
    """With the configuration that ships, the disk as a power cut leaves it has everything that was acknowledged, and
    people talk on when NATS is back on it. Users see what they see at any outage of NATS."""
    with Stage(tmp_path, NatsServer(tmp_path / "nats")) as stage:
        assert isinstance(stage.nats, NatsServer)
        crowd = await enter(stage)
        messages = row.messages(short=1_500)
        found = await power_cut(crowd, stage.nats, disk, messages)
        try:
            row.figure("acknowledged before the cut", crowd.acknowledged)
            await to_thread(stage.nats.start)
            row.figure("first acknowledgement after (s)", await crowd.hear(1, "after the cut"))
            await crowd.hear(100, "after the cut")
            crowd.enough = True
            row.judge(await crowd.finish(), messages)
        finally:
            found.remove()


async def test_power_cut_by_default(row: Row, disk: Disk, enter: Enter, tmp_path: Path) -> None:
    """With NATS's own default for `sync_interval` the same cut loses acknowledged messages, so the row above is about
    something. What is lost here is not counted."""
    with Stage(tmp_path, NatsServer(tmp_path / "nats", config=by_default(tmp_path))) as stage:
        assert isinstance(stage.nats, NatsServer)
        crowd = await enter(stage)
        found = await power_cut(crowd, stage.nats, disk, 3_000)
        try:
            acknowledged = crowd.acknowledged
            for service in stage.fleet.services.values():
                service.kill()  # they would make an empty stream again
            await to_thread(stage.nats.start)
            crowd.enough = True
            lost = acknowledged - await crowd.stored()
            row.figure("acknowledged, and lost as it must be", f"{acknowledged}, {lost}")
            assert lost > 0, f"nothing {LOST}: is the cut a cut?"
        finally:
            found.remove()


async def test_disk_full(row: Row, enter: Enter, tmp_path: Path) -> None:
    """There is no room for the log: senders are told so within seconds, nobody is disconnected; with room and a restart
    of NATS everything goes on, and what was acknowledged is there."""
    size = "24m" if row.short else "256m"
    with small(tmp_path / "nats" / "store", size) as place, Stage(tmp_path, NatsServer(tmp_path / "nats")) as stage:
        assert isinstance(stage.nats, NatsServer)
        messages = row.messages()
        crowd = await enter(stage)
        crowd.send(messages // 2)
        await crowd.hear(50, "before")
        filler = await to_thread(fill, place, 256 * 1024)
        crowd.send(messages - messages // 2)
        since, refused = time.monotonic(), crowd.refusals()[503]
        crowd.pause = 0.01
        text = "x" * 3000
        crowd.text = text  # so that what is left is soon full
        await eventually(lambda: crowd.refusals()[503] > refused + 20, "sends are refused", 90)
        took = [seconds for one in crowd.senders for asked, seconds in one.refused if asked > since]
        row.bar("slowest refusal (s)", max(took), REFUSED)
        filler.unlink()
        crowd.text = ""
        await to_thread(stage.nats.restart)
        row.figure("first acknowledgement after the restart (s)", await crowd.hear(1, "with room and a restart"))
        crowd.pause = 0.0
        row.bar("sockets lost", float(crowd.lost), 0)
        row.judge(await crowd.finish(), messages)
        await stage.ready()
