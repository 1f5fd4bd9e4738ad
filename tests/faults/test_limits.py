"""A gateway comes to a limit of its container: no more files may be open, no more memory used."""

import asyncio
import os
import resource
import signal
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import WebSocketException

from tests.bench import processes
from tests.bench.clients import Frames, eventually, guest
from tests.faults.conftest import Enter
from tests.faults.rows import Row
from tests.faults.stage import Stage, pids_of

NOT_LET_IN = (OSError, TimeoutError, AssertionError, httpx.HTTPError, WebSocketException)
"""How a newcomer learns that there is no place for it, or that whoever was to answer is dead."""
AGAIN_SECONDS = 2
"""Between two crowds of newcomers who say nothing."""

pytestmark = pytest.mark.timeout(3600)


@pytest.mark.short
async def test_file_descriptors_run_out(row: Row, stage: Stage, enter: Enter) -> None:
    """A gateway may open no more files: newcomers wait or go elsewhere, those inside talk on; with the limit gone it
    takes newcomers again, by itself."""
    messages = row.messages()
    crowd = await enter(stage, sticky=True)
    gateway = stage.service("gateway-1")
    (worker,) = [pid for pid in pids_of(gateway) if pid != gateway.pid]
    used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    limit(worker, used + 20)
    sockets: list[asyncio.StreamWriter] = []
    most = 0

    async def crowd_in() -> None:
        """Come and say nothing, again and again: whoever says nothing is sent away after a while."""
        nonlocal most
        while True:
            for _ in range(100):
                sockets.append((await asyncio.open_connection("127.0.0.1", gateway.port))[1])
            most = max(most, len(list(Path(f"/proc/{worker}/fd").iterdir())))
            await asyncio.sleep(AGAIN_SECONDS)

    crowd.send(messages // 2)
    coming = asyncio.create_task(crowd_in())
    try:
        await crowd.said()
        await eventually(lambda: most >= used + 15 or coming.done(), "it has run out")
        assert not coming.done(), coming.exception()
        row.bar("sockets lost", float(crowd.lost), 0)
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        limit(worker, 20_000)
        for one in sockets:
            one.transport.abort()
    began = time.monotonic()
    account = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]

    async def let_in() -> bool:
        try:
            async with asyncio.timeout(2), await Frames.open(stage.fleet.doors[0]) as frames:  # type: ignore[arg-type]
                await frames.enter(account.access)
        except NOT_LET_IN:
            return False
        return True

    await eventually(let_in, "newcomers are let in again", 30)
    row.figure("newcomers let in after (s)", time.monotonic() - began)
    crowd.send(messages - messages // 2)
    row.judge(await crowd.finish(), messages)


def limit(pid: int, files: int) -> None:
    """Set how many files a process may have open."""
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (files, max(files, 20_000)))


@pytest.mark.short
async def test_memory_runs_out(row: Row, stage: Stage, enter: Enter) -> None:
    """A gateway's container reaches its limit of memory and its process is killed by the kernel: those inside are
    connected anew and told what they missed."""
    messages = row.messages()
    crowd = await enter(stage, sticky=True)
    gateway = stage.service("gateway-1")
    group = Path(f"/sys/fs/cgroup/memory/parley-faults-{os.getpid()}")
    assert group.parent.joinpath("tasks").exists(), "a memory cgroup (version 1) is needed"
    group.mkdir()
    try:
        (worker,) = [pid for pid in pids_of(gateway) if pid != gateway.pid]
        (group / "cgroup.procs").write_text(str(worker))
        used = int((group / "memory.usage_in_bytes").read_text())
        (group / "memory.limit_in_bytes").write_text(str(used + (8 << 20)))
        crowd.send(messages)
        await crowd.hear(20, "before")
        account = await guest(stage.fleet.doors[0])  # type: ignore[arg-type]
        frames: list[Frames] = []
        while worker in pids_of(gateway) and len(frames) < 2000:
            try:
                async with asyncio.timeout(5):
                    frames.append(await Frames.open(stage.fleet.doors[0]))  # type: ignore[arg-type]
                    await frames[-1].enter(account.access)
            except NOT_LET_IN:
                break
        row.figure("connections until it was killed", len(frames))
        for one in frames:
            one.socket.transport.abort()
        await eventually(lambda: worker not in pids_of(gateway), "the kernel has killed it", 20)
        await crowd.all_up("everybody is back", 30)
        row.judge(await crowd.finish(), messages)
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            processes.kill(int(pid), signal.SIGKILL)
        await eventually(lambda: not (group / "cgroup.procs").read_text().split(), "the group is empty", 10)
        group.rmdir()
